package cell

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/status"
	"github.com/keelson/keelson/internal/store"
)

// Limits of looking.
const (
	// LookTimeout bounds the wait for the store; then the mirror answers.
	LookTimeout = 1500 * time.Millisecond
	// WatchEvery is the shortest time between two statuses of one watch.
	WatchEvery = 100 * time.Millisecond
	// WatchAtLeast is the longest, so that the reader knows that it is in touch.
	WatchAtLeast = 5 * time.Second
)

// Copy is this node's copy of the records.
type Copy interface {
	// Records returns the copy, and whether it is stale. It is not to be changed.
	Records() (r Records, stale bool)
}

// Observer answers how the cell is. Its fields are set once; it is safe for
// concurrent use.
type Observer struct {
	Store  store.Store
	Mirror Copy
	Clock  clock.Clock
	Live   func() Live
}

// Status returns the whole cell as the store has it now, or, if the store does
// not answer, as it was last known, with Stale set.
func (o *Observer) Status(ctx context.Context) (status.Cell, error) {
	v, err := o.view(ctx)
	if err != nil {
		return status.Cell{}, err
	}
	return Assemble(v), nil
}

// view reads the records, from the mirror if the store does not answer.
func (o *Observer) view(ctx context.Context) (View, error) {
	once, cancel := context.WithTimeout(ctx, LookTimeout)
	defer cancel()
	records, _, err := Load(once, o.Store)
	stale := err != nil
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return View{}, fmt.Errorf("look at the cell: %w", ctx.Err())
	case !unanswered(err):
		return View{}, outcome("look at the cell", err)
	default:
		records, _ = o.Mirror.Records()
	}
	return View{Records: records, Live: o.Live(), Now: o.Clock.Now(), Stale: stale}, nil
}

// Service returns one service with its spec.
func (o *Observer) Service(ctx context.Context, name spec.ServiceName) (status.Service, error) {
	v, err := o.view(ctx)
	if err != nil {
		return status.Service{}, err
	}
	for _, s := range Assemble(v).Services {
		if s.Name == name {
			wanted := v.Records.Services[name].Spec
			s.Spec = &wanted
			return s, nil
		}
	}
	return status.Service{}, noSuchService(name)
}

// Node returns one node.
func (o *Observer) Node(ctx context.Context, name spec.NodeName) (status.Node, error) {
	v, err := o.view(ctx)
	if err != nil {
		return status.Node{}, err
	}
	for _, n := range Assemble(v).Nodes {
		if n.Name == name {
			return n, nil
		}
	}
	return status.Node{}, noSuchNode(name)
}

// Watch calls f with the status now, after each change but at most every
// [WatchEvery], and at least every [WatchAtLeast]. It returns the first error
// of f, or when ctx ends.
func (o *Observer) Watch(ctx context.Context, f func(status.Cell) error) error {
	tick := o.Clock.Tick(WatchEvery)
	defer tick.Stop()
	var told status.Cell
	var at time.Duration
	for first := true; ; first = false {
		records, stale := o.Mirror.Records()
		now := Assemble(View{Records: records, Live: o.Live(), Now: o.Clock.Now(), Stale: stale})
		if first || o.Clock.Boot()-at >= WatchAtLeast || !alike(told, now) {
			if err := f(now); err != nil {
				return err
			}
			told, at = now, o.Clock.Boot()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// alike compares all but the moment.
func alike(a, b status.Cell) bool {
	a.At = b.At
	return reflect.DeepEqual(a, b)
}

// Where returns the node that has the output of a service: its holder, else
// the node where it was last, else the one that is to run it.
func (o *Observer) Where(ctx context.Context, name spec.ServiceName) (spec.NodeName, error) {
	v, err := o.view(ctx)
	if err != nil {
		return "", err
	}
	if _, found := v.Records.Services[name]; !found {
		return "", noSuchService(name)
	}
	if at := whereabouts(Assemble(v), name); at != "" {
		return at, nil
	}
	var last spec.NodeName
	var since time.Time
	for _, node := range sortedKeys(v.Records.Reports) {
		for _, i := range v.Records.Reports[node].Instances {
			if i.Service == name && i.Phase != fact.Waiting && i.Since.After(since) {
				last, since = node, i.Since
			}
		}
	}
	if order := v.Records.Placements[name].Order; last == "" && len(order) > 0 {
		last = order[0]
	}
	if last == "" {
		return "", &request.Error{
			Kind: request.Refused, Code: "never-ran",
			Text: fmt.Sprintf("service %s has not run anywhere yet", name),
			Hint: fmt.Sprintf("see `keelson describe %s`", name),
		}
	}
	return last, nil
}
