package agent

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/engine/agent/guardclient"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/spec"
)

func TestTheReportSaysWhatTheGuardWasToldIsNotExclusive(t *testing.T) {
	var a Agent
	var g guardclient.View
	g.State.Holds = []guardwire.Hold{{Service: "held"}}
	if diff := cmp.Diff([]spec.ServiceName{"held"}, a.shares(g)); diff != "" {
		t.Errorf("before it has told its guard anything, that goes by what another agent told it: %s", diff)
	}
	a.duty = sentDuty{at: time.Second, duty: guardwire.Duty{Seeks: []guardwire.Seek{
		{Service: "web"}, {Service: "db", Exclusive: true}, {Service: "pool"}, {Service: "pool/2"},
	}}}
	if diff := cmp.Diff([]spec.ServiceName{"pool", "web"}, a.shares(g)); diff != "" {
		t.Error(diff)
	}
}
