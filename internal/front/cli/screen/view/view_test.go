package view_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/front/cli/screen/view"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/status"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) {
	time.Local = time.UTC
	os.Exit(m.Run())
}

func noon() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

// troubled is a cell in which much is wrong at once.
func troubled() client.Status {
	return client.Status{
		Name: "prod", Node: "a", At: noon(), Stale: true,
		Problems: []string{
			"the store does not answer: this is the last known state, and nothing can be changed",
			"service mail: it failed on b: exec: it ended with exit status 1\x1b[2J",
		},
		Nodes: []client.Node{
			{Name: "a", Liveness: fact.Alive, Voter: true, Address: "10.0.0.1", Services: []spec.ServiceName{"shop"}, Draining: true},
			{Name: "b", Liveness: fact.Suspect, Address: "10.0.0.2", Leaving: true},
			{Name: "witness-1", Liveness: fact.Lost, Witness: true, Voter: true, Address: "10.0.0.3"},
			{Name: "witness-2", Liveness: fact.Alive, Witness: true, Address: "10.0.0.4"},
		},
		Services: []client.Service{
			{Name: "db", State: status.Homeless, Generation: 3, Problem: "no node may run it: every node lacks the label ssd=true"},
			{Name: "mail", State: status.Failed, Problem: "it failed on b: exec: it ended with exit status 1"},
			{Name: "off", State: status.Stopped},
			{Name: "mq", State: status.Unknown, Problem: "it is not known how it is", Bound: status.Bound{Why: "not known"}, Notes: status.Notes{Doubt: status.Doubt{Stale: true, LastKnown: "running on b"}}},
			{Name: "shop", State: status.Running, Node: "a", Since: noon().Add(-90 * time.Second), Epoch: 12, TTL: 300 * time.Millisecond, Bound: status.Bound{Total: 410 * time.Millisecond, Lease: 300 * time.Millisecond, Claim: 50 * time.Millisecond, Start: 60 * time.Millisecond, By: "b", Why: "300ms until the lease ends"}, Successors: []spec.NodeName{"b"}},
			{Name: "web", State: status.Starting, Node: "a"},
		},
	}
}

func TestGolden(t *testing.T) {
	empty := client.Status{Name: "new", Node: "a", At: noon(), Quorate: true, Nodes: []client.Node{{Name: "a", Liveness: fact.Alive, Voter: true}}}
	shop := client.Service{
		Name: "shop", State: status.Running, Ready: true, Node: "a", Since: noon().Add(-26 * time.Hour), Epoch: 12, Exclusive: true,
		Generation: 3, Successors: []spec.NodeName{"b", "c"}, TTL: time.Second, Bound: status.Bound{Total: 410 * time.Millisecond, Lease: 300 * time.Millisecond, Claim: 50 * time.Millisecond, Start: 60 * time.Millisecond, By: "b", Why: "300ms until the lease ends"}, Reasons: []string{"a has the label ssd=true (score 100)"},
		Parts: []fact.Part{
			{Name: "address", Kind: "address", State: "running", Detail: "10.0.0.100 on eth0"}, {Name: "exec", Kind: "exec", State: "starting"},
		},
		Failures: []status.Failure{{At: noon().Add(-time.Hour), Node: "b", Part: "exec", Why: "it was killed by signal 9"}},
		Spec: &spec.Service{Name: "shop", Parts: []spec.Part{
			{Address: &spec.Address{Prefix: "10.0.0.100/24"}}, {Exec: &spec.Exec{Command: []string{"/usr/bin/shopd"}}},
		}},
	}
	node := client.Node{
		Name: "a", Slot: 3, Address: "10.0.0.1", Liveness: fact.Alive, Voter: true, Version: "v0.1.0", Joined: noon(),
		Stall: 12345 * time.Microsecond, Warnings: []string{"no cgroup v2 here"}, Labels: map[string]string{"z": "1", "a": "2"},
		Services: []spec.ServiceName{"shop", "web"}, Dropped: map[string]uint64{"unknown_key": 1, "forged": 12},
	}
	young := client.Node{Name: "b", Liveness: fact.Alive, Stall: 6600 * time.Microsecond, Measured: 5*time.Minute + 20*time.Second, Stale: true}
	doubtful := client.Service{Name: "mq", State: status.Unknown, Notes: status.Notes{Doubt: status.Doubt{Stale: true, LastKnown: "running on b"}}}
	events := []client.Event{
		{Seq: 1, At: noon(), Node: "a", Kind: event.NodeLost, About: "b", Text: "b is lost"},
		{Seq: 2, At: noon().Add(time.Second), Node: "a", Kind: event.ServiceReady, Service: "shop", Text: "shop is ready"},
	}
	for name, got := range map[string]string{
		"status-troubled":         view.Status(troubled(), 0, false),
		"status-troubled-narrow":  view.Status(troubled(), 60, false),
		"status-troubled-colours": view.Status(troubled(), 100, true),
		"status-empty":            view.Status(empty, 0, false),
		"describe-service":        view.Service(shop, noon()),
		"describe-service-bare":   view.Service(client.Service{Name: "x", State: status.Starting}, noon()),
		"describe-service-stale":  view.Service(doubtful, noon()),
		"describe-node":           view.Node(node),
		"describe-node-stale":     view.Node(young),
		"events":                  view.Events(events).Render(0, false),
		"event":                   view.Event(events[0], true) + view.Event(events[1], false),
		"applied": view.Applied(request.ApplyResult{
			Warnings: []string{"x.yaml:3:1: warning: something"},
			Applied:  []request.Applied{{Name: "a", Outcome: request.Created, Generation: 1}, {Name: "b", Outcome: request.Unchanged, Generation: 4}},
		}, false),
		"applied-dry": view.Applied(request.ApplyResult{Applied: []request.Applied{{Name: "a", Outcome: request.Created, Generation: 1}}}, true),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestATableNamesTheFirstSuccessors(t *testing.T) {
	for _, tt := range []struct {
		name string
		of   []spec.NodeName
		want string
	}{
		{"nobody", nil, ""},
		{"one more takes no more room than its number", []spec.NodeName{"a", "b", "c", "d"}, "a, b, c, d"},
		{"many", []spec.NodeName{"a", "b", "c", "d", "e"}, "a, b, c and 2 more"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			head := view.Services([]client.Service{{Name: "web", Successors: tt.of}}, noon())
			if got := head.Rows[0][7].Text; got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
