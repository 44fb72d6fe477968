package pacemaker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/core/crm"
	"github.com/keelson/keelson/internal/front/cli/pacemaker"
	"github.com/keelson/keelson/internal/model/cib"
)

// document is a cluster of two nodes with one resource on a node, "" for none; the
// second node has state b.
func document(on, b string) []byte {
	history := func(node string) string {
		rc, task := 7, "monitor"
		if on == node {
			rc, task = 0, "start"
		}
		return fmt.Sprintf(`<lrm id="%s"><lrm_resources><lrm_resource id="db" class="ocf" provider="p" type="Dummy"><lrm_rsc_op id="db_last_0" operation="%s" interval="0" call-id="2" rc-code="%d" op-status="0" transition-key="1:1:%d:x"/></lrm_resource></lrm_resources></lrm>`, node, task, rc, rc)
	}
	return []byte(`<cib have-quorum="1" crm_feature_set="3.16.1"><configuration><crm_config><cluster_property_set id="o"><nvpair id="o1" name="stonith-enabled" value="false"/><nvpair id="o2" name="no-quorum-policy" value="ignore"/></cluster_property_set></crm_config>
<nodes><node id="1" uname="a"/><node id="2" uname="b"/><node id="3" uname="c"/></nodes>
<resources><primitive id="db" class="ocf" provider="p" type="Dummy"/></resources><constraints/></configuration>
<status><node_state id="1" uname="a" in_ccm="true" crmd="online" join="member" expected="member">` + history("a") + `</node_state>
<node_state id="2" uname="b" ` + b + `>` + history("b") + `</node_state>
<node_state id="3" uname="c" in_ccm="true" crmd="online" join="member" expected="member">` + history("c") + `</node_state></status></cib>`)
}

const (
	well = `in_ccm="true" crmd="online" join="member" expected="member"`
	gone = `in_ccm="false" crmd="offline" join="down" expected="down"`
)

// reader understands documents as the product does.
func reader() *pacemaker.Reader {
	return &pacemaker.Reader{Simulate: func(r io.Reader, now time.Time) (pacemaker.Simulated, error) {
		root, err := cib.Read(r)
		if err != nil {
			return pacemaker.Simulated{}, err
		}
		o := crm.Simulate(root, now)
		seats := func(from map[string][]crm.Seat) map[string][]pacemaker.Seat {
			out := map[string][]pacemaker.Seat{}
			for k, list := range from {
				for _, s := range list {
					out[k] = append(out[k], pacemaker.Seat(s))
				}
				if len(list) == 0 {
					out[k] = []pacemaker.Seat{}
				}
			}
			return out
		}
		return pacemaker.Simulated{Before: seats(o.Before), After: seats(o.After), Nodes: o.Nodes, Steps: o.Steps, Not: o.Not}, nil
	}}
}

func TestAnObserverSaysWhatBothDoAtEachEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("the cluster does not answer")
		type answer struct {
			text []byte
			err  error
		}
		queue := []answer{
			{document("b", well), nil},
			{document("b", well), nil}, // nothing new
			{document("", gone), nil},
			{nil, broken},
			{nil, broken}, // told once
			{document("c", gone), nil},
		}
		asked := 0
		var got []pacemaker.Event
		o := pacemaker.Observer{
			Reader: reader(), Clock: clock.System{}, Every: 2 * time.Second, Events: 4,
			Query: func(context.Context) ([]byte, error) {
				a := queue[min(asked, len(queue)-1)]
				asked++
				return a.text, a.err
			},
			Tell: func(e pacemaker.Event) { got = append(got, e) },
		}
		if err := o.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		seat := func(n string) []pacemaker.Seat { return []pacemaker.Seat{{Count: 1, Node: n, Role: "Started"}} }
		begin := got[0].At
		want := []pacemaker.Event{
			{At: begin, Nodes: map[string]string{"a": "online", "b": "online", "c": "online"}},
			{
				At: begin.Add(4 * time.Second), Nodes: map[string]string{"b": "offline"}, Would: []string{"start db on a"},
				Did: []pacemaker.Move{{Resource: "db", From: seat("b"), To: []pacemaker.Seat{}}},
			},
			{At: begin.Add(6 * time.Second), Error: broken.Error()},
			{
				At:      begin.Add(10 * time.Second),
				Did:     []pacemaker.Move{{Resource: "db", From: []pacemaker.Seat{}, To: seat("c")}},
				Differs: []pacemaker.Difference{{Resource: "db", Is: seat("c"), Would: seat("a")}},
			},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		lines := got[3].Text()
		if !strings.Contains(lines, "Pacemaker: db: c (was: nowhere)") || !strings.Contains(lines, "differs: db: Keelson would have it: a") {
			t.Errorf("the lines are\n%s", lines)
		}
	})
}

func TestAnObserverEndsWhenItIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		o := pacemaker.Observer{
			Reader: reader(), Clock: clock.System{}, Every: time.Second,
			Query: func(context.Context) ([]byte, error) { return document("a", well), nil }, Tell: func(pacemaker.Event) {},
		}
		if err := o.Run(ctx); err != nil {
			t.Errorf("the error is %v", err)
		}
	})
}

func TestAProgramIsAskedWithinBounds(t *testing.T) {
	dir := t.TempDir()
	program := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil { //nolint:gosec // a program has to be executable
			t.Fatal(err)
		}
		return path
	}
	tests := []struct {
		name, program, want string
		err                 error
	}{
		{"a document passes, warnings around it do not", program("good", `echo warn >&2; echo '<cib a="1"></cib>'; echo more >&2`), `<cib a="1"></cib>`, nil},
		{"a failure says what the program said", program("bad", "echo 'not connected'; exit 107"), "", pacemaker.ErrNoDocument},
		{"a success without a document is none", program("empty", "exit 0"), "", pacemaker.ErrNoDocument},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := pacemaker.FromProgram(tt.program)(t.Context())
			if !errors.Is(err, tt.err) || string(got) != tt.want {
				t.Errorf("it is %q, %v", got, err)
			}
		})
	}
	if _, err := pacemaker.FromProgram(filepath.Join(dir, "none"))(t.Context()); err == nil {
		t.Error("a program that is not there gave no error")
	}
}

func TestAnEventIsOneLineOfJSON(t *testing.T) {
	e := pacemaker.Event{At: time.Unix(0, 0).UTC(), Would: []string{"start db on a"}}
	if diff := cmp.Diff(`{"at":"1970-01-01T00:00:00Z","would":["start db on a"]}`+"\n", e.Form("json")); diff != "" {
		t.Error(diff)
	}
}
