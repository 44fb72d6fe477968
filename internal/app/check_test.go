package app

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keelson/keelson/internal/base/clock"
	partexec "github.com/keelson/keelson/internal/driver/part/exec"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/spec"
)

// TestACheckAsksBesideItsPart shows that what a check runs is given its part: as
// whom, where, with what environment, within which limits and in which group.
func TestACheckAsksBesideItsPart(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("running a check as another user needs root")
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skip("there is no user nobody")
	}
	log := slog.New(slog.DiscardHandler)
	programs := partexec.New(partexec.Options{Clock: clock.System{}, Log: log, Base: fmt.Sprintf("/keelson-app-%d", os.Getpid())})
	folder := t.TempDir()
	run := instance.Run{
		Cell: "main", Node: "a", Service: "shop", Generation: 1, Epoch: 7,
		RunDir: filepath.Join(folder, "run"), LogDir: filepath.Join(folder, "log"),
		Part: spec.Part{Name: "web", Exec: &spec.Exec{
			Command: []string{"/bin/sleep", "1000"}, User: "nobody", Group: "daemon", Dir: "/usr",
			Env: map[string]string{"GREETING": "hello"}, Limits: spec.Limits{OpenFiles: 77},
		}},
	}
	must(t, programs.Start(t.Context(), run))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		must(t, programs.Stop(ctx, run))
	})
	daemon, err := user.LookupGroup("daemon")
	must(t, err)

	// asks returns what a check says whose program prints something and fails.
	asks := func(script string) string {
		ctx, done := context.WithTimeout(t.Context(), patience)
		defer done()
		var said string
		n := &node{app: &app{App: &App{clock: clock.System{}}, log: log}, programs: programs}
		checker{n}.Watch(ctx, spec.Check{Exec: []string{"/bin/sh", "-c", script + "; exit 3"}, Every: spec.Duration(time.Second), Failures: 1, Timeout: spec.Duration(patience)}, run, func(ok bool, why string) {
			if said = why; ok {
				said = "yes"
			}
			done()
		})
		return said
	}
	want := fmt.Sprintf("/bin/sh exited with status 3: %s:%s /usr hello main a shop web 7 77", nobody.Uid, daemon.Gid)
	if got := asks(`echo "$(id -u):$(id -g) $(pwd) $GREETING $KEELSON_CELL $KEELSON_NODE $KEELSON_SERVICE $KEELSON_PART $KEELSON_EPOCH $(ulimit -n)"`); got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
	if len(programs.Handles(run).Cgroups) == 0 {
		t.Skip("this host has no cgroups to be in")
	}
	if got := asks(`grep -o '/keelson-app-.*' /proc/self/cgroup | head -1`); !strings.Contains(got, "/main/a/shop/web/check-1") {
		t.Errorf("it says %q, want the group of the part", got)
	}
}
