package app

import (
	"context"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/base/command"
	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/driver/cgroup"
	"github.com/keelson/keelson/internal/driver/check"
	"github.com/keelson/keelson/internal/driver/cutoff"
	"github.com/keelson/keelson/internal/driver/part/address"
	partexec "github.com/keelson/keelson/internal/driver/part/exec"
	"github.com/keelson/keelson/internal/engine/agent"
	"github.com/keelson/keelson/internal/engine/guard"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
	"github.com/keelson/keelson/internal/store/etcdstore"
	"github.com/keelson/keelson/internal/store/memstore"
)

// What engines need and drivers give.
var (
	_ agent.Part  = (*partexec.Driver)(nil)
	_ agent.Part  = (*address.Driver)(nil)
	_ guard.Fence = fence{}
	_ store.Store = (*etcdstore.Client)(nil)
	_ store.Store = (*memstore.Store)(nil)
)

// checker asks the questions of a part's checks, programs beside the part's own.
type checker struct{ n *node }

// Watch implements agent.Checker.
func (c checker) Watch(ctx context.Context, ask spec.Check, run instance.Run, verdict func(ok bool, why string)) {
	w := check.Watch{Clock: c.n.clock, Check: ask, Program: func(ctx context.Context, argv []string, limit int) (command.Result, error) {
		return c.n.programs.Ask(ctx, run, argv, limit)
	}}
	err := w.Run(ctx, func(v check.Verdict, why string) { verdict(v == check.Passing, why) })
	if ctx.Err() == nil {
		c.n.log.Error("check ended", logkey.Service, run.Service, logkey.Part, run.Part.Name, logkey.Err, err)
	}
}

// fence joins what the kernel enforces with what is killed.
type fence struct {
	*cutoff.Fence
	clock clock.Clock
}

// Kill implements guard.Fence.
func (f fence) Kill(ctx context.Context, handle string) error {
	return cgroup.KillHandle(ctx, f.clock, handle)
}
