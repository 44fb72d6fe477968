package lastknown_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/engine/agent/lastknown"
)

// bubble is a clock of a synctest bubble.
type bubble struct{ clock.System }

func (bubble) Boot() time.Duration { return time.Duration(time.Now().UnixNano()) }

func TestWhatIsNotSavedIsToldUntilItIs(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		in := filepath.Join(dir, "data")
		path := filepath.Join(in, "lastknown.json")
		k := &lastknown.Keeper{Path: path, Clock: bubble{}, Log: slog.New(slog.DiscardHandler)}
		values := make(chan string, 1)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); lastknown.Keep(ctx, k, values) }()
		values <- "one" // the folder is not there
		time.Sleep(100 * time.Millisecond)
		if got := k.Trouble(); !strings.Contains(got, "is not saved: ") {
			t.Errorf("the trouble is %q", got)
		}
		if err := os.Mkdir(in, 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(lastknown.RetryEvery + lastknown.SaveEvery)
		if got := k.Trouble(); got != "" {
			t.Errorf("it was saved, and the trouble is %q", got)
		}
		holds(t, path, `"one"`)
		values <- "two"
		synctest.Wait()
		values <- "three" // comes within SaveEvery, and at the end
		cancel()
		<-ended
		holds(t, path, `"three"`)
	})
}

func holds(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s holds %q (%v), want %q", path, got, err, want)
	}
}

func TestAFullDiskIsNamed(t *testing.T) {
	full := filepath.Join("/dev", "full")
	if _, err := os.Stat(full); err != nil {
		t.Skip("there is no /dev/full here")
	}
	dir := t.TempDir()
	k := &lastknown.Keeper{Path: filepath.Join(dir, "x.json"), Clock: bubble{}, Log: slog.New(slog.DiscardHandler)}
	if err := k.Save(strings.Repeat("x", lastknown.Limit)); err == nil || !strings.Contains(k.Trouble(), "too large") {
		t.Errorf("too much was saved: %v, %q", err, k.Trouble())
	}
	if err := k.Save("x"); err != nil || k.Trouble() != "" {
		t.Errorf("a small one was not: %v, %q", err, k.Trouble())
	}
}
