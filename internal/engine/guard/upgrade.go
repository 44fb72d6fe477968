package guard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/core/plane"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/spec"
)

// StateVersion is the version of the state that a guard hands to the program
// that takes its place. It grows with every change after which a program of
// before would understand the state wrongly. This program reads from
// [OldestState] on.
const (
	StateVersion = 1
	OldestState  = 1
)

// MaxState is the longest state, in bytes.
const MaxState = 32 << 20

// ErrState means that a state cannot be taken over. A guard that finds this
// starts without memory, and is silent for a while; that is safe.
var ErrState = errors.New("not the state of a guard that this one can take over")

// Limits of an upgrade.
const (
	checkLimit = 15 * time.Second // for the other program to say that it can
	// upgradePatience is how long the best moment is waited for.
	upgradePatience = 2 * time.Second
	// upgradeLimit is how long something may be cut off until the upgrade is
	// given up.
	upgradeLimit = 30 * time.Second
)

// Successor puts another program in the place of this one.
type Successor interface {
	// Check asks the program whether it can go on from the state, and returns
	// nil if so, else an error for people.
	Check(ctx context.Context, u guardwire.Upgrade, state []byte) error
	// Become makes this process that program, which gets the state. It returns
	// only if that failed, and then nothing has changed.
	Become(u guardwire.Upgrade, state []byte) error
}

// upgrade is how far an upgrade has come.
type upgrade struct {
	asked   *guardwire.Upgrade // nil: none is under way
	ready   bool               // the other program has said that it can
	since   time.Duration      // when it said so
	checked chan error
	from    *Handed // the guard before this one, until its end was told
}

// Handed is what a guard leaves to the program that takes its place: all that
// it remembers. Descriptors are the business of those who opened them.
type Handed struct {
	Build       string // of the program before
	Incarnation uint64
	Sent        time.Duration // when it last sent something
	LastBeat    time.Duration
	Duty        guardwire.Duty
	Plane       *plane.State `json:",omitempty"` // nil: it had no duty yet, and the rest is empty
	Link        []byte       `json:",omitempty"`
	Forsaken    []spec.ServiceName
	Happened    []guardwire.Happened
	Peers       plane.View

	node *plane.Node // made of Plane
}

// title begins a state; its version and the end of the line follow.
const title = "keelson guard state "

// Decode reads a state and makes sure that it can be taken over in full. The
// error is [ErrState].
func Decode(data []byte) (*Handed, error) {
	if len(data) > MaxState {
		return nil, fmt.Errorf("%d bytes: %w", len(data), ErrState)
	}
	head, body, _ := bytes.Cut(data, []byte("\n"))
	number, found := bytes.CutPrefix(head, []byte(title))
	version, err := strconv.Atoi(string(number))
	if !found || err != nil || version < OldestState || version > StateVersion {
		return nil, fmt.Errorf("it begins with %.40q: %w", head, ErrState)
	}
	h := &Handed{}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(h); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	if h.Incarnation == 0 || len(h.Happened) > happenings {
		return nil, fmt.Errorf("incarnation %d, %d happenings: %w", h.Incarnation, len(h.Happened), ErrState)
	}
	if h.Plane == nil {
		return h, nil
	}
	if h.Plane.Self != h.Duty.Slot || h.Plane.Inc != h.Incarnation || len(h.Link) == 0 {
		return nil, fmt.Errorf("slot %d and %d, %d bytes of the link: %w", h.Plane.Self, h.Duty.Slot, len(h.Link), ErrState)
	}
	h.node = plane.New(h.Duty.Slot, h.Incarnation)
	if err := h.node.Restore(*h.Plane); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	return h, nil
}

// Resume returns the guard that goes on where another has left off; h is of no
// use any more. Its incarnation is that guard's. It sends nothing until Run. The
// error is [ErrState] or that of opening the link.
func Resume(opts Options, h *Handed) (*Guard, error) {
	opts.Incarnation = h.Incarnation
	g := New(opts)
	now := opts.Clock.Boot()
	if h.Sent > now || h.LastBeat > now {
		return nil, fmt.Errorf("of %s, and it is %s: %w", h.Sent, now, ErrState)
	}
	g.present.Last, g.told.happened = h.LastBeat, h.Happened
	if h.Plane == nil {
		opts.Log.Info("guard took over", "from", h.Build, "to", opts.Build)
		return g, nil
	}
	g.upgrade.from = h
	link, err := opts.OpenLink(LinkOptions{
		Cell: h.Duty.Cell, Slot: h.Duty.Slot, Incarnation: h.Incarnation,
		Listen: parse(h.Duty.Listen), Keys: h.Duty.Keys, Resume: h.Link,
	})
	if err != nil {
		return nil, fmt.Errorf("go on with the link: %w", err)
	}
	g.node, g.link, g.told.peers = h.node, link, h.Peers
	g.know(h.Duty)
	for _, name := range h.Forsaken {
		g.parting.forsaken[name] = now
	}
	for _, held := range g.node.Holds(now, nil) {
		if name := g.serviceName(held.ID); g.parting.forsaken[name] > 0 {
			g.parting.forsaken[name] = max(now, held.Until) // nobody was told more
		}
	}
	return g, nil
}

// takeOver begins where the guard before has stopped, with what the others wait
// for.
func (g *Guard) takeOver(t *tasks) {
	g.connect(g.duty)
	g.receive(t)
	now := g.opts.Clock.Boot()
	if g.node.Next() <= now {
		g.tick()
	}
	g.send()
	g.enforcer.order(g.enforcement(now))
}

// resumed tells, when there was something to send, how long the change of
// programs took. A node that is alone has nobody to send to.
func (g *Guard) resumed(now time.Duration) {
	from := g.upgrade.from
	if from == nil {
		return
	}
	g.upgrade.from = nil
	text := fmt.Sprintf("the guard of %s was upgraded from %s to %s", g.duty.Node, from.Build, g.opts.Build)
	if from.Build == g.opts.Build {
		text = fmt.Sprintf("the guard of %s was started anew in its place", g.duty.Node)
	}
	away := now - from.Sent
	if from.Sent > 0 {
		text += fmt.Sprintf("; it sent nothing for %s", away.Round(time.Millisecond))
	}
	g.opts.Log.Info("guard took over", "from", from.Build, "to", g.opts.Build, logkey.Took, away)
	g.happen(guardwire.Happened{Kind: string(event.GuardUpgraded), At: guardwire.Boot(now), Text: text})
}

// handOver returns all that this guard remembers. What was received and not
// looked at is lost, as a datagram may be. undo is for when nobody takes over.
func (g *Guard) handOver() (state []byte, undo func(), err error) {
	h := Handed{
		Build: g.opts.Build, Incarnation: g.opts.Incarnation,
		Sent: g.pace.sent, LastBeat: g.present.Last, Duty: g.duty,
		Forsaken: slices.Sorted(maps.Keys(g.parting.forsaken)), Happened: g.told.happened, Peers: g.told.peers,
	}
	undo = func() {}
	if g.node != nil {
		s := g.node.State()
		h.Plane = &s
		if h.Link, undo, err = g.link.HandOver(); err != nil {
			return nil, nil, fmt.Errorf("hand over the link: %w", err)
		}
	}
	body, err := json.Marshal(h)
	state = append(fmt.Appendf(nil, "%s%d\n", title, StateVersion), body...)
	if err == nil && len(state) > MaxState {
		err = fmt.Errorf("%d bytes: %w", len(state), ErrState)
	}
	if err != nil {
		undo()
		return nil, nil, fmt.Errorf("encode the guard's state: %w", err)
	}
	return state, undo, nil
}

// askUpgrade has another program asked whether it can take over. One upgrade at
// a time is enough: whoever asks for another one asks again.
func (g *Guard) askUpgrade(ctx context.Context, t *tasks, u guardwire.Upgrade) {
	if g.upgrade.asked != nil {
		return
	}
	g.opts.Log.Info("upgrade asked for", logkey.Path, u.Path, "build", u.Build)
	g.upgrade.asked, g.upgrade.ready = &u, false
	if g.parting.why != nil {
		g.refuseUpgrade(errors.New("it is about to end"))
		return
	}
	if g.opts.Successor == nil {
		g.refuseUpgrade(errors.New("it cannot be replaced while it runs"))
		return
	}
	state, undo, err := g.handOver()
	if err != nil {
		g.refuseUpgrade(err)
		return
	}
	undo()
	t.start(func() {
		ctx, cancel := context.WithTimeout(ctx, checkLimit)
		defer cancel()
		g.upgrade.checked <- g.opts.Successor.Check(ctx, u, state) // there is room for one
	})
}

func (g *Guard) upgradeChecked(err error) {
	g.pace.dirty = true
	if err != nil {
		g.refuseUpgrade(err)
		return
	}
	g.upgrade.ready, g.upgrade.since = true, g.opts.Clock.Boot()
}

// refuseUpgrade ends an upgrade and tells the operator why.
func (g *Guard) refuseUpgrade(why error) {
	u := g.upgrade.asked
	g.upgrade.asked, g.upgrade.ready = nil, false
	g.pace.dirty = true
	g.opts.Log.Error("upgrade refused, the guard goes on as it is", logkey.Path, u.Path, "build", u.Build, logkey.Err, why)
	g.troubles["upgrade"] = fmt.Sprintf("The guard goes on as version %s and could not be upgraded to %s: %v. "+
		"To start the new one by hand in a quiet moment, end this one (`kill %d`); its exclusive services pause for about one lease.",
		g.opts.Build, u.Build, why, os.Getpid())
}

// replace makes this process the program that was asked for, if one was and the
// moment is good: nothing is being cut off, the agent has read what it was told,
// and nothing is due for a while.
func (g *Guard) replace() {
	if !g.upgrade.ready || g.parting.why != nil {
		return
	}
	waited := g.opts.Clock.Boot() - g.upgrade.since
	if !g.enforcer.idle() {
		if waited > upgradeLimit {
			g.refuseUpgrade(errors.New("something is being cut off here all the time"))
		}
		return
	}
	unread := g.agent != nil && g.agent.unsent.Load() > 0
	if (unread || g.wait() < calm) && waited < upgradePatience {
		return
	}
	state, undo, err := g.handOver()
	if err != nil {
		g.refuseUpgrade(err)
		return
	}
	err = g.opts.Successor.Become(*g.upgrade.asked, state)
	undo()
	g.refuseUpgrade(err)
}
