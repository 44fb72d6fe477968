package cell_test

import (
	"strings"
	"testing"
)

// TestApplyRefusesWhatCannotBe applies specs that nobody should: each is refused with
// the way of what is wrong, and nothing is written.
func TestApplyRefusesWhatCannotBe(t *testing.T) {
	s := func(name, more string) string {
		return "kind: service\nname: " + name + "\nparts: [{exec: [/bin/x]}]\n" + more + "\n"
	}
	tests := []struct {
		name string
		docs []string
		want string
	}{
		{"three that wait for each other", []string{s("a", "after: [b]"), s("b", "after: [c]"), s("c", "after: [a]")}, "a after b after c after a"},
		{"one that waits for itself", []string{s("a", "after: [a]")}, "after[0].service: the service names itself"},
		{"together and away", []string{s("a", "place: {together: [b], near: [{service: b, score: -1000000}]}"), s("b", "")}, "together and away at once"},
		{"in one rack and in two", []string{
			s("a", "place: {near: [{service: b, score: 1000000, same: rack}]}"), s("b", "place: {near: [{service: a, score: -1000000, same: rack}]}"),
		}, "a is to be near b (place.near 1000000, same rack), and b is to be away from a (place.near -1000000, same rack)"},
		{"apart, and both with one primary", []string{
			s("a", "place: {near: [{service: db, score: 1000000, role: primary}], apart: [b]}"),
			s("b", "place: {near: [{service: db, score: 1000000, role: primary}]}"), s("db", "copies: {primaries: 1}"),
		}, "and a is apart from b (place.apart)"},
		{"near a primary of what has none", []string{s("a", "place: {near: [{service: db, score: 1000000, role: primary}]}"), s("db", "")}, "db has no roles"},
		{"after a primary of what has none", []string{s("a", "after: [{service: db, role: primary}]"), s("db", "copies: {count: 2}")}, "db has no roles"},
		{"after a replica where all are primary", []string{s("a", "after: [{service: b, role: replica}]"), s("b", "copies: {count: 1, primaries: 1}")}, "all 1 copies of b are primary"},
		{"apart from what is everywhere", []string{s("a", "place: {apart: [all]}"), s("all", "copies: {count: 0}")}, "all has a copy on every node"},
		{"a score that is too high", []string{s("a", "place: {near: [{service: b, score: 1000001}]}")}, "place.near[0].score: 1000001 is out of range"},
		{"a preference that is too low", []string{s("a", "place: {prefer: [{node: a, score: -2000000}]}")}, "place.prefer[0].score: -2000000 is out of range"},
		{"a priority that is too high", []string{s("a", "priority: 1001")}, "priority: 1001 is out of range"},
		{"a need of nothing", []string{s("a", "needs: {cpu: 0}")}, "needs.cpu: 0 is out of range"},
		{"a need beyond all bounds", []string{s("a", "needs: {cpu: 2000000000}")}, "needs.cpu: 2000000000 is out of range"},
		{"copies beyond all bounds", []string{s("a", "copies: {count: 9999999}")}, "copies.count: 9999999 is out of range"},
		{"more primaries than copies", []string{s("a", "copies: {count: 2, primaries: 3}")}, "3 primaries of 2 copies"},
		{"more primaries than nodes", []string{s("a", "copies: {primaries: 3}")}, "only 2 nodes may run it: a, b"},
		{"allowed and forbidden on a node", []string{s("a", "place: {on: [a], never: [a]}")}, "in place.on and in place.never"},
		{"with a primary that is kept elsewhere", []string{
			s("a", "place: {near: [{service: db, score: 1000000, role: primary}], on: [a]}"), s("db", "copies: {primaries: 1}\nplace: {on: [b]}"),
		}, "no node is left"},
		{"near and away from one primary", []string{
			s("a", "place: {near: [{service: db, score: -1000000, role: primary}, {service: db, score: 1000000, role: primary}]}"), s("db", "copies: {primaries: 1}"),
		}, "away from the primary of db"},
		{"a label to spread over twice", []string{s("a", "place: {spread: [rack, rack]}")}, "listed twice"},
		{"a time of nothing", []string{s("a", "failover: {within: 0s}")}, "failover.within: 0 is out of range"},
		{"a preference that ends before it begins", []string{
			s("a", "place: {prefer: [{label: x=1, score: 5, from: 2026-01-02T00:00:00Z, until: 2026-01-01T00:00:00Z}]}"),
		}, "ends before it begins"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			_, before, _ := w.List(t.Context(), "")
			_, err := w.apply(t, append([]string{s("innocent", "")}, tt.docs...)...)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			_, after, _ := w.List(t.Context(), "")
			equal(t, "nothing is written", after, before)
		})
	}
}
