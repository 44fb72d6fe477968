package watchdog

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/clock"
)

// stopped is a clock that stands where it is put.
type stopped struct {
	clock.System
	boot *time.Duration
}

func (s stopped) Boot() time.Duration { return *s.boot }

func standIn(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "watchdog")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// says fails unless the file says want.
func says(t *testing.T, path string, want Beat) {
	t.Helper()
	want.Pid, want.Timeout = os.Getpid(), Timeout
	got, err := ReadBeat(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the file says something else (-want +got):\n%s", diff)
	}
}

func TestStandInShowsWhatADeviceWouldDo(t *testing.T) {
	path, now := standIn(t), time.Hour
	clk := stopped{boot: &now}
	if b, err := ReadBeat(path); err != nil || b != (Beat{}) {
		t.Errorf("before it is opened it says %v, %v", b, err)
	}
	d, err := Open(path, clk)
	if err != nil {
		t.Fatal(err)
	}
	says(t, path, Beat{Armed: true, At: time.Hour, Pets: 1})
	now += 1234567 * time.Hour // the line gets longer
	if err := d.Pet(); err != nil {
		t.Fatal(err)
	}
	says(t, path, Beat{Armed: true, At: now, Pets: 2})
	now = 2 * time.Hour
	if err := d.Disarm(); err != nil {
		t.Fatal(err)
	}
	says(t, path, Beat{At: now, Pets: 2})
	if err := d.Pet(); err == nil {
		t.Error("it can be petted after it was disarmed")
	}
	says(t, path, Beat{At: now, Pets: 2})
}

func TestProcessThatEndsLeavesItArmed(t *testing.T) {
	path, now := standIn(t), time.Hour
	d, err := Open(path, stopped{boot: &now})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.file.Close(); err != nil { // as the kernel does for a process that is killed
		t.Fatal(err)
	}
	says(t, path, Beat{Armed: true, At: now, Pets: 1})
}

func TestNextProgramGoesOnWithIt(t *testing.T) {
	path, now := standIn(t), time.Hour
	d, err := Open(path, stopped{boot: &now})
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Dup(d.Descriptor()) // what is left after the exec
	if err != nil {
		t.Fatal(err)
	}
	if err := d.file.Close(); err != nil {
		t.Fatal(err)
	}
	now += time.Minute
	next, err := Adopt(fd, stopped{boot: &now})
	if err != nil {
		t.Fatal(err)
	}
	says(t, path, Beat{Armed: true, At: now, Pets: 1})
	if err := next.Disarm(); err != nil {
		t.Fatal(err)
	}
	says(t, path, Beat{At: now, Pets: 1})
}

func TestOnlyAWatchdogIsOpened(t *testing.T) {
	folder := t.TempDir()
	fifo := filepath.Join(folder, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, path string
		want       error
	}{
		{"nothing", filepath.Join(folder, "none"), os.ErrNotExist},
		{"a folder", folder, ErrKind},
		{"a pipe, which would block", fifo, ErrKind},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Open(tt.path, clock.System{}); !errors.Is(err, tt.want) {
				t.Errorf("the answer is %v", err)
			}
		})
	}
	if _, err := Adopt(999, clock.System{}); err == nil {
		t.Error("a descriptor that is not open was adopted")
	}
}

// TestCharacterDevice speaks to a device that takes all that is written: the
// calls that only a watchdog knows fail on it and must not matter.
func TestCharacterDevice(t *testing.T) {
	d, err := Open("/dev/null", clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	if d.Stays() || d.Timeout() != Timeout {
		t.Errorf("it stays: %v, timeout %s", d.Stays(), d.Timeout())
	}
	if err := errors.Join(d.Pet(), d.Disarm()); err != nil {
		t.Error(err)
	}
}

func FuzzParseBeat(f *testing.F) {
	f.Add("armed timeout=10 at=5 pets=1 pid=7")
	f.Add("off   timeout=10 at=-5 pets=1 pid=7")
	f.Fuzz(func(t *testing.T, text string) {
		if b, err := parseBeat(text); err != nil && b != (Beat{}) {
			t.Errorf("%q gives %v and %v", text, b, err)
		}
	})
}
