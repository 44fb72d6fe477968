package specfile

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/model/spec"
)

func TestALabelThatNoNodeHasIsAWarning(t *testing.T) {
	nodes := []map[string]string{{"rack": "r1", "disk": "ssd", "capacity/memory": "64"}, {"rack": "r2"}, nil}
	head := "kind: service\nname: shop\nparts:\n  - exec: [/bin/x]\n"
	tests := []struct {
		name  string
		spec  string
		nodes []map[string]string
		want  []string
	}{
		{"labels that nodes have", "place: {spread: [rack], prefer: [{label: disk=ssd, score: 1}], near: [{service: db, score: 1, same: rack}]}\nneeds: {memory: 1}\n", nodes, nil},
		{"a key with a typo", "place: {spread: [rakc]}\n", nodes, []string{
			`f:5:18: place.spread[0]: warning: no node has the label "rakc": did you mean "rack"? If not, it counts once a node has joined with it (--label)`,
		}},
		{"a key that is like none", "place: {near: [{service: db, score: 1, same: building}]}\n", nodes, []string{
			`f:5:46: place.near[0].same: warning: no node has the label "building": nodes have capacity/memory, disk, rack; it counts once a node has joined with it (--label)`,
		}},
		{"a key of a preference", "place: {prefer: [{label: dsik=ssd, score: 1}]}\n", nodes, []string{
			`f:5:26: place.prefer[0].label: warning: no node has the label "dsik": did you mean "disk"? If not, it counts once a node has joined with it (--label)`,
		}},
		{"a value of a preference", "place: {prefer: [{label: disk=sdd, score: 1}]}\n", nodes, []string{
			`f:5:26: place.prefer[0].label: warning: no node has the label disk=sdd: did you mean "ssd"? If not, it counts once a node has joined with it (--label)`,
		}},
		{"a cell without labels", "place: {spread: [rack]}\n", []map[string]string{nil}, []string{
			`f:5:18: place.spread[0]: warning: no node has the label "rack": it counts once a node has joined with it (--label)`,
		}},
		{"a unit with a typo", "needs: {memmory: 1}\n", nodes, []string{
			`f:5:18: needs.memmory: warning: no node says how much "memmory" it has, so all have enough: did you mean "memory"?`,
		}},
		{"a unit that nobody counts", "needs: {licences: 1}\n", nodes, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := Read("f", []byte(head+tt.spec))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, w := range f.CheckLabels(tt.nodes) {
				got = append(got, w.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNodesThatSayNothingOfWhatIsNeededAreNamed(t *testing.T) {
	const needs = "needs: {cpu: 2}\n"
	nodes := map[spec.NodeName]map[string]string{"a": {"capacity/cpu": "4"}, "b": nil, "c": {"rack": "1"}}
	const both = "f:5:14: needs.cpu: warning: b, c: no label capacity/cpu, so none of it: the service is not started there, and leaves if it runs there: give every node its label before you apply this"
	tests := []struct {
		name, spec string
		nodes      map[spec.NodeName]map[string]string
		want       []string
	}{
		{"one says it and two do not", needs, nodes, []string{both}},
		{"nobody says it", needs, map[spec.NodeName]map[string]string{"b": nil, "c": nil}, nil},
		{"all say it", needs, map[spec.NodeName]map[string]string{"a": {"capacity/cpu": "4"}, "b": {"capacity/cpu": "0"}}, nil},
		{"it needs nothing", "", nodes, nil},
		{"it may not be on them", needs + "place: {on: [a]}\n", nodes, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := Read("f", []byte("kind: service\nname: shop\nparts:\n  - exec: [/bin/x]\n"+tt.spec))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, w := range f.CheckRoom(tt.nodes) {
				got = append(got, w.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
