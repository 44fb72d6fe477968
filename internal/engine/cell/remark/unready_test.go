package remark_test

import (
	"testing"

	"github.com/keelson/keelson/internal/engine/cell/remark"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/status"
)

func TestCopiesAreUnreadyForWhatTheirCheckSaysOnly(t *testing.T) {
	running := func(n spec.NodeName, unready string) status.Copy {
		return status.Copy{Node: n, State: "running", Parts: []fact.Part{{Name: "exec", State: "running", Detail: "pid 7", Unready: unready}}}
	}
	for _, c := range []struct {
		name string
		s    status.Service
		want string
	}{
		{"nothing was checked yet", status.Service{Copies: []status.Copy{running("a", ""), running("b", "")}}, ""},
		{
			"a check says no",
			status.Service{Copies: []status.Copy{running("a", ""), running("b", "no answer")}},
			"1 of 2 copies are ready: the check on b says no: exec: no answer",
		},
		{
			"it failed there before",
			status.Service{
				Copies:   []status.Copy{running("a", ""), running("b", "")},
				Failures: []status.Failure{{Node: "b", Part: "exec", Why: "exited with status 1"}, {Node: "c", Why: "no"}},
			},
			"1 of 2 copies are ready: the one on b failed before: exec: exited with status 1",
		},
	} {
		if got := remark.CopiesUnready(c.s, 1, 2); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
