package agent

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

const (
	resolveEvery = 30 * time.Second
	resolveLimit = 2 * time.Second
)

// namesIn returns the hosts that must be looked up, sorted.
func namesIn(nodes map[spec.NodeName]record.Node) []string {
	var names []string
	for _, n := range nodes {
		for _, h := range hosts(n) {
			if _, err := netip.ParseAddr(h); err != nil {
				names = append(names, h)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// resolver looks host names of nodes up, again and again. A name that is not
// answered keeps its last address; one whose answer still has that address
// keeps it too, since a guard starts anew when its own address changes.
type resolver struct {
	options *Options
	names   mailbox[[]string]
	answers chan<- map[string]netip.Addr

	found map[string]netip.Addr
}

func (r *resolver) run(ctx context.Context) {
	if r.options.Resolve == nil {
		return
	}
	r.found = make(map[string]netip.Addr)
	var names []string
	tick := r.options.Clock.Tick(resolveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case names = <-r.names:
		case <-tick.C:
		}
		before := maps.Clone(r.found)
		for _, name := range names {
			r.look(ctx, name)
		}
		if maps.Equal(before, r.found) {
			continue
		}
		select {
		case r.answers <- maps.Clone(r.found):
		case <-ctx.Done():
			return
		}
	}
}

func (r *resolver) look(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, resolveLimit)
	defer cancel()
	addrs, err := r.options.Resolve(ctx, name)
	if err != nil || len(addrs) == 0 {
		r.options.Log.Debug("host name not resolved", logkey.Addr, name, logkey.Err, err)
		return
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	if !slices.Contains(addrs, r.found[name]) {
		r.found[name] = addrs[0]
	}
}
