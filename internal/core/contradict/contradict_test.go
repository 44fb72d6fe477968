package contradict

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

func service(name spec.ServiceName, p spec.Place) spec.Service {
	return spec.Service{Name: name, Place: p}
}

func needs(s spec.Service, cpu int) spec.Service {
	s.Needs = map[string]int{"cpu": cpu}
	return s
}

func together(names ...spec.ServiceName) spec.Place { return spec.Place{Together: names} }
func apart(names ...spec.ServiceName) spec.Place    { return spec.Place{Apart: names} }
func on(names ...spec.NodeName) spec.Place          { return spec.Place{On: names} }

func nodes() []fact.Node {
	return []fact.Node{
		{Name: "a", Labels: map[string]string{"capacity/cpu": "4"}},
		{Name: "b", Labels: map[string]string{"capacity/cpu": "8"}},
		{Name: "c", Labels: map[string]string{"capacity/cpu": "4"}},
		{Name: "w", Witness: true},
	}
}

func TestContradictionsNameEveryLink(t *testing.T) {
	both := on("a")
	both.Together = []spec.ServiceName{"db"}
	tests := []struct {
		name          string
		before, after []spec.Service
		want          []string
	}{
		{"services that can all be", nil, []spec.Service{
			service("cache", apart("db")), service("db", spec.Place{}), service("shop", together("db")),
		}, nil},
		{"together over two links, and apart", nil, []spec.Service{
			service("cache", together("shop")), service("db", apart("cache")), service("shop", together("db")),
		}, []string{"cache is together with shop (place.together), shop is together with db (place.together), and db is apart from cache (place.apart)"}},
		{"near as a rule, and away as a rule", nil, []spec.Service{
			service("db", spec.Place{Near: []spec.Near{{Service: "shop", Score: -spec.MaxScore}}}),
			service("shop", spec.Place{Near: []spec.Near{{Service: "db", Score: spec.MaxScore}}}),
		}, []string{"shop is to be near db (place.near 1000000), and db is to be away from shop (place.near -1000000)"}},
		{"near as a wish contradicts nothing", nil, []spec.Service{
			service("db", apart("shop")), service("shop", spec.Place{Near: []spec.Near{{Service: "db", Score: 500}}}),
		}, nil},
		{
			"together, with no node in common", nil,
			[]spec.Service{service("db", on("b", "c")), service("shop", both)},
			[]string{"shop is together with db (place.together), and db may run only on b, c (place.on), and shop may run only on a (place.on): no node is left"},
		},
		{
			"never leaves no node", nil,
			[]spec.Service{service("db", spec.Place{Never: []spec.NodeName{"a", "b", "c"}})},
			[]string{"db may not run on a, b, c (place.never): no node is left"},
		},
		{"a node that may join is one", nil, []spec.Service{service("db", on("z"))}, nil},
		{
			"more than any node has", nil,
			[]spec.Service{needs(service("db", spec.Place{}), 9)},
			[]string{"db needs 9 of cpu, and no node that may run it has more than 8: 1 missing"},
		},
		{
			"more than any node has, together", nil,
			[]spec.Service{needs(service("db", spec.Place{}), 5), needs(service("shop", together("db")), 5)},
			[]string{"shop is together with db (place.together): db, shop need 10 of cpu, and no node that may run it has more than 8: 2 missing"},
		},
		{"more than the cell has", nil, []spec.Service{
			needs(service("x", spec.Place{}), 8), needs(service("y", spec.Place{}), 4), needs(service("z", spec.Place{}), 6),
		}, []string{"all services together need 18 of cpu, and the nodes of the cell have 16: 2 missing"}},
		{"what is stopped needs nothing", nil, []spec.Service{{Name: "db", Stopped: true, Needs: map[string]int{"cpu": 99}}}, nil},
		{"more services apart than nodes", nil, []spec.Service{
			service("s1", apart("s2", "s3", "s4")), service("s2", apart("s3", "s4")), service("s3", apart("s4")), service("s4", spec.Place{}),
		}, []string{"s1, s2, s3, s4 are all apart from each other (place.apart), and only 3 nodes may run them: a, b, c"}},
		{
			"more primaries than nodes", nil,
			[]spec.Service{{Name: "db", Copies: &spec.Copies{Count: 4, Primaries: 4}}},
			[]string{"db is to have 4 primaries (copies.primaries), and only 3 nodes may run it: a, b, c"},
		},
		{"copies bind nobody", nil, []spec.Service{
			{Name: "db", Copies: &spec.Copies{Count: 2}}, service("x", spec.Place{Together: []spec.ServiceName{"db"}, Apart: []spec.ServiceName{"y"}}), service("y", together("db")),
		}, nil},
		{"within one rack and not within it", nil, []spec.Service{
			service("db", spec.Place{Near: []spec.Near{{Service: "shop", Score: -spec.MaxScore, Same: "rack"}}}),
			service("shop", spec.Place{Near: []spec.Near{{Service: "web", Score: spec.MaxScore, Same: "rack"}}}), service("web", together("db")),
		}, []string{"shop is to be near web (place.near 1000000, same rack), web is together with db (place.together), and db is to be away from shop (place.near -1000000, same rack)"}},
		{"on one node, and not within one of something that some nodes lack", nil, []spec.Service{
			service("db", together("shop")), service("shop", spec.Place{Near: []spec.Near{{Service: "db", Score: -spec.MaxScore, Same: "rack"}}}),
		}, nil},
		{"on one node, and not within one of something that all nodes have", nil, []spec.Service{
			service("db", together("shop")), service("shop", spec.Place{Near: []spec.Near{{Service: "db", Score: -spec.MaxScore, Same: "capacity/cpu"}}}),
		}, []string{"db is together with shop (place.together), and shop is to be away from db (place.near -1000000, same capacity/cpu)"}},
		{"within one rack, and on two nodes", nil, []spec.Service{
			service("db", apart("shop")), service("shop", spec.Place{Near: []spec.Near{{Service: "db", Score: spec.MaxScore, Same: "rack"}}}),
		}, nil},
		{"both near a primary, and apart", nil, []spec.Service{
			service("app", spec.Place{Apart: []spec.ServiceName{"web"}, Near: []spec.Near{{Service: "db", Role: spec.RolePrimary, Score: spec.MaxScore}}}),
			{Name: "db", Copies: &spec.Copies{Primaries: 1}},
			service("web", spec.Place{Near: []spec.Near{{Service: "db", Role: spec.RolePrimary, Score: spec.MaxScore}}}),
		}, []string{"web is to be near the primary of db (place.near 1000000), app is to be near the primary of db (place.near 1000000), and app is apart from web (place.apart)"}},
		{"near a primary that may be nowhere there", nil, []spec.Service{
			service("app", spec.Place{On: []spec.NodeName{"a"}, Near: []spec.Near{{Service: "db", Role: spec.RolePrimary, Score: spec.MaxScore}}}),
			{Name: "db", Copies: &spec.Copies{Primaries: 1}, Place: on("b")},
		}, []string{"app is to be near the primary of db (place.near 1000000), and app may run only on a (place.on), and the primary of db may run only on b (place.on): no node is left"}},
		{"a primary near another primary and away from it", nil, []spec.Service{
			{Name: "db", Copies: &spec.Copies{Primaries: 1}},
			{Name: "log", Copies: &spec.Copies{Primaries: 1}, Place: spec.Place{Near: []spec.Near{
				{Service: "db", As: spec.RolePrimary, Role: spec.RolePrimary, Score: spec.MaxScore}, {Service: "db", As: spec.RolePrimary, Role: spec.RolePrimary, Score: -spec.MaxScore},
			}}},
		}, []string{"the primary of log is to be near the primary of db (place.near 1000000), and the primary of log is to be away from the primary of db (place.near -1000000)"}},
		{"a primary and what is near it need more than any node has", nil, []spec.Service{
			needs(service("app", spec.Place{Near: []spec.Near{{Service: "db", Role: spec.RolePrimary, Score: spec.MaxScore}}}), 5),
			needs(spec.Service{Name: "db", Copies: &spec.Copies{Count: 1, Primaries: 1}}, 5),
		}, []string{"app is to be near the primary of db (place.near 1000000): app, the primary of db need 10 of cpu, and no node that may run it has more than 8: 2 missing"}},
		{"after a role that nobody has", nil, []spec.Service{
			{Name: "app", After: []spec.After{{Service: "db", Role: spec.RolePrimary}}},
			{Name: "db", Copies: &spec.Copies{Count: 2}},
			{Name: "web", After: []spec.After{{Service: "two", Role: spec.RoleReplica}}},
			{Name: "two", Copies: &spec.Copies{Count: 2, Primaries: 2}},
		}, []string{"app is after the primary of db (after), and db has no roles (copies.primaries)", "web is after the replica of two (after), and all 2 copies of two are primary (copies)"}},
		{"near a role that nobody has", nil, []spec.Service{
			service("app", spec.Place{Near: []spec.Near{{Service: "db", Role: spec.RolePrimary, Score: spec.MaxScore}}}), {Name: "db"},
		}, []string{"app is to be near the primary of db (place.near 1000000), and db has no roles (copies.primaries)"}},
		{"apart from what is everywhere", nil, []spec.Service{
			service("app", apart("mon")), {Name: "mon", Copies: &spec.Copies{}},
		}, []string{"app is apart from mon (place.apart), and mon has a copy on every node that may run it (copies.count): a, b, c"}},
		{"apart from what is on some nodes", nil, []spec.Service{
			service("app", apart("mon")), {Name: "mon", Copies: &spec.Copies{}, Place: on("a", "b")},
		}, nil},
		{
			"what was so before is no reason",
			[]spec.Service{needs(service("db", spec.Place{}), 9)},
			[]spec.Service{needs(service("db", spec.Place{}), 9), service("web", spec.Place{})},
			nil,
		},
		{
			"what gets worse is",
			[]spec.Service{needs(service("db", spec.Place{}), 9)},
			[]spec.Service{needs(service("db", spec.Place{}), 10)},
			[]string{"db needs 10 of cpu, and no node that may run it has more than 8: 2 missing"},
		},
		{"what gets better is not", []spec.Service{needs(service("db", spec.Place{}), 12)}, []spec.Service{needs(service("db", spec.Place{}), 9)}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, c := range New(tt.before, tt.after, nodes()) {
				got = append(got, c.Text)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("contradictions (-want +got):\n%s", diff)
			}
		})
	}
}
