package lastknown_test

import (
	"context"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

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

func TestWhatIsTooLargeIsNotSaved(t *testing.T) {
	k := &lastknown.Keeper{Path: filepath.Join(t.TempDir(), "x.json"), Clock: bubble{}, Log: slog.New(slog.DiscardHandler)}
	if err := k.Save(strings.Repeat("x", lastknown.Limit)); err == nil || !strings.Contains(k.Trouble(), "too large") {
		t.Errorf("too much was saved: %v, %q", err, k.Trouble())
	}
	if err := k.Save("x"); err != nil || k.Trouble() != "" {
		t.Errorf("a small one was not: %v, %q", err, k.Trouble())
	}
}

func TestWhatTheDiskRefusesIsInWords(t *testing.T) {
	for err, want := range map[error]string{
		unix.ENOSPC: "the disk under /data is full, make room",
		unix.EDQUOT: "the disk under /data is full, make room",
		unix.EROFS:  "the disk under /data is mounted read-only, look at `dmesg` for why",
		unix.EIO:    "the disk under /data does not work, look at `dmesg`",
	} {
		got := lastknown.Words("/data/x.json", &fs.PathError{Op: "write", Path: "/data/x.json", Err: err})
		if got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}
