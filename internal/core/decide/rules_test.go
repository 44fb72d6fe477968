package decide

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/core/decide/restrain"
	"github.com/keelson/keelson/internal/model/action"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// near adds a rule of place.near to a service.
func near(s *fact.Snapshot, name, other spec.ServiceName, score int) {
	for i := range s.Services {
		if s.Services[i].Spec.Name == name {
			place := &s.Services[i].Spec.Place
			place.Near = append(slices.Clip(place.Near), spec.Near{Service: other, Score: score})
		}
	}
}

func TestRulesBetweenServicesAreKept(t *testing.T) {
	tests := []struct {
		name string
		cell string
		near func(*fact.Snapshot)
		want string
	}{
		{
			"what must be away from another is, whichever is placed first", "node a\nnode b\nservice x\nservice y priority=1",
			func(s *fact.Snapshot) { near(s, "x", "y", -spec.MaxScore); near(s, "y", "x", 30) },
			"x: b  (changed)\ny: a  (changed)\n",
		},
		{
			"two that must be near each other have no home where they cannot be", "node a\nnode b\nservice x on=a\nservice y on=b",
			func(s *fact.Snapshot) { near(s, "x", "y", spec.MaxScore); near(s, "y", "x", spec.MaxScore) },
			"x: nowhere\ny: nowhere\n",
		},
		{
			"who must be near a stopped service has no home", "node a\nservice db stopped\nservice x",
			func(s *fact.Snapshot) { near(s, "x", "db", spec.MaxScore) },
			"db: nowhere\nx: nowhere\n",
		},
		{
			"who must be near a service without a home has none", "node a\nservice db on=b\nservice x",
			func(s *fact.Snapshot) { near(s, "x", "db", spec.MaxScore) },
			"db: nowhere\nx: nowhere\n",
		},
		{
			"a service that is not applied yet does not count", "node a\nservice x",
			func(s *fact.Snapshot) { near(s, "x", "db", spec.MaxScore) },
			"x: a  (changed)\n",
		},
		{
			"a new service does not throw out an equal that runs", "node a\nnode b\nservice bb on=a order=a holder=a\nservice aa apart=bb prefer=node:a:500\ninstance bb a running",
			nil,
			"aa: b  (changed)\nbb: a\n",
		},
		{
			"who is apart does not follow where the other is", "node a\nnode b\nservice db stickiness=0 order=a holder=a\nservice web priority=1 apart=db order=b holder=b",
			func(s *fact.Snapshot) { near(s, "web", "db", 300) },
			"db: a\nweb: b\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := fact.Snapshot{Now: noon, Quorate: true}
			read(t, &s, tt.cell)
			if tt.near != nil {
				tt.near(&s)
			}
			plan := Decide(s)
			if diff := cmp.Diff(tt.want, show(plan, true)); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
			if next := Decide(outcome(s, plan)); len(next.Steps) > 0 {
				t.Errorf("after that there is still %v", next.Steps)
			}
		})
	}
}

func TestMaintenanceKeepsWhatItLeavesAndHoldsUpNobody(t *testing.T) {
	const calm = "service other order=a holder=a\ninstance other a running"
	tests := []struct {
		name, cell, want string
	}{
		{
			"a service may come to be forbidden where it is left", "node a\nnode b\nnode c\nservice x maintenance on=c order=b,a holder=b\ninstance x b running",
			"x: b, a\n",
		},
		{
			"and by place.never", "node a\nnode b\nservice x maintenance never=b order=b,a holder=b\ninstance x b running",
			"x: b, a\n",
		},
		{
			"two on a node under maintenance may come to be apart", "node a\nnode b maintenance\nservice x apart=y order=b,a holder=b\nservice y order=b,a holder=b",
			"x: b, a\ny: b, a\n",
		},
		{
			"a node may have become too small for those it keeps", "node a capacity/cpu=1\nnode b capacity/cpu=0\nservice x maintenance together=y order=b,a holder=b\nservice y order=b,a holder=b",
			"x: b, a\ny: b, a\n",
		},
		{
			"what is together with it and runs stays where it is", "node a\nnode b\nservice x maintenance together=y order=b,a holder=b\nservice y order=a,b holder=a",
			"x: b, a\ny: a, b\n",
		},
		{
			"and what does not run is not started", "node a\nnode b\nservice aa together=zz\nservice zz maintenance order=b,a holder=b\ninstance zz b running",
			"aa: nowhere\nzz: b, a\n",
		},
		{
			"a drain changes nothing of it", "node a drain\nnode b\nservice x maintenance order=a,b holder=a\ninstance x a running",
			"x: a, b\n",
		},
		{
			"nobody takes over from a lost holder", "node a lost\nnode b\nservice x maintenance order=a,b holder=a",
			"x: a, b\n",
		},
		{
			"from a lost node under maintenance others take over", "node a lost maintenance\nnode b\nservice x order=a,b holder=a",
			"x: b  (changed)\n",
		},
		{
			"no copy is added", "node a\nnode b lost\nnode c\nservice x copies=2 maintenance at=a,b\ninstance x a running",
			"x: [a] [b]\n",
		},
		{
			"the role of a lost primary stays", "node a\nnode b lost\nservice x copies=2 primaries=1 maintenance order=b,a at=a,b\ninstance x a running role=replica",
			"x: b, a [a replica] [b primary]\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := fact.Snapshot{Now: noon, Quorate: true}
			read(t, &s, tt.cell)
			for i := range s.Services {
				s.Services[i].Spec.Needs = map[string]int{"cpu": 1}
			}
			plan := Decide(s)
			if diff := cmp.Diff(tt.want, show(plan, true)); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
			for _, p := range plan.Placements {
				if p.Held != "" || len(p.Order)+len(p.Copies) == 0 && p.Waits == "" {
					t.Errorf("%s is held for %q and waits for %q", p.Service, p.Held, p.Waits)
				}
			}
			read(t, &s, "node f drain\n"+strings.ReplaceAll(calm, "=a", "=f")+"\n")
			if plan := Decide(s); plan.Hold != "" || !slices.ContainsFunc(plan.Steps, func(st action.Step) bool { return st.Service == "other" }) {
				t.Errorf("the rest does not go on: %q, %v", plan.Hold, plan.Steps)
			}
		})
	}
}

func TestExchangesHaveAnOrder(t *testing.T) {
	tests := []struct {
		name, cell, want string
	}{
		{
			"who must be apart comes after the other has left", "node a\nnode b\nservice x priority=1 apart=y on=a\nservice y order=a,b holder=a\ninstance y a running",
			"start x a [1]\nstop y a []\nstart y b [1]\n",
		},
		{
			"and who needs its room", "node a capacity/cpu=1\nnode b capacity/cpu=1\nservice x priority=1 on=a\nservice y order=a,b holder=a\ninstance y a running",
			"start x a [1]\nstop y a []\nstart y b [1]\n",
		},
		{
			"where there is room for both nobody waits", "node a capacity/cpu=2\nnode b capacity/cpu=1\nservice x priority=1 on=a\nservice y on=b order=a,b holder=a\ninstance y a running",
			"start x a []\nstop y a []\nstart y b [1]\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := fact.Snapshot{Now: noon, Quorate: true}
			read(t, &s, tt.cell)
			for i := range s.Services {
				s.Services[i].Spec.Needs = map[string]int{"cpu": 1}
			}
			var b strings.Builder
			for _, st := range Decide(s).Steps {
				after := st.After
				if after == nil {
					after = []int{}
				}
				fmt.Fprintln(&b, st.Verb, st.Service, st.Node, after)
			}
			if diff := cmp.Diff(tt.want, b.String()); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
		})
	}
}

// TestLimitsHoldHoweverOftenItIsPlacedAgain begins after the last round: what one
// hold sets in motion is not let go.
func TestLimitsHoldHoweverOftenItIsPlacedAgain(t *testing.T) {
	s := fact.Snapshot{Now: noon, Quorate: true}
	read(t, &s, "recovery moves=1\nnode a\nnode b\nnode c\nservice x prefer=node:b:500 order=a,b holder=a\nservice y prefer=node:c:500 order=a,c holder=a\n"+
		"instance x a running\ninstance y a running")
	history := fact.History{Services: []fact.ServiceHistory{{Service: "x", Generation: 1, Moves: []fact.Move{{At: noon, From: "b"}}}}}
	r := restrain.New(s, history)
	r.Rounds = 1_000
	p := rest(s, r)
	for p.restrain() {
		p = rest(s, r)
	}
	for _, u := range p.units {
		if !u.holds("a") {
			t.Errorf("%s leaves a for %v", u.name(), u.order)
		}
	}
	if len(r.Planned) > 0 {
		t.Errorf("planned %v", r.Planned)
	}
}
