// Package app joins the parts of Keelson into programs: the agent, the guard,
// and what init, join and leave do on a server.
//
// It is the only place where engines meet drivers, and it decides nothing. What
// an engine declares as an interface is fulfilled here, if a driver does not fit
// by itself, by an adapter of a few lines.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"sync"

	"github.com/lmittmann/tint"
	"golang.org/x/term"

	"github.com/keelson/keelson/internal/app/hostaddress"
	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/core/explain"
	"github.com/keelson/keelson/internal/front/cli"
	"github.com/keelson/keelson/internal/model/request"
)

// App is Keelson on this machine. Make one with New.
type App struct {
	version string
	clock   clock.Clock
	stderr  io.Writer
	present func(netip.Addr) (bool, error) // whether an address is this host's
}

// New returns the app of a binary of the given version.
func New(version string) *App {
	return &App{version: version, clock: clock.System{}, stderr: os.Stderr, present: present}
}

// Actions returns what the command line can do on this machine.
func (a *App) Actions() cli.Actions {
	return cli.Actions{
		Init: a.Init, Join: a.Join, Leave: a.Leave, LeaveOffline: a.LeaveOffline, Agent: a.Agent, Guard: a.Guard, Demo: a.Demo,
		Simulate: a.Simulate, Pacemaker: readPacemaker(), Replay: explain.Replay,
		Addresses: func(f cli.Folders) ([]string, error) { return hostaddress.Own(f.Run, defaultRun) },
	}
}

// logger returns a logger as the operator asked for.
func (a *App) logger(l cli.Logging) *slog.Logger {
	level := slog.LevelInfo
	if l.Level != "" {
		// The command line has checked it.
		_ = level.UnmarshalText([]byte(l.Level))
	}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(a.stderr, &slog.HandlerOptions{Level: level}))
	}
	if f, ok := a.stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return slog.New(tint.NewTextHandler(a.stderr, &tint.Options{Level: level}))
	}
	return slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: level}))
}

// organ is a part of a program that runs until its context ends.
type organ struct {
	name string
	run  func(context.Context) error
}

// runAll runs organs until ctx ends or one of them fails, then ends the others
// and waits for them. It returns the first failure, or nil if ctx ended.
func runAll(ctx context.Context, organs []organ) error {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	for _, o := range organs {
		all.Go(func() {
			err := o.run(inner)
			if inner.Err() == nil {
				if err == nil {
					err = errors.New("ended without being told to")
				}
				cancel(fmt.Errorf("%s: %w", o.name, err))
			}
		})
	}
	all.Wait()
	if err := context.Cause(inner); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// refused makes an error for the operator.
func refused(code, hint, format string, args ...any) error {
	return &request.Error{Kind: request.Refused, Code: code, Text: fmt.Sprintf(format, args...), Hint: hint}
}
