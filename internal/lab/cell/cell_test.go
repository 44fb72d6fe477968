package cell

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/lab"
)

func TestMain(m *testing.M) {
	lab.MaybeRunInner()
	os.Exit(m.Run())
}

// fakeKeelson is a program with the command line of keelson. Each host keeps a
// list of the commands it got; the test tells the first who has joined.
const fakeKeelson = `#!/bin/sh
set -eu
mkdir -p /var/lib/fake
cmd=$1; shift
echo "$cmd $*" >> /var/lib/fake/commands
case $cmd in
init) echo "$2" > /var/lib/fake/name ;;
token) echo '{"token":"t0ken","address":"x"}' ;;
join) [ "$KEELSON_TOKEN" = t0ken ] || { echo "a wrong token" >&2; exit 1; }
      echo "$3" > /var/lib/fake/name ;;
agent) cat /proc/sys/kernel/random/boot_id > /run/agent
       echo "agent of $(cat /var/lib/fake/name) runs"; exec sleep 1000 ;;
status) [ -e /run/agent ] || exit 3
        nodes=$(cat /var/lib/fake/nodes 2>/dev/null || echo h1)
        list=$(for n in $nodes; do printf '{"name":"%s","liveness":"alive","voter":true,"guard_up":true},' $n; done)
        cat <<X
{"cell":"main","quorate":true,"controller":"h1","nodes":[${list%,}],"stale":false,"problems":[],
 "services":[{"name":"web","state":"running","ready":true,"node":"h1","epoch":"7","successors":["h2"]}]}
X
        ;;
apply) [ "$*" = "-f -" ]; cat > /var/lib/fake/spec; grep -q bad /var/lib/fake/spec && { echo "line 1: bad" >&2; exit 1; }; true ;;
*) exit 2 ;;
esac
`

func raise(t *testing.T) (*lab.Lab, context.Context) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keelson")
	if err := os.WriteFile(path, []byte(fakeKeelson), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	l, err := lab.New(ctx, lab.Options{Hosts: []string{"h1", "h2", "h3"}, Networks: 2, Shares: []lab.Share{Share(path)}})
	if errors.Is(err, lab.ErrForbidden) {
		t.Skipf("this needs a machine on which a lab can be made: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l, ctx
}

func TestACellIsFormedByCommands(t *testing.T) {
	l, ctx := raise(t)
	// The fake's first node hears of the others here.
	told := make(chan error, 1)
	go func() {
		for {
			joined, err := l.Host("h3").ReadFile(ctx, "/run/agent")
			if err == nil && len(joined) > 0 {
				told <- l.Host("h1").WriteFile(ctx, "/var/lib/fake/nodes", []byte("h1 h2 h3"), 0o644)
				return
			}
			if ctx.Err() != nil {
				told <- ctx.Err()
				return
			}
		}
	}()
	logs := t.TempDir()
	c, err := Form(ctx, l, Options{
		Nodes: []string{"h1", "h2", "h3"}, Witnesses: []string{"h3"}, Networks: 2, LogDir: logs, LogLevel: "debug",
	})
	if err := errors.Join(err, <-told); err != nil {
		t.Fatal(err)
	}
	for node, want := range map[string][]string{
		"h1": {"init --name h1 --address 10.77.0.1 --no-start --link 10.78.0.1", "agent --log-level debug", "token create -o json", "token create -o json"},
		"h2": {"join 10.77.0.1 --name h2 --address 10.77.0.2 --no-start --link 10.78.0.2", "agent --log-level debug"},
		"h3": {"join 10.77.0.1 --name h3 --address 10.77.0.3 --no-start --witness --link 10.78.0.3", "agent --log-level debug"},
	} {
		text, err := l.Host(node).ReadFile(ctx, "/var/lib/fake/commands")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); !strings.HasPrefix(line, "status") {
				got = append(got, line)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the commands on %s (-want +got):\n%s", node, diff)
		}
	}
	s, err := c.Status(ctx, "h1")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Service{Name: "web", State: "running", Ready: true, Node: "h1", Epoch: 7, Successors: []string{"h2"}}, s.Service("web")); diff != "" {
		t.Errorf("the service (-want +got):\n%s", diff)
	}

	spec := WebService("web", "10.77.0.100/24", "10.77.0.100:80")
	if err := c.Apply(ctx, spec); err != nil {
		t.Fatal(err)
	}
	applied, err := l.Host("h1").ReadFile(ctx, "/var/lib/fake/spec")
	if err != nil || string(applied) != spec {
		t.Errorf("%v; what came through is %s", err, applied)
	}
	if err := c.Apply(ctx, "bad"); !errors.Is(err, ErrCommand) || !strings.Contains(err.Error(), "line 1: bad") {
		t.Errorf("a bad spec: %v", err)
	}

	if err := l.Host("h2").Kill(ctx); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Boot(ctx, "h2"), c.Boot(ctx, "h2")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Await(ctx, "h2 to answer", func(s Status) bool { return s.Quorate }, "h2"); err != nil {
		t.Error(err)
	}
	if c.Agent("h2") == nil || c.Agent("nobody") != nil {
		t.Error("the agents are mixed up")
	}
	log, err := os.ReadFile(filepath.Join(logs, "h2.log"))
	if diff := cmp.Diff(strings.Repeat("agent of h2 runs\n", 2), string(log)); diff != "" {
		t.Errorf("%v; the log (-want +got):\n%s", err, diff)
	}
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if _, err := c.Await(short, "pigs to fly", func(Status) bool { return false }); !errors.Is(err, context.DeadlineExceeded) ||
		!strings.Contains(err.Error(), "waited for pigs to fly in vain") {
		t.Errorf("what does not happen: %v", err)
	}
}

func TestWhole(t *testing.T) {
	whole := func(change func(*Status)) bool {
		s := Status{Quorate: true, Controller: "a", Nodes: []Node{{Name: "a", Liveness: "alive"}, {Name: "b", Liveness: "alive"}}}
		change(&s)
		return s.Whole([]string{"a", "b"})
	}
	if !whole(func(*Status) {}) {
		t.Error("a whole cell is not")
	}
	for name, change := range map[string]func(*Status){
		"without a quorum":     func(s *Status) { s.Quorate = false },
		"without a controller": func(s *Status) { s.Controller = "" },
		"out of date":          func(s *Status) { s.Stale = true },
		"with a node too many": func(s *Status) { s.Nodes = append(s.Nodes, Node{Name: "c", Liveness: "alive"}) },
		"with a node missing":  func(s *Status) { s.Nodes = s.Nodes[:1] },
		"with a suspect node":  func(s *Status) { s.Nodes[1].Liveness = "suspect" },
		"with another node":    func(s *Status) { s.Nodes[1].Name = "x" },
	} {
		if whole(change) {
			t.Errorf("a cell %s is whole", name)
		}
	}
}

func FuzzParseStatus(f *testing.F) {
	f.Add([]byte(`{"quorate":true,"services":[{"epoch":"7"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if s, err := parseStatus(text); err != nil && s.Quorate {
			t.Error("a status that could not be read is quorate")
		}
	})
}

func TestAStatusInALine(t *testing.T) {
	s := Status{
		Controller: "a", Stale: true,
		Nodes:    []Node{{Name: "a", Liveness: "alive", Voter: true}, {Name: "b", Liveness: "lost"}},
		Services: []Service{{Name: "web", State: "running", Ready: true, Node: "a", Successors: []string{"b"}}},
		Problems: []string{"b is lost"},
	}
	const want = `controller a; not quorate; last known state; a is alive and votes; b is lost; web is running and ready on "a", next ["b"]; b is lost`
	if diff := cmp.Diff(want, s.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
