package footprint

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/base/thread"
)

// idle is a clock on which time passes at once.
type idle struct {
	clock.Clock
	now  time.Duration
	naps int
}

func (c *idle) Boot() time.Duration { return c.now }

func (c *idle) Sleep(ctx context.Context, d time.Duration) error {
	if c.naps--; c.naps < 0 {
		return context.Canceled
	}
	c.now += d
	return ctx.Err()
}

func TestAnIdleProcessUsesOneThread(t *testing.T) {
	before := runtime.GOMAXPROCS(2)
	defer runtime.GOMAXPROCS(before)
	t.Setenv("GOMAXPROCS", "")
	enough := int(quietTime/threadsPeriod) + 1
	_ = Threads(t.Context(), &idle{naps: enough - 2})
	if got := runtime.GOMAXPROCS(0); got != 2 {
		t.Errorf("%d threads before the quiet time is over", got)
	}
	_ = Threads(t.Context(), &idle{naps: enough})
	if got := runtime.GOMAXPROCS(0); got != 1 {
		t.Errorf("%d threads after it", got)
	}
}

func TestAnIdleProcessIsWokenLate(t *testing.T) {
	if err := thread.Slack(thread.UsualSlack); err != nil {
		t.Skipf("the kernel does not let this process change the timer slack of threads: %v", err)
	}
	defer func() { _ = thread.Slack(thread.UsualSlack) }()
	t.Setenv("GOMAXPROCS", "2")
	enough := int(quietTime/threadsPeriod) + 1
	for naps, want := range map[int]time.Duration{enough - 2: thread.UsualSlack, enough: restSlack} {
		_ = Threads(t.Context(), &idle{naps: naps})
		err := thread.Each(func(tid int) error {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/timerslack_ns", tid))
			if got := strings.TrimSpace(string(text)); err == nil && got != strconv.Itoa(int(want)) {
				t.Errorf("after %d looks thread %d has a slack of %s ns", naps, tid, got)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		if err := thread.Slack(thread.UsualSlack); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheOperatorsChoiceStays(t *testing.T) {
	before := runtime.GOMAXPROCS(2)
	defer runtime.GOMAXPROCS(before)
	t.Setenv("GOMAXPROCS", "2")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Threads(ctx, &idle{naps: 1000}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if got := runtime.GOMAXPROCS(0); got != 2 {
		t.Errorf("%d threads", got)
	}
}

func TestShedding(t *testing.T) {
	if err := Shed(); err != nil {
		t.Fatal(err)
	}
	// What was given back is read again when it is needed.
	if time.Now().IsZero() {
		t.Error("no time")
	}
}
