package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/lab"
	"github.com/keelson/keelson/internal/model/specfile"
)

func TestMain(m *testing.M) {
	lab.MaybeRunInner()
	os.Exit(m.Run())
}

func TestTheProgramIsFoundAndKilled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	l, err := lab.New(ctx, lab.Options{Hosts: []string{"h1", "h2"}})
	if errors.Is(err, lab.ErrForbidden) {
		t.Skipf("this needs a machine on which a lab can be made: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	args := []string{lab.SelfPath, "127.0.0.1:80"}
	start := func(host string, args ...string) *lab.Process {
		p, err := l.Host(host).Start(ctx, lab.Command{Args: args, Env: []string{fmt.Sprintf("%s=%s", lab.RoleVariable, lab.RoleWeb)}})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	web, other, elsewhere := start("h1", args...), start("h1", lab.SelfPath, "127.0.0.1:8"), start("h2", args...)
	s := &show{Options: Options{Clock: clock.System{}}}
	for { // it is not the program yet in the moment after it was started
		_, err := s.killProgram(ctx, l.Host("h1"), args)
		if err == nil {
			break
		}
		if !errors.Is(err, errNoProgram) || ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	exit, err := web.Wait(ctx)
	if err != nil || exit.Signal != syscall.SIGKILL {
		t.Errorf("the program ended with %+v, %v", exit, err)
	}
	for name, p := range map[string]*lab.Process{"another program": other, "another host's": elsewhere} {
		select {
		case <-p.Done():
			t.Errorf("%s was killed", name)
		default:
		}
	}
	if _, err := s.killProgram(ctx, l.Host("h1"), args); !errors.Is(err, errNoProgram) {
		t.Errorf("the second time: %v", err)
	}
}

func TestTheServiceIsOneThatKeelsonTakes(t *testing.T) {
	if _, err := specfile.Parse("demo", []byte(webService())); err != nil {
		t.Error(err)
	}
}
