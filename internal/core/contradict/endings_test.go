package contradict

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/model/spec"
)

func TestAnApplyFitsHoweverChangesEnd(t *testing.T) {
	old := func(name spec.ServiceName, p spec.Place) *spec.Service { s := service(name, p); return &s }
	tests := []struct {
		name    string
		change  Change
		waiting []Trial
		want    *Blocked
	}{
		{"nothing waits", Change{After: []spec.Service{service("a", spec.Place{})}, Changed: []spec.ServiceName{"a"}}, nil, nil},
		{
			"one that would contradict it",
			Change{
				Before: []spec.Service{service("a", spec.Place{}), service("b", spec.Place{})},
				After:  []spec.Service{service("a", spec.Place{}), service("b", together("a"))}, Changed: []spec.ServiceName{"b"},
			},
			[]Trial{{"x", "a", old("a", apart("b"))}},
			&Blocked{[]string{"x"}, "it would not fit if change x (a), which waits to be confirmed, is taken back: b is together with a (place.together), and a is apart from b (place.apart)"},
		},
		{
			"two of three that would together",
			Change{
				Before: []spec.Service{service("a", spec.Place{}), service("b", spec.Place{}), service("c", spec.Place{})},
				After:  []spec.Service{service("a", spec.Place{}), service("b", spec.Place{}), service("c", apart("a"))}, Changed: []spec.ServiceName{"c"},
			},
			[]Trial{{"x", "d", nil}, {"y", "a", old("a", together("b"))}, {"z", "b", old("b", together("c"))}},
			&Blocked{[]string{"y", "z"}, "it would not fit if change y (a) and change z (b), which wait to be confirmed, are taken back: " +
				"a is together with b (place.together), b is together with c (place.together), and c is apart from a (place.apart)"},
		},
		{
			"a service that is new on trial and goes",
			Change{
				Before: []spec.Service{service("a", spec.Place{}), service("b", spec.Place{})},
				After:  []spec.Service{service("a", spec.Place{}), service("b", together("a"))}, Changed: []spec.ServiceName{"b"},
			},
			[]Trial{{"x", "a", nil}},
			nil,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Endings(tt.change, tt.waiting, nodes())); diff != "" {
				t.Errorf("what does not fit (-want +got):\n%s", diff)
			}
		})
	}
}
