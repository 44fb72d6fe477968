package exec

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/driver/cgroup"
)

// cut does what the guard does to a part that may not run.
func (b *bench) cut() {
	b.t.Helper()
	for _, h := range b.d.Handles(b.run).Cgroups {
		if err := cgroup.KillHandle(b.t.Context(), clock.System{}, h); err != nil {
			b.t.Errorf("cut off: %v", err)
		}
	}
}

// TestStartThatStoodStillOnItsWayComesToNothing is about an agent that is stopped
// right before it starts a program, and goes on when the guard has given the
// lease back.
func TestStartThatStoodStillOnItsWayComesToNothing(t *testing.T) {
	errGone := errors.New("the lease is gone")
	tests := []struct {
		name   string
		script string
		files  int // limit, which holds the program back until it is set
		again  bool
	}{
		{name: "a program that is born in its group", script: "touch $OUT; exec sleep 1000"},
		{name: "a program that is held for its limits", script: "touch $OUT; exec sleep 1000", files: 100},
		{name: "it is started after all if it may", script: "touch $OUT; exec sleep 1000", again: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			eachMode(t, func(t *testing.T, b *bench) {
				if b.mode.sessions {
					t.Skip("a session cannot be closed beforehand: see docs/limits.md")
				}
				b.shell(strings.ReplaceAll(tt.script, "$OUT", b.file("out")))
				b.run.Part.Exec.Limits.OpenFiles = tt.files
				asked := 0
				b.run.May = func() error {
					if asked++; asked > 1 {
						if tt.again {
							return nil
						}
						return errGone
					}
					b.cut() // it may; and then this process stands still while the guard goes on
					return nil
				}
				err := b.d.Start(t.Context(), b.run)
				seen, _ := b.probe(b.d)
				_, ran := os.Stat(b.file("out"))
				switch {
				case asked != 2:
					t.Errorf("it asked %d times whether it may, and ended with %v", asked, err)
				case tt.again && (err != nil || !seen.Running):
					t.Errorf("it was not started: %v, %+v", err, seen)
				case !tt.again && (!errors.Is(err, errGone) || seen.Running || ran == nil):
					t.Errorf("it ended with %v, runs: %v, ran: %v", err, seen.Running, ran == nil)
				}
			})
		})
	}
}

func TestStartThatMayNotIsNotBegun(t *testing.T) {
	errGone := errors.New("the lease is gone")
	eachMode(t, func(t *testing.T, b *bench) {
		b.shell("touch " + b.file("out"))
		b.run.May = func() error { return errGone }
		if err := b.d.Start(t.Context(), b.run); !errors.Is(err, errGone) {
			t.Errorf("it ended with %v", err)
		}
		if _, err := os.Stat(b.file("out")); err == nil {
			t.Error("the program ran")
		}
	})
}

func TestWhatTheGuardCutOffLeavesNoGroup(t *testing.T) {
	eachMode(t, func(t *testing.T, b *bench) {
		b.shell("sleep 1000 & exec sleep 1000")
		b.start()
		b.cut()
		b.cut() // and again is no error
		for _, h := range b.d.Handles(b.run).Cgroups {
			if _, err := os.Stat(h); err == nil {
				t.Errorf("%s is there", h)
			}
		}
		if seen, _ := b.probe(b.d); seen.Running {
			t.Errorf("it runs: %+v", seen)
		}
		b.start()
		if seen, _ := b.probe(b.d); !seen.Running {
			t.Errorf("it cannot be started again: %+v", seen)
		}
		if slices.Contains(b.d.Handles(b.run).Cgroups, "") {
			t.Error("a handle is empty")
		}
	})
}
