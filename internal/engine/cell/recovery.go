package cell

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
)

// Clear asks that the failures of a service be forgotten, on one node or on all,
// and returns where it had failed. The bans end, and it starts again if it was
// stopped for a person.
func (c *Clerk) Clear(ctx context.Context, ask request.Clear) ([]spec.NodeName, error) {
	var failed []spec.NodeName
	err := c.attempt(ctx, "clear "+string(ask.Service), func(ctx context.Context) (again, error) {
		records, _, err := Load(ctx, c.Store)
		if err != nil {
			return false, err
		}
		if _, member := records.Nodes[ask.Node]; ask.Node != "" && !member {
			return false, noSuchNode(ask.Node)
		}
		failed = failedOn(records, ask.Service)
		now := c.Clock.Now().UTC().Round(0)
		return edit(ctx, c, record.KeyServices+string(ask.Service),
			func(s record.Service, found bool) (record.Service, bool, error) {
				if !found {
					return s, false, noSuchService(ask.Service)
				}
				cleared := make(map[spec.NodeName]time.Time, len(records.Nodes))
				for name := range records.Nodes {
					if at, before := s.Cleared[name]; before {
						cleared[name] = at
					}
					if ask.Node == "" || ask.Node == name {
						cleared[name] = now
					}
				}
				write := !maps.EqualFunc(s.Cleared, cleared, time.Time.Equal)
				s.Cleared = cleared
				return s, write, nil
			})
	})
	if err != nil {
		return nil, err
	}
	if ask.Node != "" {
		failed = slices.DeleteFunc(failed, func(n spec.NodeName) bool { return n != ask.Node })
	}
	where := "every node"
	if ask.Node != "" {
		where = string(ask.Node)
	}
	c.Events.Add(event.Event{
		Kind: event.ServiceCleared, Service: ask.Service, About: ask.Node, Actor: ask.By,
		Text: fmt.Sprintf("what %s failed on %s is forgotten; it may be tried there again", ask.Service, where),
	})
	return failed, nil
}

// failedOn lists the nodes on which a service failed, as far as is remembered.
func failedOn(r Records, name spec.ServiceName) []spec.NodeName {
	var out []spec.NodeName
	for _, t := range r.ServicePast[name].Tried {
		out = append(out, t.Node)
	}
	for node, report := range r.Reports {
		for _, i := range report.Instances {
			if i.Service == name && len(i.Failures) > 0 && r.Nodes[node].Name != "" {
				out = append(out, node)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Trust ends a node's quarantine or probation, and forgets its past.
func (c *Clerk) Trust(ctx context.Context, ask request.Trust) error {
	now := c.Clock.Now().UTC().Round(0)
	_, err := c.wish(ctx, "trust", ask.Node, func(w *record.NodeWish) bool {
		w.Trust = now
		return true
	})
	return err
}

// Recovery returns what bounds the moves that the cell plans by itself, with its
// defaults filled in.
func (c *Clerk) Recovery(ctx context.Context) (spec.Recovery, error) {
	var r spec.Recovery
	err := c.attempt(ctx, "read the limits of recovery", func(ctx context.Context) (again, error) {
		entry, found, err := c.Store.Get(ctx, record.KeyRecovery)
		if err != nil || !found {
			return false, err
		}
		return false, json.Unmarshal(entry.Value, &r)
	})
	return r.Effective(), err
}

// SetRecovery changes what bounds the moves that the cell plans by itself. Fields
// that are 0 stay as they are.
func (c *Clerk) SetRecovery(ctx context.Context, ask request.SetRecovery) error {
	if problems := ask.Recovery.Validate(); len(problems) > 0 {
		return &request.Error{
			Kind: request.Invalid, Code: "out-of-range", Text: problems[0].String(), Hint: "nothing was changed",
		}
	}
	var now spec.Recovery
	var changed bool
	err := c.attempt(ctx, "change the limits of recovery", func(ctx context.Context) (again, error) {
		return edit(ctx, c, record.KeyRecovery, func(r spec.Recovery, _ bool) (spec.Recovery, bool, error) {
			now = r
			for _, f := range []struct{ to, from *int }{
				{&now.Share, &ask.Recovery.Share}, {&now.ServiceMoves, &ask.Recovery.ServiceMoves}, {&now.CellMoves, &ask.Recovery.CellMoves},
			} {
				if *f.from != 0 {
					*f.to = *f.from
				}
			}
			if ask.Recovery.Window != 0 {
				now.Window = ask.Recovery.Window
			}
			changed = changed || now != r
			return now, now != r, nil
		})
	})
	if err != nil || !changed {
		return err
	}
	c.Events.Add(event.Event{
		Kind: event.RecoveryChanged, Actor: ask.By, Text: "what the cell moves by itself is bounded anew: " + strings.TrimSuffix(now.String(), "."),
	})
	return nil
}
