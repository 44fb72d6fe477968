package realtime

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/clock"
)

// bubble is a clock whose boot time is the bubble's.
type bubble struct{ clock.System }

func (bubble) Boot() time.Duration { return time.Duration(time.Now().UnixNano()) }

// bench is a keeper of a process that does as the test says.
type bench struct {
	*Keeper
	mu      sync.Mutex // guards what follows
	has     bool       // the priority
	refused error
	load    float64       // cores used from now on
	used    time.Duration // until then
	from    time.Time
	entered int
}

func (b *bench) uses(load float64) {
	used := b.processed()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used, b.from, b.load = used, time.Now(), load
}

func (b *bench) refuse(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refused = err
}

func (b *bench) processed() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used + time.Duration(b.load*float64(time.Since(b.from)))
}

func keeping(t *testing.T, f func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{has: true, from: time.Now(), load: 0.01}
		b.Keeper = &Keeper{clock: bubble{}, log: slog.New(slog.DiscardHandler), signals: make(chan os.Signal, 1)}
		b.enter = func() error {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.refused == nil {
				b.has = true
				b.entered++
			}
			return b.refused
		}
		b.leave = func() error {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.has = false
			return nil
		}
		b.processor = b.processed
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { b.Run(ctx); close(done) }()
		f(b)
		cancel()
		<-done
	})
}

func (b *bench) hasIt() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.has
}

// times is how often it came back.
func (b *bench) times() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.entered
}

// pass lets d go by and then all that is due happen.
func (b *bench) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// warns reports whether there is a sentence that contains text; "": there is none.
func (b *bench) warns(t *testing.T, text string) {
	t.Helper()
	got := b.Overrun()
	if (text == "") != (got == "") || !strings.Contains(got, text) {
		t.Errorf("it says %q, want %q in it", got, text)
	}
}

func TestPriorityComesBackAfterAQuietTime(t *testing.T) {
	causes := map[string]func(b *bench){
		"a thread that spins": func(b *bench) { b.signals <- unix.SIGXCPU; b.pass(time.Millisecond) },
		"work in circles":     func(b *bench) { b.uses(0.9); b.pass(Span + time.Millisecond); b.uses(0.01) },
	}
	for name, cause := range causes {
		t.Run(name, func(t *testing.T) {
			keeping(t, func(b *bench) {
				b.pass(time.Minute)
				if b.warns(t, ""); !b.hasIt() {
					t.Fatal("it was given up without a cause")
				}
				cause(b)
				if b.warns(t, "kept to its budget for 1m0s"); b.hasIt() {
					t.Error("it was not given up")
				}
				b.pass(FirstPause - 2*Span)
				if b.hasIt() {
					t.Error("it came back too early")
				}
				b.pass(4 * Span)
				if b.warns(t, ""); !b.hasIt() {
					t.Error("it did not come back")
				}
			})
		})
	}
}

func TestPriorityDoesNotComeBackToAProcessThatIsBusy(t *testing.T) {
	keeping(t, func(b *bench) {
		b.uses(0.9)
		b.pass(time.Hour)
		if b.hasIt() || b.times() > 0 {
			t.Fatalf("it came back %d times", b.times())
		}
		b.uses(0.01)
		b.pass(FirstPause - 2*Span)
		if b.hasIt() {
			t.Error("it came back before the quiet time was over")
		}
		b.pass(4 * Span)
		if b.warns(t, ""); !b.hasIt() {
			t.Error("it did not come back")
		}
	})
}

func TestEachOverrunDoublesThePauseAndTheLastIsForGood(t *testing.T) {
	keeping(t, func(b *bench) {
		for n := range Returns {
			b.signals <- unix.SIGXCPU
			b.pass(time.Millisecond)
			pause := FirstPause << n
			b.warns(t, fmt.Sprintf("for %s", pause))
			b.pass(pause - 2*Span)
			if b.hasIt() {
				t.Errorf("after overrun %d it came back before %s", n+1, pause)
			}
			b.pass(4 * Span)
			if !b.hasIt() {
				t.Fatalf("after overrun %d it did not come back after %s", n+1, pause)
			}
		}
		b.signals <- unix.SIGXCPU
		b.pass(48 * time.Hour)
		if b.warns(t, "until it is started anew"); b.hasIt() || b.times() != Returns {
			t.Errorf("it came back %d times", b.times())
		}
	})
}

func TestOverrunsOfLongAgoAreForgiven(t *testing.T) {
	keeping(t, func(b *bench) {
		for range 3 * Returns {
			b.signals <- unix.SIGXCPU
			b.pass(time.Millisecond)
			b.warns(t, "for 1m0s")
			b.pass(FirstPause + 2*Span)
			b.warns(t, "")
			b.pass(Forgiven + Span)
		}
	})
}

func TestPriorityThatIsRefusedIsAWarningAndTriedAgainForAWhile(t *testing.T) {
	keeping(t, func(b *bench) {
		b.refuse(fmt.Errorf("%w: not here", ErrRefused))
		b.signals <- unix.SIGXCPU
		b.pass(FirstPause + 2*Span)
		b.warns(t, "cannot take it again")
		b.refuse(nil)
		b.pass(2*FirstPause + 2*Span)
		b.warns(t, "")
		b.refuse(ErrRefused)
		b.signals <- unix.SIGXCPU
		b.pass(24 * time.Hour)
		b.refuse(nil)
		b.pass(24 * time.Hour)
		b.warns(t, "cannot take it again")
	})
}
