package cell

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/specfile"
	"github.com/keelson/keelson/internal/model/status"
)

// Delete marks a service as being deleted: the agents stop it, then the
// controller forgets it. Deleting it twice is as good as once. It returns where other
// services name it.
func (c *Clerk) Delete(ctx context.Context, ask request.Delete) (request.Deleted, error) {
	var asked bool
	var named []string
	err := c.attempt(ctx, "delete "+string(ask.Service), func(ctx context.Context) (again, error) {
		r, _, err := Load(ctx, c.Store)
		if err != nil {
			return false, err
		}
		var all []spec.Service
		for _, s := range r.Services {
			if !s.Deleting {
				all = append(all, s.Spec)
			}
		}
		named = specfile.NamedBy(ask.Service, all)
		return edit(ctx, c, record.KeyServices+string(ask.Service),
			func(s record.Service, found bool) (record.Service, bool, error) {
				if !found {
					return s, false, noSuchService(ask.Service)
				}
				write := !s.Deleting
				asked = asked || write
				s.Deleting = true
				return s, write, nil
			})
	})
	if err != nil {
		return request.Deleted{}, err
	}
	if asked {
		c.Events.Add(event.Event{
			Kind: event.ServiceDeleted, Service: ask.Service, Actor: ask.By,
			Text: strings.Join(append([]string{fmt.Sprintf("%s is to be deleted", ask.Service)}, named...), "; "),
		})
	}
	return request.Deleted{Warnings: named}, nil
}

// Move asks the controller to move a service, to a node or, with To empty, to
// the best other one. A service that is there already is left alone.
func (c *Clerk) Move(ctx context.Context, ask request.Move) (request.Moved, error) {
	var moved request.Moved
	what := "move " + string(ask.Service)
	err := c.attempt(ctx, what, func(ctx context.Context) (again, error) {
		records, _, err := Load(ctx, c.Store)
		if err != nil {
			return false, err
		}
		v := View{Records: records, Live: c.Live(), Now: c.Clock.Now()}
		moved, err = movable(v, ask)
		if err != nil || moved.From == moved.To {
			return false, err
		}
		return edit(ctx, c, record.KeyServices+string(ask.Service),
			func(s record.Service, found bool) (record.Service, bool, error) {
				if !found {
					return s, false, noSuchService(ask.Service)
				}
				s.Move = &record.Move{To: ask.To, From: moved.From, At: v.Now}
				return s, true, nil
			})
	})
	if err != nil {
		return request.Moved{}, err
	}
	if moved.From != moved.To {
		c.Events.Add(event.Event{
			Kind: event.ServiceMoving, Service: ask.Service, About: moved.To, Actor: ask.By,
			Text: moveText(ask.Service, moved),
		})
	}
	return moved, nil
}

func moveText(name spec.ServiceName, m request.Moved) string {
	switch {
	case m.To == "":
		return fmt.Sprintf("%s is to move away from %s", name, m.From)
	case m.From == "":
		return fmt.Sprintf("%s is to run on %s", name, m.To)
	}
	return fmt.Sprintf("%s is to move from %s to %s", name, m.From, m.To)
}

// movable checks a move against the present state. It is pure.
func movable(v View, ask request.Move) (request.Moved, error) {
	r, found := v.Records.Services[ask.Service]
	switch {
	case !found:
		return request.Moved{}, noSuchService(ask.Service)
	case r.Deleting:
		return request.Moved{}, refused("deleting", "", "service %s is being deleted", ask.Service)
	case r.Spec.Stopped:
		return request.Moved{}, refused("stopped", "remove `stopped: true` from its file and apply it, then move it",
			"service %s is stopped by its spec, so it runs nowhere", ask.Service)
	case !r.Spec.HasLease():
		return request.Moved{}, refused("runs-copies", "drain a node to move its copy away, or change its place.prefer",
			"service %s runs copies on several nodes, so there is not one to move", ask.Service)
	}
	at := whereabouts(Assemble(v), ask.Service)
	if ask.To == "" {
		return request.Moved{From: at}, elsewhere(v, r, at)
	}
	if ask.To == at {
		return request.Moved{From: at, To: at}, nil
	}
	if _, member := v.Records.Nodes[ask.To]; !member {
		return request.Moved{}, noSuchNode(ask.To)
	}
	if why := unfit(v, r, ask.To); why != "" {
		return request.Moved{}, refused("target-unfit", "choose another node: see `keelson get nodes`",
			"service %s cannot move to %s: %s", ask.Service, ask.To, why)
	}
	return request.Moved{From: at, To: ask.To}, nil
}

func whereabouts(c status.Cell, name spec.ServiceName) spec.NodeName {
	for _, s := range c.Services {
		if s.Name == name {
			return s.Node
		}
	}
	return ""
}

// elsewhere returns nil if some node other than at could run r.
func elsewhere(v View, r record.Service, at spec.NodeName) error {
	if at == "" {
		return refused("not-running", "it is placed as soon as a node may run it; see `keelson describe "+string(r.Spec.Name)+"`",
			"service %s runs nowhere, so there is nothing to move", r.Spec.Name)
	}
	for name := range v.Records.Nodes {
		if name != at && unfit(v, r, name) == "" {
			return nil
		}
	}
	return refused("nowhere-to-go", "see `keelson get nodes` for why none of them can take it",
		"service %s is on %s, and no other node may run it", r.Spec.Name, at)
}

// unfit says why a node cannot take a service now; empty: it can. Capacity and
// the wishes of other services are the controller's to judge.
func unfit(v View, r record.Service, name spec.NodeName) string {
	n, wish := v.Records.Nodes[name], v.Records.Wishes[name]
	place := r.Spec.Place
	switch {
	case n.Witness:
		return "it is a witness and runs no services"
	case wish.Leaving:
		return "it is leaving the cell"
	case wish.Drain:
		return "it is drained"
	case slices.Contains(place.Never, name):
		return "the service's place.never names it"
	case len(place.On) > 0 && !slices.Contains(place.On, name):
		return "the service's place.on does not name it"
	case v.Live.liveness(n, v.Records.Reports[name], v.Now) == fact.Lost:
		return "it is lost"
	}
	for _, i := range v.Records.Reports[name].Instances {
		if i.Service == r.Spec.Name && i.FailedUntil.After(v.Now) {
			return fmt.Sprintf("it failed there, and is kept away until %s", i.FailedUntil.Format("15:04:05"))
		}
	}
	return ""
}
