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

func TestNodesThatTheCellLacksAreNamed(t *testing.T) {
	s := service("db", spec.Place{On: []spec.NodeName{"a", "x"}, Never: []spec.NodeName{"y"}, Prefer: []spec.Preference{{Node: "z", Score: 1}, {Label: "q=r", Score: 1}}})
	want := []string{
		`place.on[1]: the cell has no node "x" yet: it counts once that node joins`,
		`place.never[0]: the cell has no node "y" yet: it counts once that node joins`,
		`place.prefer[0].node: the cell has no node "z" yet: it counts once that node joins`,
	}
	if diff := cmp.Diff(want, Unknown(s, nodes())); diff != "" {
		t.Error(diff)
	}
}
