package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/keelson/keelson/internal/lab"
	"github.com/keelson/keelson/internal/lab/probe"
	"github.com/keelson/keelson/test/bench/journal"
)

func TestMain(m *testing.M) {
	lab.MaybeRunInner()
	os.Exit(m.Run())
}

func TestOptionsComeFromFlagsAndTheEnvironment(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		env  map[string]string
		want options
		bad  string
	}{
		{
			"flags",
			[]string{"-contestants", "keelson,pacemaker", "-faults", "kill loss10", "-trials", "2", "-seconds", "1.5", "-nodes", "3"},
			nil,
			options{contestants: []string{"keelson", "pacemaker"}, faults: []string{"kill", "loss10"}, trials: 2, steady: 1500 * time.Millisecond, nodes: []int{3}, together: 3},
			"",
		},
		{
			"a flag counts more than the environment",
			[]string{"-trials", "2", "-nodes", "", "-contestants", "keelson", "-faults", "cut"},
			map[string]string{"KEELSON_BENCH_TRIALS": "9", "KEELSON_BENCH_SECONDS": "60", "KEELSON_BENCH_DIR": "/x"},
			options{contestants: []string{"keelson"}, faults: []string{"cut"}, trials: 2, steady: time.Minute, dir: "/x", together: 3},
			"",
		},
		{"a contestant that nobody knows", []string{"-contestants", "heartbeat"}, nil, options{}, `there is no "heartbeat"`},
		{"a fault that nobody knows", []string{"-faults", "kil"}, nil, options{}, `there is no "kil"`},
		{"a size that is none", []string{"-nodes", "3,many"}, nil, options{}, `"many" is no number`},
		{"none side by side", []string{"-together", "0"}, nil, options{}, "0 contestants side by side"},
		{"a variable that is none", nil, map[string]string{"KEELSON_BENCH_TRIALS": "x"}, options{}, "KEELSON_BENCH_TRIALS=x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parse(c.args, func(name string) string { return c.env[name] }, io.Discard)
			if c.bad != "" {
				if err == nil || !strings.Contains(err.Error(), c.bad) {
					t.Errorf("%v, not %s", err, c.bad)
				}
				return
			}
			if c.want.dir == "" {
				got.dir = ""
			}
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(options{}), cmpopts.IgnoreFields(options{}, "binary", "out")); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// asks returns questions sent every 5 ms from 0 to end, answered at once by the
// host that who names, or by nobody if it is "".
func asks(end time.Duration, who func(at time.Duration) string) []probe.HTTPResult {
	var out []probe.HTTPResult
	for at := time.Duration(0); at < end; at += every {
		host := who(at)
		out = append(out, probe.HTTPResult{Seq: uint64(at/every) + 1, Sent: at, Done: at + time.Millisecond, OK: host != "", Host: host})
	}
	return out
}

func TestJudgeTellsTheOutageFromWhatComesAfterTheRepair(t *testing.T) {
	const fault, repair = 100 * time.Millisecond, 500 * time.Millisecond
	s := seen{asked: asks(time.Second, func(at time.Duration) string {
		switch {
		case at < fault:
			return "h1"
		case at < 300*time.Millisecond, at > 600*time.Millisecond && at < 650*time.Millisecond:
			return ""
		default:
			return "h2"
		}
	})}
	got := journal.Trial{Fault: kill, From: "h1"}
	s.judge(&got, fault, repair)
	want := journal.Trial{Fault: kill, From: "h1", OutageMS: 206, AfterMS: 51, StallMS: 5}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestJudgeCountsWhatTheOldHolderAnswersAfterTheThaw(t *testing.T) {
	const fault, thaw = 100 * time.Millisecond, 500 * time.Millisecond
	client := asks(800*time.Millisecond, func(at time.Duration) string {
		if at < fault {
			return "h1"
		}
		return "h2"
	})
	direct := asks(700*time.Millisecond, func(at time.Duration) string {
		if at < fault || at >= thaw && at < 600*time.Millisecond {
			return "h1"
		}
		return ""
	})
	got := journal.Trial{Fault: freeze, From: "h1"}
	seen{asked: client, told: direct}.judge(&got, fault, thaw)
	want := &journal.Frozen{OldMS: 96, OldAnswers: 20}
	if diff := cmp.Diff(want, got.Frozen); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSumTellsALossForGood(t *testing.T) {
	gone := seen{asked: asks(time.Second, func(at time.Duration) string {
		switch {
		case at < 200*time.Millisecond:
			return "h1"
		case at < 300*time.Millisecond:
			return "h2"
		default:
			return ""
		}
	})}
	var got journal.Steady
	gone.sum(&got, 0, time.Second)
	want := journal.Steady{Changes: 1, UnservedS: 0.701, Outages: 1, LongestMS: 701, Asked: 200, Failed: 140, LostAtS: 0.296}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPlanLeavesOutWhatAContestantHasNot(t *testing.T) {
	j, err := journal.Open(filepath.Join(t.TempDir(), "measured.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{journal: j, options: options{
		contestants: []string{"keelson", "keepalived-1"}, faults: []string{kill, service, rest, scale}, trials: 2, nodes: []int{3},
	}}
	if err := j.Add(journal.Entry{Trial: &journal.Trial{Contestant: "keelson", Fault: kill, Round: 1}}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"trial keelson kill 2", "trial keelson service 1", "trial keelson service 2", "steady keelson rest",
		"trial keepalived-1 kill 1", "trial keepalived-1 kill 2", "steady keepalived-1 rest", "scale 3",
	}
	if diff := cmp.Diff(want, b.left()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
