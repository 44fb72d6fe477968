package recovery_test

import (
	"testing"

	"github.com/keelson/keelson/internal/core/recovery"
	"github.com/keelson/keelson/internal/model/fact"
)

func TestNodesOnWhichAServiceFailedTheSameWayAreNamedTogether(t *testing.T) {
	h := fact.ServiceHistory{Service: "shop", Tried: []fact.Try{
		{Node: "a", Why: "exec: it ended with exit status 1"}, {Node: "b", Why: "exec: it ended with exit status 1"}, {Node: "d"}, {Node: "c", Why: "exec: it ended with exit status 1"},
	}}
	const want = "stopped for a person: it failed on every node that may run it: a, b, c (exec: it ended with exit status 1), d. Correct the cause, then `keelson clear shop`"
	if got := recovery.Halted(h); got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
}
