package contradict

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

func copies(name spec.ServiceName, count int, p spec.Place) spec.Service {
	return spec.Service{Name: name, Copies: &spec.Copies{Count: count}, Place: p}
}

// mutual are five services, the first few of which are apart from each other.
func mutual(few int) []spec.Service {
	var out []spec.Service
	for i := range 5 {
		s := service(numbered(i), spec.Place{})
		for j := range few {
			if i < few && j != i {
				s.Place.Apart = append(s.Place.Apart, numbered(j))
			}
		}
		out = append(out, s)
	}
	return out
}

func numbered(i int) spec.ServiceName { return spec.ServiceName(fmt.Sprintf("s%04d", i)) }

func texts(before, after []spec.Service, nodes []fact.Node) []string {
	var out []string
	for _, c := range New(before, after, nodes) {
		out = append(out, c.Text)
	}
	return out
}

func TestOnlyWhatIsNewCountsAgainstAChange(t *testing.T) {
	abc := func(link ...spec.ServiceName) []spec.Service {
		return []spec.Service{
			needs(service("a", together(link...)), 4), needs(service("b", spec.Place{}), 4), needs(service("c", spec.Place{}), 4),
		}
	}
	homeless := func(link ...spec.ServiceName) []spec.Service {
		return []spec.Service{
			service("a", spec.Place{On: []spec.NodeName{"a"}, Together: link}), service("b", on("b")), service("c", on("c")),
		}
	}
	all := func(of ...[]spec.Service) (out []spec.Service) {
		for _, s := range of {
			out = append(out, s...)
		}
		return out
	}
	db := spec.Service{Name: "db", Copies: &spec.Copies{Primaries: 1}}
	web := spec.Service{Name: "web", After: []spec.After{{Service: "db", Role: spec.RolePrimary}}}
	quarrel := []spec.Service{service("x", together("y")), service("y", apart("x"))}
	tests := []struct {
		name          string
		before, after []spec.Service
		want          []string
	}{
		{"five apart become four, on three nodes", mutual(5), mutual(4), nil},
		{"four apart become five", mutual(4), mutual(5), []string{
			"s0000, s0001, s0002, s0003, s0004 are all apart from each other (place.apart), and only 3 nodes may run them: a, b, c",
		}},
		{"one of three too large together goes", abc("b", "c"), abc("b"), nil},
		{"a third joins two that are too large", all(abc("b")[:2], abc()[2:]), all(abc("b", "c")), []string{
			"a is together with b (place.together), a is together with c (place.together): a, b, c need 12 of cpu, and no node that may run it has more than 8: 4 missing",
		}},
		{"one of three without a common node goes", homeless("b", "c"), homeless("b"), nil},
		{"a third joins two without a common node", homeless("b"), homeless("b", "c"), []string{
			"a is together with b (place.together), and a may run only on a (place.on), and b may run only on b (place.on): no node is left",
		}},
		{"another service changes beside a quarrel", quarrel, append(quarrel, service("z", spec.Place{})), nil},
		{"a third joins two that are together and apart", append(quarrel[:2:2], service("z", spec.Place{})), append(quarrel[:2:2], service("z", together("x"))), []string{
			"x is together with y (place.together), and y is apart from x (place.apart)",
		}},
		{"what was stopped before is new when it starts", []spec.Service{{Name: "db", Stopped: true, Needs: map[string]int{"cpu": 9}}}, []spec.Service{needs(service("db", spec.Place{}), 9)}, []string{
			"db needs 9 of cpu, and no node that may run it has more than 8: 1 missing",
		}},
		{"more copies than nodes become fewer", []spec.Service{copies("a", 9, spec.Place{})}, []spec.Service{copies("a", 8, spec.Place{})}, nil},
		{"roles are taken from a service that another waits for", []spec.Service{db, web}, []spec.Service{{Name: "db"}, web}, []string{
			"web is after the primary of db (after), and db has no roles (copies.primaries)",
		}},
		{"it waited in vain before", []spec.Service{{Name: "db"}, web}, []spec.Service{{Name: "db", Priority: 3}, web}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, texts(tt.before, tt.after, nodes())); diff != "" {
				t.Errorf("contradictions (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCopiesContradictToo(t *testing.T) {
	both := spec.Place{Together: []spec.ServiceName{"b"}, Apart: []spec.ServiceName{"b"}}
	web := func(role spec.Role, optional bool) spec.Service {
		return spec.Service{Name: "web", After: []spec.After{{Service: "db", Role: role, Optional: optional}}}
	}
	db := func(count, primaries int) spec.Service {
		return spec.Service{Name: "db", Copies: &spec.Copies{Count: count, Primaries: primaries}}
	}
	tests := []struct {
		name     string
		services []spec.Service
		want     []string
	}{
		{"after a role of a service without roles", []spec.Service{{Name: "db"}, web(spec.RolePrimary, false)}, []string{
			"web is after the primary of db (after), and db has no roles (copies.primaries)",
		}},
		{"after a replica where all are primaries", []spec.Service{db(2, 2), web(spec.RoleReplica, false)}, []string{
			"web is after the replica of db (after), and all 2 copies of db are primary (copies)",
		}},
		{"after a role that there is", []spec.Service{db(2, 1), web(spec.RoleReplica, false)}, nil},
		{"after a role, as a wish", []spec.Service{{Name: "db"}, web(spec.RolePrimary, true)}, nil},
		{"apart from a service with as many copies as nodes", []spec.Service{copies("a", 3, spec.Place{}), service("b", apart("a"))}, []string{
			"a (3 copies), b are all apart from each other (place.apart), and only 3 nodes may run them: a, b, c",
		}},
		{"apart from a service with a copy on every node", []spec.Service{copies("a", 0, spec.Place{}), service("b", apart("a"))}, []string{
			"b is apart from a (place.apart), and a has a copy on every node that may run it (copies.count): a, b, c",
		}},
		{"apart from copies that leave a node free", []spec.Service{copies("a", 0, on("a", "b")), service("b", apart("a"))}, nil},
		{"two and two copies apart on three nodes", []spec.Service{copies("a", 2, apart("b")), copies("b", 2, spec.Place{})}, []string{
			"a (2 copies), b (2 copies) are all apart from each other (place.apart), and only 3 nodes may run them: a, b, c",
		}},
		{"copies that share nodes need fewer", []spec.Service{
			{Name: "a", Copies: &spec.Copies{Count: 4, PerNode: 2, Unique: true}, Place: apart("b")}, service("b", spec.Place{}),
		}, nil},
		{"copies together with a service and apart from it", []spec.Service{copies("a", 2, both), service("b", spec.Place{})}, []string{
			"a is together with b (place.together), and a is apart from b (place.apart)",
		}},
		{"over a service that is together with copies", []spec.Service{
			copies("db", 2, spec.Place{}), service("x", together("db")), service("y", spec.Place{Together: []spec.ServiceName{"x"}, Apart: []spec.ServiceName{"db"}}),
		}, []string{
			"y is together with x (place.together), x is together with db (place.together), and y is apart from db (place.apart)",
		}},
		{"more copies than nodes", []spec.Service{copies("a", 10, spec.Place{})}, []string{
			"a is to have 10 copies (copies.count), and only 3 nodes may run it: a, b, c",
		}},
		{"more copies than nodes, some of which may join", []spec.Service{copies("a", 4, on("a", "b", "c", "y"))}, nil},
		{"as many copies as fit on the nodes", []spec.Service{{Name: "a", Copies: &spec.Copies{Count: 6, PerNode: 2, Unique: true}}}, nil},
		{"a copy on every node needs that often", []spec.Service{needs(copies("a", 0, spec.Place{}), 4), needs(copies("b", 0, on("a", "b")), 4)}, []string{
			"all services together need 20 of cpu, and the nodes of the cell have 16: 4 missing",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, texts(nil, tt.services, nodes())); diff != "" {
				t.Errorf("contradictions (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhoWaitsForWhatIsStoppedIsTold(t *testing.T) {
	web := spec.Service{Name: "web", After: []spec.After{{Service: "cache", Optional: true}, {Service: "db"}}}
	all := []spec.Service{web, {Name: "db", Stopped: true}, {Name: "cache", Stopped: true}}
	want := [][]string{{"after[1]: db is stopped (stopped: true): it waits until that is started"}, {"stopped: these start after it and do not run while it is stopped: web"}, nil}
	var got [][]string
	for _, s := range all {
		got = append(got, Waits(s, all))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// anything makes a few services by chance. None names a node that may join: whoever
// is together with it may go there too, and no more once it is stopped.
func anything(r *rand.Rand) []spec.Service {
	var out []spec.Service
	for i := range 2 + r.IntN(5) {
		s := needs(service(numbered(i), spec.Place{}), r.IntN(8))
		if r.IntN(3) == 0 {
			s.Copies = &spec.Copies{Count: r.IntN(5), Primaries: r.IntN(2)}
		}
		for j := range i {
			switch r.IntN(4) {
			case 0:
				s.Place.Apart = append(s.Place.Apart, numbered(j))
			case 1:
				s.Place.Together = append(s.Place.Together, numbered(j))
			}
		}
		if r.IntN(4) == 0 {
			s.Place.On = []spec.NodeName{[]spec.NodeName{"a", "b", "c"}[r.IntN(3)]}
		}
		if i > 0 && r.IntN(4) == 0 {
			s.After = []spec.After{{Service: numbered(r.IntN(i)), Role: spec.RolePrimary}}
		}
		out = append(out, s)
	}
	return out
}

func TestWhatIsRelaxedIsNeverNew(t *testing.T) {
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 4)) //nolint:gosec // chance that can be repeated
		before := anything(r)
		after := slices.Clone(before)
		s := &after[r.IntN(len(after))]
		switch r.IntN(4) {
		case 0:
			s.Place.Apart = s.Place.Apart[:len(s.Place.Apart)/2]
		case 1:
			s.After = nil
		case 2:
			s.Needs = nil
		case 3:
			s.Stopped = true
		}
		if found := texts(before, after, nodes()); len(found) > 0 {
			t.Fatalf("seed %d: %q\nbefore: %+v\nafter: %+v", seed, found, before, after)
		}
	}
}

// large makes services of which everything is bad at once.
func large(kind string, n int) []spec.Service {
	var out []spec.Service
	for i := range n {
		s := needs(service(numbered(i), spec.Place{}), 4)
		switch kind {
		case "a chain, together, without a node":
			if i > 0 {
				s.Place.Together = []spec.ServiceName{numbered(i - 1)}
			}
			s.Place.On = []spec.NodeName{spec.NodeName(fmt.Sprintf("n%d", i%3)), spec.NodeName(fmt.Sprintf("n%d", (i+1)%3))}
		case "a chain, its ends apart":
			if i > 0 {
				s.Place.Together = []spec.ServiceName{numbered(i - 1)}
			} else {
				s.Place.Apart = []spec.ServiceName{numbered(n - 1)}
			}
		case "groups of 64 apart":
			for j := i / 64 * 64; j < min(n, i/64*64+64); j++ {
				if j != i {
					s.Place.Apart = append(s.Place.Apart, numbered(j))
				}
			}
		}
		out = append(out, s)
	}
	return out
}

func TestManyServicesTakeLittleTimeAndSpace(t *testing.T) {
	var cell []fact.Node
	for i := range 32 {
		cell = append(cell, fact.Node{Name: spec.NodeName(fmt.Sprintf("n%d", i)), Labels: map[string]string{"capacity/cpu": "4"}})
	}
	for _, kind := range []string{"a chain, together, without a node", "a chain, its ends apart", "groups of 64 apart"} {
		t.Run(kind, func(t *testing.T) {
			services := large(kind, 1000)
			begun := time.Now()
			found := texts(nil, services, cell)
			if took := time.Since(begun); took > 3*time.Second {
				t.Errorf("it took %s", took)
			}
			if len(found) == 0 {
				t.Error("nothing was found")
			}
			for _, text := range found {
				if len(text) > 2000 {
					t.Errorf("a sentence has %d bytes: %s", len(text), text[:200])
				}
				if len(text) > 500 && !strings.Contains(text, " more") {
					t.Errorf("it does not say how many more: %s", text)
				}
			}
			if again := New(services, services, cell); len(again) > 0 {
				t.Errorf("the same again is new: %v", again)
			}
		})
	}
}

func BenchmarkNew(b *testing.B) {
	services := large("groups of 64 apart", 1000)
	for b.Loop() {
		New(services, services, nodes())
	}
}
