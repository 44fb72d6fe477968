package exec

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/keelson/keelson/internal/model/spec"
)

func TestARunningProgramIsToldItsRole(t *testing.T) {
	eachMode(t, func(t *testing.T, b *bench) {
		b.shell("sleep 1000")
		b.run.Own, b.run.Role = true, spec.RoleReplica
		b.run.Part.Exec.Env = map[string]string{"OUT": b.file("told")}
		say := []string{"/bin/sh", "-c", `echo "$KEELSON_ROLE ${KEELSON_EPOCH:-none}" >>"$OUT"`}
		b.run.Part.Exec.Promote, b.run.Part.Exec.Demote = say, say
		b.start()
		_, pid := b.probe(b.d)
		as := b.run
		as.Own, as.Role, as.Epoch = false, spec.RolePrimary, 9
		if err := b.d.Promote(t.Context(), as); err != nil {
			t.Fatal(err)
		}
		as.Role = spec.RoleReplica
		if err := b.d.Demote(t.Context(), as); err != nil {
			t.Fatal(err)
		}
		told, err := os.ReadFile(b.file("told"))
		if err != nil || string(told) != "primary 9\nreplica 9\n" {
			t.Errorf("it was told %q (%v)", told, err)
		}
		if seen, now := b.probe(b.d); now != pid || seen.Epoch != 7 {
			t.Errorf("process %d became %d, with %+v", pid, now, seen)
		}
	})
}

func TestARoleThatIsNotTakenIsAnError(t *testing.T) {
	eachMode(t, func(t *testing.T, b *bench) {
		b.shell("sleep 1000")
		b.run.Part.Exec.Promote = []string{"/bin/sh", "-c", "exit 3"}
		b.run.Part.Exec.Demote = []string{"/bin/sh", "-c", `echo $$ >"$OUT"; sleep 1000`}
		b.run.Part.Exec.Env = map[string]string{"OUT": b.file("pid")}
		b.start()
		if err := b.d.Promote(t.Context(), b.run); err == nil || !strings.Contains(err.Error(), "exited with status 3") {
			t.Errorf("got %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if err := b.d.Demote(ctx, b.run); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if pid := b.pids("pid")[0]; alive(pid) {
			t.Errorf("the command %d lives on", pid)
		}
		if seen, _ := b.probe(b.d); !seen.Running {
			t.Error("the program itself was ended")
		}
	})
}
