package whole

import (
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/core/decide"
	"github.com/keelson/keelson/internal/core/survey"
	"github.com/keelson/keelson/internal/model/action"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

// office is the controller: one node at a time, elected through the store.
type office struct {
	holder   int // slot, or nobody
	life     int // of its agent
	since    time.Time
	reached  time.Duration // when it last reached the store
	fit      time.Duration // when its sight was last fit
	blind    bool
	dazed    time.Duration // until when its sight is too fresh
	seen     survey.Sight
	turn     int // of the planned decisions, the one that counts; 0: none is
	at       time.Duration
	decided  time.Duration
	patience survey.Patience
}

const (
	nobody      = -1
	officeEvery = 500 * time.Millisecond
	sessionTTL  = 3 * time.Second
	unfitLimit  = 3 * time.Second
	decidePause = 20 * time.Millisecond
	decideEvery = 5 * time.Second
	retryAfter  = 200 * time.Millisecond
	dazedFor    = time.Second
)

// campaign fills the office when it is vacant, and vacates it.
func (w *world) campaign() {
	o := &w.office
	if o.holder != nobody {
		n := w.nodes[o.holder]
		if n.agent.Runs() && n.agent.Life == o.life && w.reaches(n) {
			o.reached = w.now
		}
		if w.sight(n).Fit() {
			o.fit = w.now
		}
		if w.now-o.reached < sessionTTL && w.now-o.fit < unfitLimit {
			return
		}
		w.trace("node %s is the controller no more", n.name)
		*o = office{holder: nobody}
	}
	first := w.dice.IntN(len(w.nodes))
	for i := range w.nodes {
		n := w.nodes[(first+i)%len(w.nodes)]
		if w.reaches(n) && w.sight(n).Fit() {
			*o = office{holder: int(n.slot), life: n.agent.Life, since: epochDay.Add(w.now), reached: w.now, fit: w.now}
			w.trace("node %s is the controller", n.name)
			w.officeDue(w.between(5*time.Millisecond, 100*time.Millisecond))
			return
		}
	}
}

// sight is what the agent knows of its guard.
func (w *world) sight(n *node) survey.Sight {
	return survey.Sight{Up: n.agent.Up && n.agent.seen.Up, State: n.agent.seen.State}
}

// officeDue plans a decision, unless one is planned sooner.
func (w *world) officeDue(d time.Duration) {
	o := &w.office
	at := max(w.now+d, o.decided+decidePause)
	if o.holder == nobody || o.turn > 0 && o.at <= at {
		return
	}
	o.turn, o.at = int(w.added)+1, at
	turn := o.turn
	w.after(at-w.now, func() {
		if o.turn == turn {
			o.turn = 0
			w.decide()
		}
	})
}

// sighted decides anew if what the controller sees has changed.
func (w *world) sighted(n *node) {
	o := &w.office
	if o.holder != int(n.slot) {
		return
	}
	a, b := w.sight(n), o.seen
	if a.Fit() != b.Fit() || a.State.Alive != b.State.Alive || a.State.Suspect != b.State.Suspect || a.State.Lost != b.State.Lost ||
		!maps.Equal(a.State.Holders, b.State.Holders) {
		w.officeDue(0)
	}
}

// decide makes one plan and has it written a little later.
func (w *world) decide() {
	o := &w.office
	o.decided = w.now
	w.officeDue(decideEvery)
	n := w.nodes[o.holder]
	if !n.agent.Runs() || n.agent.Life != o.life {
		return
	}
	sight := w.sight(n)
	o.seen = sight
	switch {
	case !sight.Fit():
		o.blind = true
		return
	case o.blind:
		o.blind, o.dazed = false, w.now+dazedFor
	}
	if w.now < o.dazed {
		w.officeDue(o.dazed - w.now)
		return
	}
	known := w.store.known(o.since, n.skew)
	plan := decide.Decide(known.Snapshot(sight, w.wall(n)))
	if plan.Hold != "" {
		return
	}
	changed, revisions := maps.Clone(w.store.changed), map[spec.ServiceName]int64{}
	for name, p := range w.store.placements {
		revisions[name] = p.Revision
	}
	since := o.since
	w.after(w.between(time.Millisecond, 20*time.Millisecond), n.agent.Only(func() {
		if o.holder != int(n.slot) || o.since != since || !w.reaches(n) {
			w.officeDue(retryAfter)
			return
		}
		var news []record.Placement
		for i := range plan.Placements {
			p := &plan.Placements[i]
			if w.store.changed[p.Service] != changed[p.Service] || w.store.placements[p.Service].Revision != revisions[p.Service] {
				w.officeDue(retryAfter) // it was decided on what is old by now
				continue
			}
			news = append(news, w.commit(n, &known, &plan, p)...)
		}
		if len(news) > 0 {
			w.putPlacements(news)
			w.officeDue(0)
		}
		if plan.History != nil && !reflect.DeepEqual(w.store.history, *plan.History) {
			w.store.history = *plan.History
		}
		w.reviseLease(n, &known, sight)
	}))
}

// commit writes what is new of one service, and returns what is of its placement.
func (w *world) commit(n *node, known *survey.Cell, plan *action.Plan, p *action.Placement) []record.Placement {
	if slices.Contains(plan.Forget, p.Service) {
		w.forget(p.Service)
		return nil
	}
	draft := known.Draft(*p, w.wall(n))
	draft.PlanID = plan.ID
	r := w.store.services[p.Service]
	if r != nil && r.Move != nil && (p.MoveDone || survey.Void(r.Move)) {
		done := *r
		done.Move = nil
		w.putService(&done)
	}
	if known.News(&draft).Write {
		return []record.Placement{draft}
	}
	return nil
}

// reviseLease keeps the ceiling of ballot numbers ahead of its use.
func (w *world) reviseLease(n *node, known *survey.Cell, sight survey.Sight) {
	ballot := max(sight.State.Ballot, known.NewestEpoch())
	var due record.Lease
	due, changed := w.office.patience.Revise(w.store.lease, ballot, known.LongestTTL(), w.boottime(n), known.Heard(w.wall(n)))
	if changed {
		w.putLease(due)
	}
}
