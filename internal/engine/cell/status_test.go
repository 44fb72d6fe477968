package cell_test

import (
	"slices"
	"testing"
	"time"

	"github.com/keelson/keelson/internal/core/bound"
	"github.com/keelson/keelson/internal/engine/cell"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/status"
)

func noon() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

// healthy is a cell of a, b and c with service shop running on a.
func healthy() cell.View {
	v := cell.View{
		Now: noon(),
		Live: cell.Live{Node: "a", Guard: &guardwire.State{
			Quorate: true, Alive: 0b111, Holds: []guardwire.Hold{{Service: "shop", Epoch: 7}},
		}},
		Records: cell.Records{
			Cell: record.Cell{Name: "prod", ID: "c1"}, Lease: record.Lease{Voters: 0b111}, Controller: "a",
			Nodes: map[spec.NodeName]record.Node{}, Wishes: map[spec.NodeName]record.NodeWish{}, Reports: map[spec.NodeName]record.Report{},
			Services: map[spec.ServiceName]record.Service{
				"shop": {ID: 1, Generation: 1, Spec: spec.Service{Name: "shop"}},
			},
			Placements: map[spec.ServiceName]record.Placement{
				"shop": {Service: "shop", Generation: 1, Order: []spec.NodeName{"a", "b", "c"}, Reasons: []string{"a has the fewest instances"}},
			},
		},
	}
	for slot, name := range []spec.NodeName{"a", "b", "c"} {
		v.Records.Nodes[name] = record.Node{Name: name, Slot: uint8(slot)}
		v.Records.Reports[name] = record.Report{Node: name, At: noon(), GuardUp: true, Measured: spec.Duration(bound.Enough)}
	}
	setInstance(&v, "a", fact.Instance{Service: "shop", Generation: 1, Phase: fact.Running, Ready: true, Epoch: 7, Since: noon().Add(-time.Hour)})
	return v
}

func setInstance(v *cell.View, node spec.NodeName, i fact.Instance) {
	r := v.Records.Reports[node]
	r.Instances = []fact.Instance{i}
	v.Records.Reports[node] = r
}

// loses makes the cell hold node for lost.
func loses(v *cell.View, slots uint32) {
	v.Live.Guard.Alive &^= slots
	v.Live.Guard.Lost |= slots
}

func TestAHealthyCellHasNoProblems(t *testing.T) {
	got := cell.Assemble(healthy())
	want := status.Service{
		Name: "shop", State: status.Running, Ready: true, Node: "a", Since: noon().Add(-time.Hour), Epoch: 7,
		Exclusive: true, Generation: 1, Successors: []spec.NodeName{"b", "c"},
		Reasons: []string{"a has the fewest instances"}, TTL: time.Second,
		Bound: status.Bound{
			Total: 1110 * time.Millisecond, Lease: 1060 * time.Millisecond, Claim: 50 * time.Millisecond,
			Why: "1.06s until the lease ends, 50ms to claim it; how long the start takes was not seen yet",
		},
	}
	equal(t, "service", got.Services, []status.Service{want})
	equal(t, "problems", got.Problems, nil)
	equal(t, "a runs shop", got.Nodes[0].Services, []spec.ServiceName{"shop"})
	equal(t, "cell", []any{got.Name, got.Quorate, string(got.Controller), got.At}, []any{"prod", true, "a", noon()})
}

// two takes node c out of the cell.
func two(v *cell.View) {
	delete(v.Records.Nodes, "c")
	p := v.Records.Placements["shop"]
	p.Order = []spec.NodeName{"a", "b"}
	v.Records.Placements["shop"] = p
	v.Live.Guard.Alive = 0b011
}

func TestFailoverBoundNamesTheHostThatSetsIt(t *testing.T) {
	late := func(v *cell.View, node spec.NodeName, by time.Duration) {
		r := v.Records.Reports[node]
		r.Late = spec.Duration(by)
		v.Records.Reports[node] = r
	}
	tests := []struct {
		name   string
		change func(*cell.View)
		want   status.Bound
	}{
		{
			name: "a voter that runs no services, and is needed",
			change: func(v *cell.View) {
				p := v.Records.Placements["shop"]
				p.Order = []spec.NodeName{"a", "b"}
				v.Records.Placements["shop"] = p
				late(v, "c", 300*time.Millisecond)
			},
			want: status.Bound{
				Total: 1410 * time.Millisecond, Lease: 1060 * time.Millisecond, Claim: 350 * time.Millisecond, By: "c",
				Why: "1.06s until the lease ends, 350ms to claim it; how long the start takes was not seen yet; c may stall for 300ms meanwhile",
			},
		},
		{
			name: "a node that was not measured",
			change: func(v *cell.View) {
				r := v.Records.Reports["b"]
				r.Measured = 0
				v.Records.Reports["b"] = r
			},
			want: status.Bound{
				Total: 1210 * time.Millisecond, Lease: 1060 * time.Millisecond, Claim: 150 * time.Millisecond, By: "b",
				Why: "1.06s until the lease ends, 150ms to claim it; how long the start takes was not seen yet; the stalls of b are not known yet and are taken for 100ms",
			},
		},
		{
			name: "not exclusive, and a guard has learned to wait for longer than anybody stalls",
			change: func(v *cell.View) {
				shop := v.Records.Services["shop"]
				shop.Spec.Exclusive = new(bool)
				v.Records.Services["shop"] = shop
				r := v.Records.Reports["b"]
				r.Waits = spec.Duration(400 * time.Millisecond)
				v.Records.Reports["b"] = r
			},
			want: status.Bound{
				Total: 530 * time.Millisecond, Lease: 480 * time.Millisecond, Claim: 50 * time.Millisecond,
				Why: "480ms until its node counts as lost, 50ms to claim it; how long the start takes was not seen yet",
			},
		},
		{
			name:   "too few voters",
			change: func(v *cell.View) { v.Records.Lease.Voters = 0b011 },
			want:   status.Bound{Why: "if a is lost, 1 of 2 voters would be left in touch, and that is no majority: nothing takes over until it is back"},
		},
		{
			name:   "two nodes, and the holder is the one that votes",
			change: func(v *cell.View) { two(v); v.Records.Lease.Voters = 0b001 },
			want:   status.Bound{Why: "if a is lost, 0 of 1 voter would be left in touch, and that is no majority: nothing takes over until it is back"},
		},
		{
			name:   "two nodes, and the other one votes",
			change: func(v *cell.View) { two(v); v.Records.Lease.Voters = 0b010 },
			want:   status.Bound{Why: "it would move away from a, but if b is lost, 0 of 1 voter would be left in touch, and that is no majority: nothing takes over then until it is back"},
		},
		{
			name:   "two nodes whose second vote is being given",
			change: func(v *cell.View) { two(v); v.Records.Lease.Voters, v.Records.Lease.Prior = 0b011, 0b001 },
			want:   status.Bound{Why: "if a is lost, 0 of 1 voter would be left in touch, and that is no majority: nothing takes over until it is back"},
		},
		{
			name:   "a bare majority is in touch, and the holder is one of it",
			change: func(v *cell.View) { loses(v, 0b100) },
			want:   status.Bound{Why: "if a is lost, 1 of 3 voters would be left in touch, and that is no majority: nothing takes over until it is back"},
		},
		{
			name:   "a bare majority is in touch, as the third was not heard yet",
			change: func(v *cell.View) { v.Live.Guard.Alive = 0b011 },
			want:   status.Bound{Why: "if a is lost, 1 of 3 voters would be left in touch, and that is no majority: nothing takes over until it is back"},
		},
		{
			name:   "the clock of a voter cannot be relied on",
			change: func(v *cell.View) { v.Live.Guard.Skewed = 0b100 },
			want:   status.Bound{Why: "if a is lost, 1 of 3 voters would be left in touch, and that is no majority: nothing takes over until it is back"},
		},
		{
			name:   "no majority is in touch",
			change: func(v *cell.View) { loses(v, 0b110) },
			want:   status.Bound{Why: "the voters in touch, 1 of 3, are no majority: nothing takes over until one more is back"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := healthy()
			tt.change(&v)
			equal(t, "bound", cell.Assemble(v).Services[0].Bound, tt.want)
		})
	}
}

// unstored takes the store away from a, whose agent goes on.
func unstored(v *cell.View) {
	own := v.Records.Reports["a"]
	v.Stale, v.Live.Own = true, &own
}

// stopped is the wish that shop runs nowhere.
func stopped(v *cell.View) {
	r := v.Records.Services["shop"]
	r.Spec.Stopped = true
	v.Records.Services["shop"] = r
}

func TestWithoutTheStoreANodeTellsWhatItKnowsByItself(t *testing.T) {
	none := status.Bound{Why: "how long a failover takes is not known while the store does not answer"}
	tests := []struct {
		name   string
		change func(*cell.View)
		want   status.Service // State, Ready, Node, Epoch, Since, Bound, Problem and Doubt of it
	}{
		{
			name: "what runs here runs, for as long as its agent says",
			change: func(v *cell.View) {
				v.Live.Guard.Holds[0].Epoch = 8
				v.Live.Own.Instances = []fact.Instance{{Service: "shop", Generation: 1, Phase: fact.Running, Ready: true, Epoch: 8, Since: noon().Add(-time.Second)}}
			},
			want: status.Service{
				State: status.Running, Ready: true, Node: "a", Epoch: 8, Since: noon().Add(-time.Second), Notes: status.Notes{Doubt: status.Doubt{Stale: true}},
				Bound: status.Bound{
					Total: 1110 * time.Millisecond, Lease: 1060 * time.Millisecond, Claim: 50 * time.Millisecond,
					Why: "1.06s until the lease ends, 50ms to claim it; how long the start takes was not seen yet",
				},
			},
		},
		{
			name: "what was stopped here is not said to run, though the last report says so",
			change: func(v *cell.View) {
				loses(v, 0b110)
				v.Live.Guard.Quorate, v.Live.Guard.Holds, v.Live.Own.Instances = false, nil, nil
			},
			want: status.Service{
				State: status.Unknown, Bound: none, Notes: status.Notes{Doubt: status.Doubt{Stale: true, LastKnown: "stopped on a"}},
				Problem: "it was stopped on a, and while the store does not answer, it is not known whether it runs elsewhere",
			},
		},
		{
			name: "what ran on a node that is not heard is unknown",
			change: func(v *cell.View) {
				v.Live = cell.Live{Node: "b", Guard: &guardwire.State{Alive: 0b010, Lost: 0b101, Holders: map[uint32]uint8{1: 0}}, Own: &record.Report{Node: "b", GuardUp: true}}
			},
			want: status.Service{
				State: status.Unknown, Bound: none, Notes: status.Notes{Doubt: status.Doubt{Stale: true, LastKnown: "running on a"}},
				Problem: "while the store does not answer, it is not known how it is; it was last known running on a",
			},
		},
		{
			name: "the lease of a node that is heard is known, and no more",
			change: func(v *cell.View) {
				v.Live = cell.Live{Node: "b", Guard: &guardwire.State{Quorate: true, Alive: 0b111, Holders: map[uint32]uint8{1: 2}}, Own: &record.Report{Node: "b", GuardUp: true}}
			},
			want: status.Service{
				State: status.Unknown, Node: "c", Bound: none, Notes: status.Notes{Doubt: status.Doubt{Stale: true, LastKnown: "running on a"}},
				Problem: "while the store does not answer, it is not known how it is; it was last known running on a; c holds its lease",
			},
		},
		{
			name:   "an agent that has not found out what runs here says nothing of it",
			change: func(v *cell.View) { v.Live.Own, v.Live.Guard.Holds = nil, nil },
			want: status.Service{
				State: status.Unknown, Bound: none, Notes: status.Notes{Doubt: status.Doubt{Stale: true, LastKnown: "running on a"}},
				Problem: "while the store does not answer, it is not known how it is; it was last known running on a",
			},
		},
		{
			name: "where nothing was heard of since the agent started, nothing is last known",
			change: func(v *cell.View) {
				v.Records.Reports = nil
				v.Live = cell.Live{Node: "b", Guard: &guardwire.State{Alive: 0b010, Lost: 0b101}, Own: &record.Report{Node: "b", GuardUp: true}}
			},
			want: status.Service{
				State: status.Unknown, Bound: none, Notes: status.Notes{Doubt: status.Doubt{Stale: true}},
				Problem: "while the store does not answer, it is not known how it is",
			},
		},
		{
			name: "what is stopped by its file, and ran nowhere, is stopped",
			change: func(v *cell.View) {
				stopped(v)
				v.Records.Reports = map[spec.NodeName]record.Report{}
				v.Live = cell.Live{Node: "b", Guard: &guardwire.State{Quorate: true, Alive: 0b111}, Own: &record.Report{Node: "b", GuardUp: true}}
			},
			want: status.Service{
				State: status.Stopped, Notes: status.Notes{Doubt: status.Doubt{Stale: true}},
			},
		},
		{
			name: "what was to be stopped, and ran last, is unknown",
			change: func(v *cell.View) {
				stopped(v)
				v.Live = cell.Live{Node: "b", Guard: &guardwire.State{Alive: 0b010, Lost: 0b101}, Own: &record.Report{Node: "b", GuardUp: true}}
			},
			want: status.Service{
				State: status.Unknown, Notes: status.Notes{Doubt: status.Doubt{Stale: true, LastKnown: "running on a"}},
				Problem: "it is to be stopped, as its file says; while the store does not answer, it is not known how it is; it was last known running on a",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := healthy()
			unstored(&v)
			tt.change(&v)
			c := cell.Assemble(v)
			s := c.Services[0]
			equal(t, "service", status.Service{
				State: s.State, Ready: s.Ready, Node: s.Node, Epoch: s.Epoch, Since: s.Since, Bound: s.Bound, Problem: s.Problem, Notes: status.Notes{Doubt: s.Doubt},
			}, tt.want)
			equal(t, "a problem line", slices.Contains(c.Problems, "service shop: "+s.Problem), s.Problem != "")
			equal(t, "the node is marked", c.Nodes[0].Stale, true)
		})
	}
}

func TestCopiesWithoutTheStoreAreKnownHereOnly(t *testing.T) {
	v := healthy()
	shop := v.Records.Services["shop"]
	shop.Spec.Copies, shop.Spec.Exclusive = &spec.Copies{Count: 2}, new(bool)
	v.Records.Services["shop"] = shop
	v.Records.Placements["shop"] = record.Placement{Service: "shop", Generation: 1, Copies: []record.Copy{{Node: "a"}, {Node: "b"}}}
	v.Live.Guard.Holds = nil
	setInstance(&v, "b", fact.Instance{Service: "shop", Generation: 1, Phase: fact.Running, Ready: true})
	unstored(&v)
	s := cell.Assemble(v).Services[0]
	equal(t, "copies", []string{s.Copies[0].State, s.Copies[1].State}, []string{"running", ""})
	equal(t, "state", []string{string(s.State), s.LastKnown, s.Problem}, []string{
		"unknown", "running on a, b", "while the store does not answer, only what runs on a is known of its copies; it was last known running on a, b",
	})
}

func TestANewEpochIsNotAsOldAsTheOneBefore(t *testing.T) {
	v := healthy()
	v.Live.Guard.Holds[0].Epoch = 8
	s := cell.Assemble(v).Services[0]
	equal(t, "epoch and since", []any{s.Epoch, s.Since}, []any{uint64(8), time.Time{}})
	own := v.Records.Reports["a"]
	own.Instances = []fact.Instance{{Service: "shop", Generation: 1, Phase: fact.Running, Ready: true, Epoch: 8, Since: noon()}}
	v.Live.Own = &own // newer than what the store has
	s = cell.Assemble(v).Services[0]
	equal(t, "epoch and since by its own word", []any{s.Epoch, s.Since}, []any{uint64(8), noon()})
}

func TestServiceStates(t *testing.T) {
	tests := []struct {
		name    string
		change  func(*cell.View)
		state   status.State
		node    spec.NodeName
		problem string
	}{
		{
			name:   "its holder is lost: the next takes over",
			change: func(v *cell.View) { v.Live.Node = "b"; v.Live.Guard.Holds = nil; loses(v, 1) },
			state:  status.Recovering, problem: "a is lost; b takes over",
		},
		{
			name: "its lease is not yet free after its holder is lost",
			change: func(v *cell.View) {
				v.Live.Node = "b"
				v.Live.Guard.Holds, v.Live.Guard.Holders = nil, map[uint32]uint8{1: 0}
				loses(v, 1)
			},
			state: status.Recovering, node: "a", problem: "a is lost; b takes over",
		},
		{
			name:   "all who might run it are lost",
			change: func(v *cell.View) { v.Live.Node = "d"; v.Live.Guard.Holds = nil; loses(v, 0b111) },
			state:  status.Recovering, problem: "a is lost, and nobody is left to take over",
		},
		{
			name: "a program failed and is being restarted",
			change: func(v *cell.View) {
				setInstance(v, "a", fact.Instance{
					Service: "shop", Generation: 1, Phase: fact.Backoff,
					Failures: []fact.Failure{{At: noon(), Part: "exec", Why: "it ended with exit status 1"}},
				})
			},
			state: status.Recovering, node: "a", problem: "it is being restarted on a: exec: it ended with exit status 1",
		},
		{
			name: "it failed on a and moves to b",
			change: func(v *cell.View) {
				v.Live.Guard.Holds = nil
				setInstance(v, "a", fact.Instance{Service: "shop", Generation: 1, Phase: fact.Failed})
				v.Records.Placements["shop"] = record.Placement{Service: "shop", Generation: 1, Order: []spec.NodeName{"b", "c"}}
			},
			state: status.Recovering, problem: "it failed on a and moves to b",
		},
		{
			name: "it failed and nobody else is to try",
			change: func(v *cell.View) {
				v.Live.Guard.Holds = nil
				setInstance(v, "a", fact.Instance{Service: "shop", Generation: 1, Phase: fact.Failed})
			},
			state: status.Failed, problem: "it failed on a",
		},
		{
			name: "a part does not stop",
			change: func(v *cell.View) {
				setInstance(v, "a", fact.Instance{
					Service: "shop", Generation: 1, Phase: fact.Stuck,
					Parts: []fact.Part{{Name: "exec", Kind: "exec", State: "failed", Detail: "pid 812 is in the kernel"}},
				})
			},
			state: status.Failed, node: "a",
			problem: "a part of it does not stop on a, even by force: exec: pid 812 is in the kernel",
		},
		{
			name: "a part does not stop, and it is to be deleted",
			change: func(v *cell.View) {
				r := v.Records.Services["shop"]
				r.Deleting = true
				v.Records.Services["shop"] = r
				setInstance(v, "a", fact.Instance{Service: "shop", Generation: 1, Phase: fact.Stuck})
			},
			state: status.Failed, node: "a", problem: "a part of it does not stop on a, even by force",
		},
		{
			name: "a part does not stop, and it is to be stopped",
			change: func(v *cell.View) {
				stopped(v)
				setInstance(v, "a", fact.Instance{Service: "shop", Generation: 1, Phase: fact.Stuck})
			},
			state: status.Failed, node: "a", problem: "a part of it does not stop on a, even by force",
		},
		{
			name: "a part does not stop, and the guard cuts it off",
			change: func(v *cell.View) {
				stopped(v)
				r := v.Records.Services["shop"]
				r.Spec.Failover.StopFailure = spec.StopFence
				v.Records.Services["shop"] = r
				setInstance(v, "a", fact.Instance{Service: "shop", Generation: 1, Phase: fact.Stuck})
			},
			state: status.Stopping, node: "a",
		},
		{
			name: "a copy does not stop, and all of it is to be deleted",
			change: func(v *cell.View) {
				r := v.Records.Services["shop"]
				r.Deleting, r.Spec.Copies, r.Spec.Exclusive = true, &spec.Copies{Count: 2}, new(bool)
				v.Records.Services["shop"] = r
				v.Live.Guard.Holds = nil
				setInstance(v, "a", fact.Instance{Service: "shop", Generation: 1, Phase: fact.Stuck})
			},
			state: status.Failed, problem: "a part of it does not stop on a, even by force",
		},
		{
			name: "it runs and has not been checked yet",
			change: func(v *cell.View) {
				setInstance(v, "a", fact.Instance{Service: "shop", Generation: 1, Phase: fact.Running, Parts: []fact.Part{
					{Name: "exec", Kind: "exec", State: "running", Detail: "pid 32303"},
				}})
			},
			state: status.Running, node: "a",
		},
		{
			name: "it runs but is of no use",
			change: func(v *cell.View) {
				setInstance(v, "a", fact.Instance{Service: "shop", Generation: 1, Phase: fact.Running, Parts: []fact.Part{
					{Name: "address", Kind: "address", State: "running", Detail: "192.0.2.1 on eth0"},
					{Name: "exec", Kind: "exec", State: "running", Detail: "pid 32303", Unready: "http://127.0.0.1/ answers 503"},
				}})
			},
			state: status.Running, node: "a", problem: "it runs, but its readiness check fails: exec: http://127.0.0.1/ answers 503",
		},
		{
			name: "it ends at each start",
			change: func(v *cell.View) {
				setInstance(v, "a", fact.Instance{
					Service: "shop", Generation: 1, Phase: fact.Running,
					Parts:    []fact.Part{{Name: "exec", Kind: "exec", State: "running", Detail: "pid 26349"}},
					Failures: []fact.Failure{{At: noon(), Part: "exec", Why: "exited with status 1"}},
				})
			},
			state: status.Running, node: "a", problem: "it was started again and is not ready yet; it failed before: exec: exited with status 1",
		},
		{
			name: "it goes on without quorum",
			change: func(v *cell.View) {
				v.Live.Guard.Quorate = false
				v.Live.Guard.Holds[0].Kept = true
				loses(v, 0b110)
			},
			state: status.Running, node: "a",
			problem: "a keeps it running without quorum, as its on_quorum_loss says; another node may run it too",
		},
		{
			name: "an older spec still runs",
			change: func(v *cell.View) {
				r := v.Records.Services["shop"]
				r.Generation = 2
				v.Records.Services["shop"] = r
			},
			state: status.Starting, node: "a",
		},
		{
			name: "no node may run it",
			change: func(v *cell.View) {
				v.Live.Guard.Holds = nil
				setInstance(v, "a", fact.Instance{Service: "shop", Phase: fact.Idle})
				v.Records.Placements["shop"] = record.Placement{Service: "shop", Generation: 1, Reasons: []string{"every node lacks the label ssd=true"}}
			},
			state: status.Homeless, problem: "no node may run it: every node lacks the label ssd=true",
		},
		{
			name: "it was just applied and nobody plans",
			change: func(v *cell.View) {
				v.Live.Guard.Holds = nil
				v.Records.Controller = ""
				setInstance(v, "a", fact.Instance{Service: "shop", Phase: fact.Idle})
				delete(v.Records.Placements, "shop")
			},
			state: status.Starting, problem: "it waits to be placed, and no controller is elected",
		},
		{
			name: "it is stopped by its spec and still on its way down",
			change: func(v *cell.View) {
				r := v.Records.Services["shop"]
				r.Spec.Stopped = true
				v.Records.Services["shop"] = r
			},
			state: status.Stopping, node: "a",
		},
		{
			name: "it is being deleted",
			change: func(v *cell.View) {
				r := v.Records.Services["shop"]
				r.Deleting = true
				v.Records.Services["shop"] = r
			},
			state: status.Deleting, node: "a",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := healthy()
			tt.change(&v)
			got := cell.Assemble(v).Services[0]
			equal(t, "state", []string{string(got.State), string(got.Node), got.Problem}, []string{string(tt.state), string(tt.node), tt.problem})
		})
	}
}

func TestProblems(t *testing.T) {
	tests := []struct {
		name   string
		change func(*cell.View)
		want   []string
	}{
		{
			name:   "a lost voter comes before what follows from it",
			change: func(v *cell.View) { loses(v, 0b100) },
			want: []string{
				"node c is lost: bring it back, or take it out with `keelson node remove c --force`",
				"2 of 3 voters are in touch: one more loss stops the cell's services",
			},
		},
		{
			name:   "a minority side says so first",
			change: func(v *cell.View) { v.Live.Guard.Quorate = false; loses(v, 0b110) },
			want: []string{
				"a is in touch with less than half of the voters: services stop on this side, but for what is to be kept",
				"node b is lost: bring it back, or take it out with `keelson node remove b --force`",
				"node c is lost: bring it back, or take it out with `keelson node remove c --force`",
			},
		},
		{
			name:   "a store that is away makes all of it old",
			change: func(v *cell.View) { unstored(v); v.Records.Controller = "" },
			want:   []string{"the store does not answer: this is the last known state, and nothing can be changed"},
		},
		{
			name: "a node says why its store is away, though it cannot report it",
			change: func(v *cell.View) {
				v.Stale, v.Records.Controller = true, ""
				delete(v.Records.Services, "shop")
				v.Records.Reports["a"] = record.Report{Node: "a", At: noon(), GuardUp: true, Warnings: []string{"no cgroup v2 here."}}
				v.Records.Reports["b"] = record.Report{Node: "b", At: noon(), GuardUp: true, Warnings: []string{"no cgroup v2 here."}}
				v.Live.Warnings = []string{"no cgroup v2 here.", "the disk is full."}
			},
			want: []string{
				"the store does not answer: this is the last known state, and nothing can be changed",
				"node a: no cgroup v2 here", "node a: the disk is full",
				"node b: no cgroup v2 here",
			},
		},
		{
			name: "a node that knows of no cell yet says why its store is away",
			change: func(v *cell.View) {
				v.Stale, v.Records = true, cell.Records{}
				v.Live.Warnings = []string{"the disk is full."}
			},
			want: []string{
				"the store does not answer: this is the last known state, and nothing can be changed",
				"node a: the disk is full",
			},
		},
		{
			name:   "what is live adds nothing to reports that arrive",
			change: func(v *cell.View) { v.Live.Warnings = []string{"the disk is full."} },
		},
		{
			name:   "a clock of another rate is named, and what comes of it",
			change: func(v *cell.View) { v.Live.Guard.Skewed = 0b010 },
			want: []string{
				"the clock of b runs at another rate than the others': its vote does not count and it holds nothing. " +
					"Compare its clock source (/sys/devices/system/clocksource/clocksource0/current_clocksource) with the others', or replace the board",
				"the votes of 2 of 3 voters count: one more loss stops the cell's services",
			},
		},
		{
			name: "a service was made exclusive, and one node has not heard",
			change: func(v *cell.View) {
				r := v.Records.Reports["b"]
				r.Shares = []spec.ServiceName{"shop"}
				v.Records.Reports["b"] = r
			},
			want: []string{"shop is not exclusive yet: b has not heard that it is to be, and until one lease after that two nodes may run it at once"},
		},
		{
			name:   "nobody plans",
			change: func(v *cell.View) { v.Records.Controller = "" },
			want:   []string{"no controller is elected: nothing is planned until one is"},
		},
		{
			name: "two nodes have no witness",
			change: func(v *cell.View) {
				delete(v.Records.Nodes, "c")
				v.Records.Lease.Voters = 1
			},
			want: []string{"two nodes cannot outvote each other and only a votes: it takes over from b, but nothing takes over from a: add a third, or a witness with `keelson join --witness`"},
		},
		{
			name:   "three nodes and one vote",
			change: func(v *cell.View) { v.Records.Lease.Voters = 1 },
			want:   []string{"only 1 node votes: the loss of one can stop the cell's services until there are 3"},
		},
		{
			name:   "four votes",
			change: func(v *cell.View) { v.Records.Lease.Voters = 0b1111 },
			want:   []string{"4 nodes vote: an even number survives no more losses than one less"},
		},
		{
			name: "an agent is silent",
			change: func(v *cell.View) {
				v.Records.Reports["b"] = record.Report{Node: "b", At: noon().Add(-time.Minute), GuardUp: true}
			},
			want: []string{"the agent on b has said nothing for 1m0s: what runs there goes on, but nothing starts, moves or is checked"},
		},
		{
			name: "this node's own guard is missing",
			change: func(v *cell.View) {
				v.Live.Guard = nil
				v.Records.Reports["a"] = record.Report{Node: "a", At: noon()}
				v.Records.Services = nil
			},
			want: []string{
				"the guard on a does not answer: who is alive is not known for certain",
				"the guard on a does not answer: it can hold no lease",
			},
		},
		{
			name: "small things come last",
			change: func(v *cell.View) {
				v.Records.Reports["b"] = record.Report{
					Node: "b", At: noon(), GuardUp: true, Stall: spec.Duration(400 * time.Millisecond), Warnings: []string{"no cgroup v2 here."},
				}
				v.Records.Wishes["c"] = record.NodeWish{Drain: true}
				v.Records.Wishes["b"] = record.NodeWish{Leaving: true}
			},
			want: []string{
				"the guard on b paused for 400ms in the last 10 min: failovers that need it take that much longer",
				"node b: no cgroup v2 here",
				"node b is leaving the cell",
				"node c is drained: `keelson undrain c` lets services back",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := healthy()
			tt.change(&v)
			equal(t, "problems", cell.Assemble(v).Problems, tt.want)
		})
	}
}

func TestServicesThatRunNowhereAreNamedFirst(t *testing.T) {
	v := healthy()
	setInstance(&v, "a", fact.Instance{Service: "shop", Generation: 1, Phase: fact.Running, Parts: []fact.Part{{Name: "exec", Unready: "no"}}})
	v.Records.Services["zoo"] = record.Service{ID: 2, Generation: 1, Spec: spec.Service{Name: "zoo"}}
	v.Records.Placements["zoo"] = record.Placement{Service: "zoo", Generation: 1}
	equal(t, "problems", cell.Assemble(v).Problems, []string{
		"service zoo: no node may run it",
		"service shop: it runs, but its readiness check fails: exec: no",
	})
}

func TestAssembleOfNothingIsEmpty(t *testing.T) {
	got := cell.Assemble(cell.View{Live: cell.Live{Node: "a"}, Now: noon()})
	equal(t, "nodes and services", len(got.Nodes)+len(got.Services), 0)
	equal(t, "quorate", got.Quorate, false)
}
