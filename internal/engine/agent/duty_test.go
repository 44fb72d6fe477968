package agent

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/keelson/keelson/internal/core/mandate"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
)

// news is a change of one record.
func news(t *testing.T, topic, key string, v any) change {
	t.Helper()
	value, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return change{topic: topic, events: []store.Event{{Entry: store.Entry{Key: key, Value: value, Revision: 3}}}}
}

// dutyView is a cell of two nodes with one placed service.
func dutyView(t *testing.T) *view {
	t.Helper()
	v := newView("a")
	for _, c := range []change{
		news(t, record.KeyCell, record.KeyCell, record.Cell{ID: "id1", LinkKeys: []record.LinkKey{{ID: 1}}}),
		news(t, record.KeyLease, record.KeyLease, record.Lease{Version: 2, Voters: 3, Prior: 1, Ceiling: 50, LongestTTL: spec.Duration(2 * time.Second)}),
		news(t, record.KeyNodes, record.KeyNodes+"a", record.Node{Slot: 4, Address: "10.0.0.1", Links: []string{"fd00::1", "10.0.0.1", ""}}),
		news(t, record.KeyNodes, record.KeyNodes+"b", record.Node{Slot: 2, Address: "b.example", Ports: record.Ports{Link: 9}}),
		news(t, record.KeyServices, record.KeyServices+"shop", *service(1, 1, 1)),
		news(t, record.KeyPlacements, record.KeyPlacements+"shop", record.Placement{Order: []spec.NodeName{"b", "gone", "a"}}),
	} {
		if errs := v.apply(c); len(errs) != 0 {
			t.Fatal(errs)
		}
	}
	return v
}

func TestDutySaysTheWholeWish(t *testing.T) {
	v := dutyView(t)
	p := plan{
		view: v, found: map[string]netip.Addr{"b.example": netip.MustParseAddr("::ffff:10.0.0.2")},
		statuses: map[instance.Name]status{"shop": {doing: mandate.Doing{Run: *v.Services["shop"], Cgroups: []string{"/cg"}}}},
		floor:    mandate.Raised{Guard: 7, Floor: 40, Ceiling: 60},
	}
	want := guardwire.Duty{
		Protocol: guardwire.Version, Cell: "id1", Node: "a", Slot: 4,
		Listen: []string{"10.0.0.1:7481", "[fd00::1]:7481"},
		Peers:  []guardwire.Peer{{Slot: 2, Name: "b", Addresses: []string{"10.0.0.2:9"}}},
		Keys:   []record.LinkKey{{ID: 1}},
		Lease:  guardwire.Lease{Version: 2, Voters: 3, Prior: 1, Floor: 40, Ceiling: 60, LongestTTL: 2 * time.Second},
		Seeks: []guardwire.Seek{{
			Service: "shop", ID: 1, TTL: spec.DefaultTTL, Exclusive: true, Order: []uint8{2, 4},
			AgentLoss: spec.DefaultAgentLoss, Cgroups: []string{"/cg"},
		}},
	}
	if diff := cmp.Diff(want, p.duty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSeek(t *testing.T) {
	listed, claims := true, []uint8{2, 4}
	tests := []struct {
		name   string
		change func(*view, *status)
		held   bool
		listed bool
		order  []uint8
	}{
		{"is listed where it may run", func(*view, *status) {}, false, listed, claims},
		{"is not listed where it may not run", func(v *view, _ *status) { v.Placements["shop"] = mandate.Placement{} }, false, false, nil},
		{"is listed without a claim while it still runs", func(v *view, s *status) { v.Placements["shop"] = mandate.Placement{}; s.doing.MayRun = true }, false, listed, nil},
		{"is listed without a claim while its lease is held", func(_ *view, s *status) { s.doing.Banned = true }, true, listed, nil},
		{"is not listed while it is banned", func(_ *view, s *status) { s.doing.Banned = true }, false, false, nil},
		{"is not listed after it was removed", func(v *view, _ *status) { delete(v.Services, "shop") }, false, false, nil},
		{"is listed without a claim while it runs after its removal", func(v *view, s *status) { delete(v.Services, "shop"); s.doing.MayRun = true }, true, listed, nil},
		{"claims nothing for the next service of that name", func(v *view, s *status) { s.doing.Run.ID = 9; s.doing.MayRun = true }, true, listed, nil},
		{"is not listed on a node that leaves", func(v *view, _ *status) { v.Wish.Leaving = true }, false, false, nil},
		{"is not listed if nothing was ever known of it", func(_ *view, s *status) { s.doing.Run = record.Service{}; s.doing.MayRun = true }, true, false, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := dutyView(t)
			s := status{doing: mandate.Doing{Run: *v.Services["shop"]}}
			tt.change(v, &s)
			got, ok := firstSeek(plan{view: v, held: map[spec.ServiceName]bool{"shop": tt.held}}, s)
			if ok != tt.listed {
				t.Fatalf("listed is %v, want %v", ok, tt.listed)
			}
			if diff := cmp.Diff(tt.order, got.Order); diff != "" {
				t.Errorf("order (-want +got):\n%s", diff)
			}
		})
	}
}

// firstSeek is what the guard is to do about the shop.
func firstSeek(p plan, s status) (guardwire.Seek, bool) {
	if all := p.seeks("shop", s); len(all) > 0 {
		return all[0], true
	}
	return guardwire.Seek{}, false
}

func TestSeekKeepsOnlyWhatIsNotExclusive(t *testing.T) {
	shared := false
	kept := spec.Service{Exclusive: &shared, Failover: spec.Failover{OnQuorumLoss: spec.QuorumLossKeep}}
	both := kept
	both.Exclusive = nil // which no spec can be
	tests := []struct {
		name         string
		runs, wanted spec.Service
		want         bool
	}{
		{"is kept where its spec says so", kept, kept, true},
		{"is not kept by default", spec.Service{Exclusive: &shared}, spec.Service{Exclusive: &shared}, false},
		{"is never kept where it is exclusive", both, both, false},
		{"is not kept once it is to be exclusive", kept, spec.Service{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := dutyView(t)
			s := status{doing: mandate.Doing{Run: *v.Services["shop"]}}
			s.doing.Run.Spec.Exclusive, s.doing.Run.Spec.Failover = tt.runs.Exclusive, tt.runs.Failover
			v.Services["shop"].Spec.Exclusive, v.Services["shop"].Spec.Failover = tt.wanted.Exclusive, tt.wanted.Failover
			got, ok := firstSeek(plan{view: v}, s)
			if !ok || got.Keep != tt.want {
				t.Errorf("keep is %v, listed %v", got.Keep, ok)
			}
		})
	}
}

func TestNoLeaseIsLongerThanVotersStaySilent(t *testing.T) {
	v := dutyView(t)
	s := status{doing: mandate.Doing{Run: *v.Services["shop"]}}
	s.doing.Run.Spec.Failover.TTL = spec.TTL(time.Minute)
	got, _ := firstSeek(plan{view: v}, s)
	if got.TTL != 2*time.Second {
		t.Errorf("got %v, want the longest TTL of the configuration, 2 s", got.TTL)
	}
}

func TestViewTakesOnlyWhatIsOfTheTopic(t *testing.T) {
	v := newView("a")
	wish := news(t, record.KeyWishes+"a", record.KeyWishes+"ab", record.NodeWish{Leaving: true})
	cell := news(t, record.KeyCell, record.KeyCell+"ar", record.Cell{ID: "other"})
	if errs := append(v.apply(wish), v.apply(cell)...); len(errs) != 0 {
		t.Fatal(errs)
	}
	if v.Wish.Leaving || v.Cell.ID != "" {
		t.Errorf("took records of other keys: %+v", v)
	}
}

func TestViewForgetsWhatAWholeListLacks(t *testing.T) {
	v := dutyView(t)
	if w := v.wish("shop", 0); w.Gone {
		t.Error("gone although it is there")
	}
	if w := v.wish("till", 0); w.Gone {
		t.Error("gone although the store was not asked yet")
	}
	for _, topic := range topics("a") {
		if errs := v.apply(change{topic: topic, whole: true}); len(errs) != 0 {
			t.Fatal(errs)
		}
	}
	if w := v.wish("shop", 0); !w.Gone {
		t.Error("not gone although the store has no services")
	}
	if len(v.Nodes)+len(v.Placements) != 0 || v.Cell.ID == "" || v.Lease.Version == 0 {
		t.Errorf("want no nodes and no placements, and the last cell and lease: %+v", v)
	}
}

func TestHostNamesAreLookedUpAndKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		addrs := func(list ...string) (out []netip.Addr) {
			for _, a := range list {
				out = append(out, netip.MustParseAddr(a))
			}
			return out
		}
		script := [][]netip.Addr{nil, addrs("10.0.0.9", "10.0.0.2"), nil, addrs("10.0.0.1", "10.0.0.2"), addrs("10.0.0.3")}
		calls := 0
		o := &Options{Clock: bubble{}, Log: discard(), Resolve: func(context.Context, string) ([]netip.Addr, error) {
			answer := script[min(calls, len(script)-1)]
			calls++
			if answer == nil {
				return nil, errors.New("no such host")
			}
			return answer, nil
		}}
		answers := make(chan map[string]netip.Addr)
		r := &resolver{options: o, names: newMailbox[[]string](), answers: answers}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go r.run(ctx)
		r.names.put([]string{"b.example"})
		for _, want := range addrs("10.0.0.2", "10.0.0.3") {
			if got := (<-answers)["b.example"]; got != want {
				t.Errorf("got %v, want %v", got, want)
			}
		}
		if calls != len(script) {
			t.Errorf("%d calls, want %d: an address that is still an answer is kept", calls, len(script))
		}
	})
}

func TestNodeWithoutAnAddressIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.put(record.KeyNodes+"a", record.Node{Name: "a", Address: "a.example"})
		w.up()
		w.pass(time.Second)
		if r, _ := w.report(); len(r.Warnings) != 1 {
			t.Errorf("warnings %q, want one", r.Warnings)
		}
		if _, guard := w.guard.last(); guard != 0 {
			t.Error("the guard got a duty without an address")
		}
	})
}

func TestPartsHaveFoldersOfTheirOwn(t *testing.T) {
	r := &runner{options: &Options{Node: "a", PartsDir: "/run/k/parts", LogsDir: "/var/k/logs"}, name: "shop", cell: "c"}
	s := *service(1, 3, 2)
	run := r.runOf(s, s.Spec.Parts[1])
	if run.RunDir != filepath.Join("/run/k/parts", "shop", "p1") || run.LogDir != filepath.Join("/var/k/logs", "shop", "p1") {
		t.Errorf("folders %q and %q", run.RunDir, run.LogDir)
	}
	if grace := withoutGrace(run).Part.Exec.Grace; grace == nil || *grace != 0 || run.Part.Exec.Grace != nil {
		t.Errorf("grace %v; the run itself has %v", grace, run.Part.Exec.Grace)
	}
}

func TestDutyHasTheHigherFloor(t *testing.T) {
	v := dutyView(t)
	v.Lease.Floor = 45 // of a change of voters after this guard began
	if got := (plan{view: v, floor: mandate.Raised{Floor: 40, Ceiling: 60}}).duty().Lease.Floor; got != 45 {
		t.Errorf("floor %d, want that of the configuration", got)
	}
	// What was read with the guard's own floor is newer than the view.
	newer := record.Lease{Version: 3, Voters: 7, Prior: 3, Floor: 70, Ceiling: 1070}
	got := (plan{view: v, floor: mandate.Raised{Floor: 50, Ceiling: 1070, Lease: newer}}).duty().Lease
	if got.Version != 3 || got.Floor != 70 || got.Ceiling != 1070 {
		t.Errorf("lease %+v, want the newer one", got)
	}
}
