package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/engine/agent/guardclient"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
)

const (
	reportEvery = 8 * time.Second        // without a change; readers expect 10 s
	reportPause = 200 * time.Millisecond // between two, on the average
	reportBurst = 5                      // that may come sooner: other nodes may wait for what they say
	burstPause  = 20 * time.Millisecond  // between those
	reportLimit = 2 * time.Second        // for one write
	maxWarnings = 50
	// unusedWorth is how long a lease may be held here, with nothing in the way of
	// a start, until that is worth a sentence. It takes a moment.
	unusedWorth = 10 * time.Second
)

// reporter writes the node's report into the store, the newest first: what was
// not written in time is not written at all.
type reporter struct {
	options *Options
	reports mailbox[record.Report]
}

func (r *reporter) run(ctx context.Context) {
	var last record.Report
	have, failed := false, 0
	quick := allowance{left: reportBurst, at: r.options.Clock.Boot()}
	timer := r.options.Clock.Timer(reportEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case last = <-r.reports:
			have = true
		case <-timer.C:
		}
		wait := reportEvery
		if have {
			err := r.write(ctx, last)
			if failed++; err == nil {
				failed = 0
			}
			if failed == 1 {
				r.options.Log.Warn("report not written", logkey.Err, err)
			}
			if failed > 0 {
				wait = storeRetry.Delay(failed, uint64(r.options.Clock.Boot()))
			}
			if r.options.Clock.Sleep(ctx, quick.pause(r.options.Clock.Boot())) != nil {
				return
			}
		}
		timer.Reset(wait)
	}
}

// allowance is how many reports may still come soon after the one before. It grows
// back by one each reportPause.
type allowance struct {
	left int
	at   time.Duration // when it last grew
}

// pause is how long to wait after a report.
func (a *allowance) pause(now time.Duration) time.Duration {
	grown := int((now - a.at) / reportPause)
	a.at += time.Duration(grown) * reportPause
	if a.left = min(a.left+grown, reportBurst); a.left == 0 {
		a.at = now + reportPause // this pause is no quiet
		return reportPause
	}
	a.left--
	return burstPause
}

func (r *reporter) write(ctx context.Context, report record.Report) error {
	ctx, cancel := context.WithTimeout(ctx, reportLimit)
	defer cancel()
	report.At = r.options.Clock.Now()
	value, err := json.Marshal(report)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	_, _, err = r.options.Store.Txn(ctx, nil, []store.Op{{Key: record.KeyReports + string(report.Node), Value: value}})
	return err
}

// makeReport describes the node.
func (a *Agent) makeReport(g guardclient.View) record.Report {
	r := record.Report{Node: a.options.Node, GuardUp: g.Up, Warnings: a.warnings(g)}
	if g.Heard {
		r.Watchdog = g.State.Watchdog
		r.LeaseVersion, r.Stall = g.State.LeaseVersion, spec.Duration(g.State.Stall)
		r.Late, r.Measured, r.Waits = spec.Duration(g.State.Late), spec.Duration(g.State.Measured), spec.Duration(g.State.Waits)
		r.Dropped = g.State.Dropped
	}
	for _, t := range a.services {
		if i := t.status.instance; t.heard && (i.Phase != fact.Idle || len(i.Failures) > 0) {
			r.Instances = append(r.Instances, i)
		}
	}
	r.Keeps, r.Shares = a.keeps(g), a.shares(g)
	if a.options.Health != nil {
		r.Health, _ = a.options.Health()
	}
	if a.options.Interfaces != nil {
		r.Interfaces = a.options.Interfaces()
	}
	slices.SortFunc(r.Instances, func(a, b fact.Instance) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Copy, b.Copy))
	})
	return r
}

// keeps are the services that the guard may go on with without a lease: those
// that its duty says so of. Before this agent has sent one, the guard goes by
// that of an agent before, so that it may be any that it holds.
func (a *Agent) keeps(g guardclient.View) []spec.ServiceName {
	var names []spec.ServiceName
	for i := range a.duty.duty.Seeks {
		if s := &a.duty.duty.Seeks[i]; s.Keep && !s.Exclusive {
			names = append(names, s.Service)
		}
	}
	if a.duty.at == 0 {
		for _, h := range g.State.Holds {
			names = append(names, h.Service)
		}
		for name, s := range a.view.Services {
			if s.Spec.KeptOnQuorumLoss() {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// shares are the services that the guard may take over before their lease has ended,
// or hold beside another node, because they are not exclusive: those that its duty
// says so of, or may; see keeps.
func (a *Agent) shares(g guardclient.View) []spec.ServiceName {
	var names []spec.ServiceName
	add := func(lease spec.ServiceName) {
		name, _ := instance.LeaseOf(lease)
		names = append(names, name)
	}
	for i := range a.duty.duty.Seeks {
		if s := &a.duty.duty.Seeks[i]; !s.Exclusive {
			add(s.Service)
		}
	}
	if a.duty.at == 0 {
		for _, h := range g.State.Holds {
			add(h.Service)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// warnings are the sentences for the operator, sorted, at most maxWarnings.
func (a *Agent) warnings(g guardclient.View) []string {
	out := slices.Clone(a.troubles)
	if trouble := a.keeper.Trouble(); trouble != "" {
		out = append(out, trouble)
	}
	if a.options.Warnings != nil {
		out = append(out, a.options.Warnings()...)
	}
	if a.options.Health != nil {
		h, trouble := a.options.Health()
		if h.Score < 0 {
			out = append(out, strings.TrimSuffix(fmt.Sprintf("This node is not well, by its own word (score %d): %s", h.Score, h.Why), ": "))
		}
		if trouble != "" {
			out = append(out, trouble)
		}
	}
	switch {
	case g.Up:
		out = append(out, g.State.Warnings...)
	case g.Gone:
		out = append(out, "The guard does not run. The agent starts it again; until then this node holds no leases.")
	}
	if self, ok := a.view.Nodes[a.options.Node]; ok && len(endpoints(self, a.found)) == 0 {
		out = append(out, fmt.Sprintf("The address of this node, %q, cannot be resolved, so its guard cannot begin. Correct the name service, or give the node an IP address.", self.Address))
	}
	now := a.options.Clock.Boot()
	for name, t := range a.services {
		if t.status.trouble != "" {
			out = append(out, t.status.trouble)
		}
		if t.unused != 0 && now-t.unused >= unusedWorth {
			out = append(out, fmt.Sprintf("Service %s does not run, though its lease is held here and nothing is in its way. "+
				"Look at the agent's log, or let another node run it with `keelson drain %s`.", name, a.options.Node))
		}
	}
	for i := range out {
		out[i] = event.Tidy(out[i])
	}
	slices.Sort(out)
	out = slices.Compact(out)
	return out[:min(len(out), maxWarnings)]
}

// sameReport reports whether b says nothing new. The stall changes all the time
// and waits for the next report.
func sameReport(a, b record.Report) bool {
	return a.GuardUp == b.GuardUp && a.Health == b.Health && a.Watchdog == b.Watchdog && a.LeaseVersion == b.LeaseVersion && slices.Equal(a.Warnings, b.Warnings) &&
		slices.Equal(a.Keeps, b.Keeps) && slices.Equal(a.Interfaces, b.Interfaces) &&
		slices.EqualFunc(a.Instances, b.Instances, func(x, y fact.Instance) bool { return sameInstance(&x, &y) })
}
