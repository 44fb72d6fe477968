package demo

import (
	"errors"
	"testing"
	"time"

	"github.com/keelson/keelson/internal/lab/probe"
	"github.com/keelson/keelson/internal/model/request"
)

func TestAnIncidentIsOver(t *testing.T) {
	const fault = 100 * time.Second
	asked := func(after time.Duration, host string) probe.HTTPResult {
		return probe.HTTPResult{Sent: fault + after, Done: fault + after + ms, OK: host != "", Host: host}
	}
	tests := []struct {
		name    string
		order   order
		before  string
		results []probe.HTTPResult
		after   time.Duration // the time since the fault
		want    string        // who answers; "" if it is not over
	}{
		{
			name: "after a kill of the holder, when another answers", order: order{verb: verbKill, host: "alpha"}, before: "alpha",
			results: []probe.HTTPResult{asked(-5*ms, "alpha"), asked(5*ms, ""), asked(900*ms, "bravo")}, after: time.Second, want: "bravo",
		},
		{
			name: "not while the killed holder's last answers come in", order: order{verb: verbKill, host: "alpha"}, before: "alpha",
			results: []probe.HTTPResult{asked(5*ms, "alpha"), asked(10*ms, "")}, after: 5 * time.Second,
		},
		{
			name: "not by an answer to an older question", order: order{verb: verbKill, host: "alpha"}, before: "alpha",
			results: []probe.HTTPResult{asked(-5*ms, "bravo")}, after: 5 * time.Second,
		},
		{
			name: "after a kill of another host, when nothing failed for long enough", order: order{verb: verbKill, host: "charlie"}, before: "alpha",
			results: []probe.HTTPResult{asked(5*ms, "alpha"), asked(2100*ms, "alpha")}, after: 2200 * ms, want: "alpha",
		},
		{
			name: "not before that", order: order{verb: verbKill, host: "charlie"}, before: "alpha",
			results: []probe.HTTPResult{asked(5*ms, "alpha"), asked(900*ms, "alpha")}, after: time.Second,
		},
		{
			name: "after the program was killed, when it answers again", order: order{verb: verbService, host: "alpha"}, before: "alpha",
			results: []probe.HTTPResult{asked(-5*ms, "alpha"), asked(5*ms, ""), asked(50*ms, "alpha")}, after: 60 * ms, want: "alpha",
		},
		{
			name: "not while it does not", order: order{verb: verbService, host: "alpha"}, before: "alpha",
			results: []probe.HTTPResult{asked(-5*ms, "alpha"), asked(5*ms, "alpha"), asked(10*ms, "")}, after: time.Minute,
		},
		{
			name: "after a boot, when somebody answers again", order: order{verb: verbBoot, host: "alpha"},
			results: []probe.HTTPResult{asked(-5*ms, ""), asked(5*ms, ""), asked(1900*ms, "bravo")}, after: 2 * time.Second, want: "bravo",
		},
		{
			name: "after a move to a host of choice, when that answers", order: order{verb: verbMove, host: "charlie"}, before: "alpha",
			results: []probe.HTTPResult{asked(5*ms, "alpha"), asked(80*ms, "charlie")}, after: 100 * ms, want: "charlie",
		},
		{
			name: "a move to where it is changes nothing", order: order{verb: verbMove, host: "alpha"}, before: "alpha",
			results: []probe.HTTPResult{asked(5*ms, "alpha"), asked(2100*ms, "alpha")}, after: 2200 * ms, want: "alpha",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			i := incident{order: tt.order, fault: fault, before: probe.Holder{Host: tt.before}}
			got, over := i.over(tt.results, fault+tt.after)
			if !over {
				got.Host = ""
			}
			if got.Host != tt.want || over != (tt.want != "") {
				t.Errorf("over: %t, answered by %q, want %q", over, got.Host, tt.want)
			}
		})
	}
}

func TestVerdict(t *testing.T) {
	i := failover(verbCut)
	if err := i.verdict(); err != nil {
		t.Errorf("a takeover is a fault: %v", err)
	}
	i.after = probe.Holder{}
	var known *request.Error
	if err := i.verdict(); !errors.As(err, &known) || known.Text != "alpha was cut off, and nobody took over within 20s" {
		t.Errorf("no takeover: %v", err)
	}
	i.verb = verbService
	if err := i.verdict(); err == nil || err.Error() != "the program on alpha was killed, and nobody answered again within 20s" {
		t.Errorf("no restart: %v", err)
	}
}

func TestVotersOf(t *testing.T) {
	for nodes, want := range map[int]int{1: 1, 2: 1, 3: 3, 4: 3, 5: 5, 6: 5, 9: 5} {
		if got := votersOf(nodes); got != want {
			t.Errorf("of %d nodes %d vote, want %d", nodes, got, want)
		}
	}
}
