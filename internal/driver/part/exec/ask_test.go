package exec

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keelson/keelson/internal/driver/cgroup"
	"github.com/keelson/keelson/internal/model/spec"
)

// sh is a command that is asked.
func sh(script string) []string { return []string{"/bin/sh", "-c", script} }

// nobody makes the part run as another user, in a folder that this one can use.
func (b *bench) nobody() *user.User {
	b.t.Helper()
	if os.Getuid() != 0 {
		b.t.Skip("running as another user needs root")
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		b.t.Skip("there is no user nobody")
	}
	b.run.Part.Exec.User = "nobody"
	return u
}

func TestACheckRunsAsItsPartDoes(t *testing.T) {
	eachMode(t, func(t *testing.T, b *bench) {
		u := b.nobody()
		b.run.Part.Exec.Dir = "/usr"
		b.run.Part.Exec.Env = map[string]string{"GREETING": "hello"}
		b.shell("exec sleep 1000")
		b.start()
		got, err := b.d.Ask(t.Context(), b.run, sh(`echo "$(id -u):$(id -g) $(pwd) $GREETING $KEELSON_CELL $KEELSON_NODE $KEELSON_SERVICE $KEELSON_PART $KEELSON_EPOCH"`), 200)
		want := fmt.Sprintf("%s:%s /usr hello cell n1 shop exec 7\n", u.Uid, u.Gid)
		if err != nil || got.Code != 0 || string(got.Output) != want {
			t.Errorf("it said %q (%d, %v), want %q", got.Output, got.Code, err, want)
		}
	})
}

func TestACheckIsInTheGroupOfItsPartAndNotTakenForIt(t *testing.T) {
	eachMode(t, func(t *testing.T, b *bench) {
		b.shell("exec sleep 1000")
		b.start()
		before, _ := b.probe(b.d)
		done := make(chan error, 1)
		go func() {
			_, err := b.d.Ask(t.Context(), b.run, sh("echo $$ > "+b.file("check")+"; exec sleep 1000"), 200)
			done <- err
		}()
		b.eventually("the check is up", func() bool { return b.written("check") })
		if now, _ := b.probe(b.d); now != before {
			t.Errorf("the part is %+v, and with a check %+v", before, now)
		}
		if now, _ := b.probe(b.driver()); now != before {
			t.Errorf("a later agent sees %+v", now)
		}
		g, err := b.d.group(b.run)
		if err != nil {
			t.Fatal(err)
		}
		if members, err := g.Members(); err != nil || len(members) != 2 {
			t.Errorf("the group has %v (%v), want the program and the check", members, err)
		}
		b.stop() // as a cut does, it ends the check too
		if err := <-done; err != nil {
			t.Errorf("the check: %v", err)
		}
		if pid := b.pids("check")[0]; alive(pid) {
			t.Error("the check outlived its part")
		}
	})
}

func (b *bench) written(name string) bool {
	text, err := os.ReadFile(b.file(name))
	return err == nil && strings.HasSuffix(string(text), "\n")
}

func TestACheckThatHangsIsKilledWithAllThatItStarted(t *testing.T) {
	eachMode(t, func(t *testing.T, b *bench) {
		if os.Getuid() == 0 {
			b.nobody()
		}
		if err := os.MkdirAll(b.file("open"), 0o777); err != nil {
			t.Fatal(err)
		}
		open(t, b.file("open"))
		b.shell("exec sleep 1000")
		b.start()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		pids := b.file("open/pids")
		go func() {
			apart := "setsid sleep 1001 & " // one that has left the session is found too
			_, err := b.d.Ask(ctx, b.run, sh("echo said; "+apart+"echo $! $$ > "+pids+"; exec sleep 1000"), 200)
			done <- err
		}()
		b.eventually("the check is up", func() bool { return b.written("open/pids") })
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		for _, pid := range b.pids("open/pids") {
			if alive(pid) {
				t.Errorf("process %d lives on", pid)
			}
		}
		if seen, _ := b.probe(b.d); !seen.Running {
			t.Error("the program itself was ended")
		}
	})
}

// open lets everybody use a folder that this test has made, and enter those above.
func open(t *testing.T, dir string) {
	t.Helper()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for up := filepath.Dir(dir); up != os.TempDir() && up != "/"; up = filepath.Dir(up) {
		if err := os.Chmod(up, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func TestACheckThatADeadAgentLeftIsEnded(t *testing.T) {
	eachMode(t, func(t *testing.T, b *bench) {
		b.shell("exec sleep 1000")
		b.start()
		// An agent that dies while it asks does nothing more.
		run, e := b.run, *b.run.Part.Exec
		e.Command = sh("echo $$ > " + b.file("check") + "; exec sleep 1000")
		run.Part.Exec = &e
		l, err := b.d.prepare(run)
		if err == nil {
			l.group, err = l.group.Within(seatName(0))
		}
		if err != nil {
			t.Fatal(err)
		}
		l.env = append(l.env, l.group.Env()...)
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer null.Close()
		pid, err := b.d.born(t.Context(), run, l, nil, null)
		if err != nil {
			t.Fatal(err)
		}
		b.eventually("the check is up", func() bool { return b.written("check") })
		got, err := b.driver().Ask(t.Context(), b.run, sh("exit 3"), 200)
		if err != nil || got.Code != 3 {
			t.Errorf("the next agent's check: %+v, %v", got, err)
		}
		if alive(pid) {
			t.Fatal("the check of the agent before is still there")
		}
		if _, err := awaitTrap(pid); err != nil { // a zombie of this process
			t.Error(err)
		}
	})
}

func TestChecksOfOneProgramRunBesideEachOther(t *testing.T) {
	eachMode(t, func(t *testing.T, b *bench) {
		b.shell("exec sleep 1000")
		b.start()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		done := make(chan error, 1)
		go func() {
			_, err := b.d.Ask(ctx, b.run, sh("echo up > "+b.file("first")+"; until test -e "+b.file("second")+"; do sleep 0.01; done"), 200)
			done <- err
		}()
		b.eventually("the first is up", func() bool { return b.written("first") })
		if _, err := b.d.Ask(ctx, b.run, sh("echo > "+b.file("second")), 200); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestAPartThatIsNoProgramAsksAsTheAgent(t *testing.T) {
	eachMode(t, func(t *testing.T, b *bench) {
		b.run.Part = spec.Part{Name: "address", Address: &spec.Address{Prefix: "10.0.0.1/24"}}
		got, err := b.d.Ask(t.Context(), b.run, sh(`echo "$(id -u) $KEELSON_PART"; exit 2`), 200)
		if want := fmt.Sprintf("%d address\n", os.Getuid()); err != nil || got.Code != 2 || string(got.Output) != want {
			t.Errorf("got %q (%d, %v)", got.Output, got.Code, err)
		}
		b.run.Part = spec.Part{Name: "address", Exec: &spec.Exec{}}
	})
}

func TestACheckSharesTheLimitsOfItsPart(t *testing.T) {
	b := limited(t, cgroup.Limits{Processes: 1})
	b.run.Part.Exec.Limits.Processes = 2
	b.shell("exec sleep 1000")
	b.start()
	got, err := b.d.Ask(t.Context(), b.run, sh("/bin/true & wait; echo forked"), 200)
	if err != nil || strings.Contains(string(got.Output), "forked") {
		t.Errorf("it said %q (%v): it forked in spite of the limit", got.Output, err)
	}
}
