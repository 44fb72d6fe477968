package demo

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/lab/probe"
	"github.com/keelson/keelson/internal/model/event"
)

func TestTheReportAsJSON(t *testing.T) {
	i := failover(verbKill)
	i.stages = stagesOf(i, takeover()[1:3])
	i.results = []probe.HTTPResult{{OK: true}, {}, {OK: true}}
	i.two = 15 * ms
	var b strings.Builder
	if err := writeJSON(&b, reportOf(i, []string{"alpha", "bravo"}, "v1")); err != nil {
		t.Fatal(err)
	}
	const want = `{
  "version": "v1",
  "nodes": [
    "alpha",
    "bravo"
  ],
  "fault": "kill",
  "holder_before": "alpha",
  "holder_after": "bravo",
  "epoch_before": "7",
  "epoch_after": "8",
  "outage_ms": 1073,
  "interval_ms": 5,
  "requests": 3,
  "failed_requests": 1,
  "two_holders_ms": 15,
  "stages": [
    {
      "name": "fault",
      "at_ms": 0,
      "took_ms": 0,
      "by": "",
      "after_first_answer": false
    },
    {
      "name": "declared dead",
      "at_ms": 190,
      "took_ms": 190,
      "by": "bravo",
      "after_first_answer": false
    },
    {
      "name": "first answer",
      "at_ms": 1070,
      "took_ms": 880,
      "by": "bravo",
      "after_first_answer": false
    }
  ]
}
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("the report (-want +got):\n%s", diff)
	}
}

func TestWhatStagesTookAddsUpToTheFirstAnswer(t *testing.T) {
	i := failover(verbFreeze)
	events := append(takeover(), about(at(400*ms, "alpha", event.NodeLost), "bravo"))
	for n := range events {
		if events[n].Kind == event.NodeLost {
			events[n].Boot += 1300*ms + 40*time.Microsecond // it is declared dead when all is over
		}
	}
	i.stages = stagesOf(i, events)
	sum, answer, late, last := 0.0, 0.0, []string{}, 0.0
	for _, s := range reportOf(i, nil, "v1").Stages {
		sum += s.TookMS
		if s.Name == stageAnswer {
			answer = s.AtMS
		}
		if s.Late {
			late = append(late, s.Name)
		}
		if s.AtMS < last {
			t.Errorf("%s is out of order", s.Name)
		}
		last = s.AtMS
	}
	if answer != 1070 || math.Abs(sum-answer) > 1e-6 {
		t.Errorf("the stages took %v ms, and the first answer came after %v ms", sum, answer)
	}
	if diff := cmp.Diff([]string{stageDead}, late); diff != "" {
		t.Errorf("after the first answer (-want +got):\n%s", diff)
	}
}

func TestSummary(t *testing.T) {
	change := func(f func(*incident)) incident {
		i := failover(verbKill)
		f(&i)
		return i
	}
	tests := []struct {
		name     string
		incident incident
		want     string
	}{
		{"a takeover", failover(verbKill), "The client was without an answer for 1.07 s; 210 of its requests failed.\nbravo took over from alpha."},
		{
			"a restart", change(func(i *incident) { i.after.Host, i.outage.End = "alpha", i.outage.Start+46*ms }),
			"The client was without an answer for 46 ms; 210 of its requests failed.\nalpha serves on.",
		},
		{"nobody took over", change(func(i *incident) { i.after = probe.Holder{} }), "Nobody answers. `status` says why."},
		{"nobody answered before either", change(func(i *incident) { i.before, i.after = probe.Holder{}, probe.Holder{} }), "Nobody answers, as before."},
		{
			"a host came back", change(func(i *incident) { i.verb, i.before = verbBoot, probe.Holder{} }),
			"bravo serves again, 1.07 s after the boot.",
		},
		{
			"nothing failed", change(func(i *incident) { i.outage, i.after = probe.Outage{}, i.before }),
			"No request failed; alpha serves as before.",
		},
		{"a move without a failed request", change(func(i *incident) { i.outage = probe.Outage{} }), "No request failed; bravo serves now."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, summary(tt.incident)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestTheTimelineNamesTheFault(t *testing.T) {
	i := failover(verbFreeze)
	if got := timeline(i); got != "" {
		t.Errorf("without stages it says %q", got)
	}
	i.stages = stagesOf(i, takeover())
	got := timeline(i)
	if !strings.HasPrefix(strings.TrimSpace(got), "0 ms              alpha frozen\n") || !strings.Contains(got, "+810 ms   lease free (bravo)\n") {
		t.Errorf("the timeline is\n%s", got)
	}
	if i.stages[0].Name != stageFault {
		t.Error("the incident itself was changed")
	}
}

func TestTwoHoldersAreSaid(t *testing.T) {
	i := failover(verbThaw)
	if got, want := exclusive(i), "At no time did two hosts hold 10.77.0.100."; got != want {
		t.Errorf("it says %q", got)
	}
	i.two = 1500 * ms
	if got, want := exclusive(i), "Two hosts held 10.77.0.100 at once for 1.50 s, which must not be."; got != want {
		t.Errorf("it says %q", got)
	}
}

func TestTwoHolders(t *testing.T) {
	names := func(mac string) string { return map[string]string{"02:01": "alpha", "02:02": "bravo"}[mac] }
	answer := func(at time.Duration, mac string) probe.ARPAnswer {
		return probe.ARPAnswer{Request: uint64(at / (5 * ms)), Asked: at, At: at, MAC: mac}
	}
	page := func(at time.Duration, host string) probe.HTTPResult {
		return probe.HTTPResult{Sent: at, Done: at + ms, OK: true, Host: host}
	}
	tests := []struct {
		name    string
		answers []probe.ARPAnswer
		results []probe.HTTPResult
		want    time.Duration
	}{
		{
			name:    "one after the other is fine",
			answers: []probe.ARPAnswer{answer(5*ms, "02:01"), answer(10*ms, "02:01"), answer(200*ms, "02:02"), answer(205*ms, "02:02")},
			results: []probe.HTTPResult{page(5*ms, "alpha"), page(200*ms, "bravo")},
		},
		{
			name:    "ARP and HTTP of one host are one holder",
			answers: []probe.ARPAnswer{answer(5*ms, "02:01"), answer(50*ms, "02:01")},
			results: []probe.HTTPResult{page(10*ms, "alpha"), page(40*ms, "alpha")},
		},
		{
			name:    "one that answers by ARP while another does by HTTP are two",
			answers: []probe.ARPAnswer{answer(5*ms, "02:01"), answer(50*ms, "02:01")},
			results: []probe.HTTPResult{page(10*ms, "bravo"), page(40*ms, "bravo")},
			want:    29 * ms,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := twoHolders(tt.results, tt.answers, names); got != tt.want {
				t.Errorf("two holders for %s, want %s", got, tt.want)
			}
		})
	}
}
