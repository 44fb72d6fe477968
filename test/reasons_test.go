//go:build integration

package test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/lab"
	"github.com/keelson/keelson/internal/lab/cell"
)

// sleeper is a service that only runs, for so many seconds.
func sleeper(name string, seconds int, more string) string {
	return fmt.Sprintf("kind: service\nname: %s\nparts:\n  - exec: [/bin/sleep, %q]\n%s", name, strconv.Itoa(seconds), more)
}

type seat struct {
	Node string `json:"node"`
}

// outlook is what `plan` and `whatif` answer.
type outlook struct {
	Changes []struct {
		Service string `json:"service"`
		Kind    string `json:"kind"`
		To      []seat `json:"to"`
	} `json:"changes"`
	Stays []string `json:"stays"`
	Steps []struct {
		Verb    string `json:"verb"`
		Service string `json:"service"`
	} `json:"steps"`
	Notes []string `json:"notes"`
}

// homes are where the services would be, given where they are.
func (o outlook) homes(now map[string]string) map[string]string {
	out := maps.Clone(now)
	for _, c := range o.Changes {
		delete(out, c.Service)
		if len(c.To) > 0 {
			out[c.Service] = c.To[0].Node
		}
	}
	return out
}

// tell runs keelson with something to read and returns what it wrote and its
// exit status.
func (b *bench) tell(node, stdin string, args ...string) (string, int) {
	b.t.Helper()
	r, err := b.lab.Host(node).Exec(b.t.Context(), lab.Command{Args: append([]string{cell.Program}, args...), Stdin: strings.NewReader(stdin)})
	b.ready(err)
	return string(r.Stdout) + string(r.Stderr), r.Exit.Code
}

// homes are where the services run.
func homes(s cell.Status) map[string]string {
	out := map[string]string{}
	for _, svc := range s.Services {
		if svc.State == "running" {
			out[svc.Name] = svc.Node
		}
	}
	return out
}

// TestReasons asks a real cell why, what would be and what was, and compares
// the answers with what happens.
func TestReasons(t *testing.T) {
	b := newBench(t, 3)
	for i := range 3 {
		b.ready(b.cell.Apply(t.Context(), sleeper(fmt.Sprintf("s%d", i), 100_000, "")))
	}
	all := func(n int) func(cell.Status) bool {
		return func(s cell.Status) bool { return len(homes(s)) == n }
	}
	b.await("all services to run", all(4))

	b.step("why names the node where it is, and every other", func(b *bench) { b.whyIsTrue(b.holder()) })

	b.step("what a plan says of an apply is what comes of it", func(b *bench) {
		now := homes(b.status())
		file := sleeper("s3", 100_000, "") + "---\n" + sleeper("s0", 200_000, "")
		var said outlook
		text, code := b.tell(b.nodes[0], file, "plan", "-f", "-", "--exit-code", "-o", "json")
		b.decode(text, &said)
		if code != 5 {
			b.t.Errorf("exit status %d for a plan that changes something", code)
		}
		kinds := map[string]string{}
		for _, c := range said.Changes {
			if c.Kind != "follows" {
				kinds[c.Service] = c.Kind
			}
		}
		if diff := cmp.Diff(map[string]string{"s3": "starts", "s0": "restarts"}, kinds); diff != "" {
			b.t.Errorf("what is said to happen (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(now, homes(b.status())); diff != "" {
			b.t.Errorf("a plan has changed something (-before +after):\n%s", diff)
		}
		b.ready(b.cell.Apply(b.t.Context(), file))
		got := homes(b.await("all services to run", all(5)))
		if diff := cmp.Diff(said.homes(now), got); diff != "" {
			b.t.Errorf("where the services are (-said +real):\n%s", diff)
		}
		if _, code := b.tell(b.nodes[0], file, "plan", "-f", "-", "--exit-code"); code != 0 {
			b.t.Errorf("exit status %d for a plan that changes nothing", code)
		}
	})

	b.step("every decision is taken again with the same answer to the byte", func(b *bench) { b.replayAll() })

	b.step("what is said of a loss is what comes of it", func(b *bench) {
		now := homes(b.status())
		before, _ := b.decisions()
		lost := b.holder()
		via := b.others(lost)[0]
		var said outlook
		b.decode(b.keelson(via, "whatif", "--fail", lost, "-o", "json"), &said)
		b.t.Logf("it is said:\n%s", b.keelson(via, "whatif", "--fail", lost))
		fault := boot()
		b.power("kill", lost)
		b.movedFrom(fault, lost)
		got := homes(b.await("all services to run elsewhere", func(s cell.Status) bool {
			at := homes(s)
			return len(at) == 5 && !slices.Contains(slices.Collect(maps.Values(at)), lost)
		}, b.others(lost)...))
		if diff := cmp.Diff(said.homes(now), got); diff != "" {
			b.t.Errorf("where the services are (-said +real):\n%s", diff)
		}
		b.power("boot", lost)
		b.whole()
		for until := boot() + overdue; ; time.Sleep(200 * time.Millisecond) {
			if after, _ := b.decisions(); len(after) > len(before) {
				break
			}
			if boot() > until {
				b.t.Fatal("the loss led to no recorded decision")
			}
		}
		b.replayAll()
	})

	b.step("a change that is not confirmed is taken back, though the controller dies", func(b *bench) {
		before := b.spec("s1")
		controller := b.status().Controller
		via := b.others(controller)[0]
		text, code := b.tell(via, sleeper("s1", 300_000, ""), "apply", "-f", "-", "--confirm-within", "12s")
		if code != 0 || !strings.Contains(text, "unless you confirm it") {
			b.t.Fatalf("status %d: %s", code, text)
		}
		if now := b.specVia(via, "s1"); now == before {
			b.t.Error("nothing was applied")
		}
		if text := b.keelson(via, "status"); !strings.Contains(text, "is taken back at") {
			b.t.Errorf("the status does not show it:\n%s", text)
		}
		if _, code := b.tell(via, sleeper("s1", 400_000, ""), "apply", "-f", "-"); code != 1 {
			b.t.Errorf("exit status %d for a second change", code)
		}
		b.power("kill", controller)
		b.await("the change to be taken back", func(s cell.Status) bool {
			return len(s.Services) == 5 && s.Controller != controller && !slices.ContainsFunc(s.Problems, func(p string) bool { return strings.Contains(p, "is taken back at") })
		}, b.others(controller)...)
		if diff := cmp.Diff(before, b.specVia(via, "s1")); diff != "" {
			b.t.Errorf("the spec is not that of before (-before +after):\n%s", diff)
		}
		if text := b.keelson(via, "events", "--service", "s1"); !strings.Contains(text, "change-taken-back") {
			b.t.Errorf("the events do not show it:\n%s", text)
		}
		b.power("boot", controller)
		b.whole()
	})

	b.step("a change that is confirmed stays", func(b *bench) {
		text, code := b.tell(b.nodes[0], sleeper("s1", 300_000, ""), "apply", "-f", "-", "--confirm-within", "3s")
		if code != 0 {
			b.t.Fatal(text)
		}
		after := b.spec("s1")
		b.t.Log(b.keelson(b.nodes[1], "confirm"))
		time.Sleep(5 * time.Second)
		if diff := cmp.Diff(after, b.spec("s1")); diff != "" {
			b.t.Errorf("the spec (-confirmed +now):\n%s", diff)
		}
	})
}

// whyIsTrue asks why the web service is where it is.
func (b *bench) whyIsTrue(at string) {
	b.t.Helper()
	var why struct {
		Now     []seat   `json:"now"`
		Belongs []seat   `json:"belongs"`
		Because []string `json:"because"`
		Nodes   []struct {
			Node string `json:"node"`
			Why  string `json:"why"`
		} `json:"nodes"`
		Shifts []struct {
			If string `json:"if"`
			To []seat `json:"to"`
		} `json:"shifts"`
		Plan string `json:"plan"`
	}
	b.decode(b.keelson(b.others(at)[0], "why", b.service, "-o", "json"), &why)
	want := []seat{{at}}
	if diff := cmp.Diff([][]seat{want, want}, [][]seat{why.Now, why.Belongs}); diff != "" {
		b.t.Errorf("where it is, and belongs (-want +said):\n%s", diff)
	}
	if len(why.Nodes) != len(b.nodes) || len(why.Because) == 0 || len(why.Shifts) == 0 || why.Plan == "" {
		b.t.Errorf("it is not said in full: %+v", why)
	}
	b.t.Logf("\n%s", b.keelson(at, "why", b.service))
}

// decided is a recorded decision, or an event that one made.
type decided struct {
	Seq  string `json:"seq"`
	Kind string `json:"kind"`
	Plan string `json:"plan"`
}

// decisions are those that are recorded, and the placements that they made. A
// decision is recorded a moment after its events.
func (b *bench) decisions() (recorded, placed []decided) {
	b.t.Helper()
	for until := boot() + overdue; ; time.Sleep(200 * time.Millisecond) {
		recorded, placed = nil, nil
		b.decode(b.keelson(b.nodes[0], "events", "--limit", "1000", "-o", "json"), &placed)
		b.decode(b.keelson(b.nodes[0], "replay", "--list", "-o", "json"), &recorded)
		placed = slices.DeleteFunc(placed, func(e decided) bool { return e.Kind != "service-placed" })
		lacks := slices.IndexFunc(placed, func(e decided) bool {
			return !slices.ContainsFunc(recorded, func(d decided) bool { return d.Plan == e.Plan })
		})
		switch {
		case lacks < 0 && len(placed) > 0:
			return recorded, placed
		case boot() > until:
			b.t.Fatalf("event %+v was made by no recorded decision", placed[max(0, lacks):])
		}
	}
}

// replayAll takes all recorded decisions again, and those of events.
func (b *bench) replayAll() {
	b.t.Helper()
	recorded, placed := b.decisions()
	for i, d := range recorded {
		node := b.nodes[i%len(b.nodes)]
		text, code := b.tell(node, "", "replay", d.Plan)
		if code != 0 || !strings.Contains(text, "the same to the byte") {
			b.t.Errorf("status %d: %s", code, text)
		}
	}
	for _, e := range placed {
		if text, code := b.tell(b.nodes[0], "", "replay", e.Seq); code != 0 || !strings.Contains(text, e.Plan) {
			b.t.Errorf("event %s: status %d: %s", e.Seq, code, text)
		}
	}
	last := recorded[len(recorded)-1].Plan
	b.keelson(b.nodes[0], "replay", last, "--save", "/run/decision.json")
	if text, code := b.tell(b.nodes[0], "", "replay", "--file", "/run/decision.json", "--show"); code != 0 || !strings.Contains(text, "the same to the byte") {
		b.t.Errorf("from a file: status %d: %s", code, text)
	}
	b.t.Logf("%d decisions and %d events replayed", len(recorded), len(placed))
}

// specVia is the spec of a service as one node tells it.
func (b *bench) specVia(node, service string) string {
	b.t.Helper()
	var s struct {
		Spec json.RawMessage `json:"spec_json"`
	}
	b.decode(b.keelson(node, "describe", "service", service, "-o", "json"), &s)
	var text string
	b.decode(string(s.Spec), &text)
	return text
}
