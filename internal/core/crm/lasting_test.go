package crm

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/model/cib"
	"github.com/keelson/keelson/internal/model/spec"
)

// moving is a cluster that counts health, of which a node is ill at the moment, and
// whose attribute pingd an agent sets.
func moving(t *testing.T, options, resources, constraints string) *cib.Element {
	t.Helper()
	root, err := cib.Read(strings.NewReader(`<cib have-quorum="1"><configuration><crm_config><cluster_property_set id="o">
<nvpair id="o1" name="stonith-enabled" value="false"/>` + options + `</cluster_property_set></crm_config>
<nodes><node id="1" uname="a"><instance_attributes id="ia"><nvpair id="ia1" name="ssd" value="true"/></instance_attributes>
<utilization id="ua"><nvpair id="ua1" name="cpu" value="4"/></utilization></node><node id="2" uname="b"/></nodes>
<resources>` + resources + `</resources><constraints>` + constraints + `</constraints></configuration><status>
<node_state id="1" uname="a" in_ccm="true" crmd="online" join="member" expected="member"><transient_attributes id="1"><instance_attributes id="t">
<nvpair id="t1" name="#health-disk" value="red"/><nvpair id="t2" name="pingd" value="0"/></instance_attributes></transient_attributes></node_state>
<node_state id="2" uname="b" in_ccm="true" crmd="online" join="member" expected="member"/></status></cib>`))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func program(id, more string) string {
	return `<primitive id="` + id + `" class="ocf" provider="heartbeat" type="anything"><instance_attributes id="` + id + `-i">` +
		`<nvpair id="` + id + `-b" name="binfile" value="/bin/x"/></instance_attributes>` + more + `</primitive>`
}

// TestWhatPassesIsNotWritten compares what a cluster's moment does to its services,
// which is nothing, with what it does to the decision of now.
func TestWhatPassesIsNotWritten(t *testing.T) {
	const health = `<nvpair id="h" name="node-health-strategy" value="migrate-on-red"/>`
	tests := []struct {
		name, options, constraints, more string
		place                            spec.Place
		note                             string
		after                            string // of node a, which is ill; b: it is left
	}{
		{
			name: "a node is ill", options: health, after: "b",
			note: "node a: its health #health-disk=red is of this moment, so no service is kept from it",
		},
		{
			name: "an agent says that a node reaches nobody", after: "b",
			constraints: `<rsc_location id="l" rsc="r"><rule id="u" score="-INFINITY"><expression id="e" attribute="pingd" operation="lte" value="0"/></rule></rsc_location>`,
			note:        "rsc_location l: its rule asks for the attribute pingd, which is not one of the configuration, so it is left out",
		},
		{
			name: "the hour", after: "b",
			constraints: `<rsc_location id="l" rsc="r"><rule id="u" score="-INFINITY"><expression id="e" attribute="#uname" operation="eq" value="a"/><date_expression id="d" operation="gt" start="2020-01-01"/></rule></rsc_location>`,
			note:        "rsc_location l: its rule asks for the time, so it is left out",
		},
		{
			name: "a constraint that lives for a while", after: "b",
			constraints: `<rsc_location id="l" rsc="r" node="a" score="-INFINITY"><lifetime><rule id="u"><date_expression id="d" operation="gt" start="2020-01-01"/></rule></lifetime></rsc_location>`,
			note:        "rsc_location l: it has a lifetime, so it is left out",
		},
		{
			name: "a constraint whose life is over", after: "a",
			constraints: `<rsc_location id="l" rsc="r" node="a" score="-INFINITY"><lifetime><rule id="u"><date_expression id="d" operation="lt" end="2020-01-01"/></rule></lifetime></rsc_location>`,
			note:        "rsc_location l: it has a lifetime, so it is left out",
		},
		{
			name: "options that count for an hour", after: "",
			more: `<meta_attributes id="m"><rule id="u"><date_expression id="d" operation="gt" start="2020-01-01"/></rule><nvpair id="m1" name="target-role" value="Stopped"/></meta_attributes>`,
			note: "meta_attributes m: its rule asks for the time, so it is left out",
		},
		{
			name: "a rule over what the configuration says of a node lasts", after: "b",
			constraints: `<rsc_location id="l" rsc="r"><rule id="u" score="-INFINITY"><expression id="e" attribute="ssd" operation="eq" value="true"/></rule></rsc_location>`,
			note:        "rsc_location l: its rule is written as what it gives for the nodes that the configuration has", place: spec.Place{Never: []spec.NodeName{"a"}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := moving(t, tt.options, program("r", tt.more), tt.constraints)
			services, notes := Import(root, noon)
			if len(services) != 1 {
				t.Fatalf("%d services", len(services))
			}
			sticky := 0
			tt.place.Stickiness = &sticky
			if diff := cmp.Diff(tt.place, services[0].Place); diff != "" || services[0].Stopped {
				t.Errorf("the service's place (-want +got), stopped=%t:\n%s", services[0].Stopped, diff)
			}
			if written := strings.Contains(strings.Join(notes, "\n"), "is written as what it gives"); written != (len(tt.place.Never) > 0) {
				t.Errorf("that a rule is written is said: %t", written)
			}
			if !slices.Contains(notes, tt.note) {
				t.Errorf("no note says %q; they are:\n%s", tt.note, strings.Join(notes, "\n"))
			}
			want := []Seat{{Count: 1, Node: tt.after, Role: "Started"}}
			if tt.after == "" {
				want = []Seat{}
			}
			if diff := cmp.Diff(want, Simulate(root, noon).After["r"]); diff != "" {
				t.Errorf("what is decided now (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFailuresAndMaintenanceOfANodeAreNotWritten(t *testing.T) {
	root := moving(t, "", program("r", `<operations><op id="q" name="monitor" interval="10s" on-fail="block"/></operations>`), "")
	state := root.Child("status").Children[0]
	state.Children = append(state.Children, parseElement(t, `<lrm id="1"><lrm_resources><lrm_resource id="r" class="ocf" provider="heartbeat" type="anything">
<lrm_rsc_op id="r_mon" operation="monitor" interval="10000" call-id="4" rc-code="1" op-status="0" transition-key="1:1:0:x"/></lrm_resource></lrm_resources></lrm>`))
	services, _ := Import(root, noon)
	if len(services) != 1 || services[0].Maintenance || services[0].Stopped {
		t.Errorf("a failure of this moment is written: %+v", services)
	}
}

func parseElement(t *testing.T, text string) *cib.Element {
	t.Helper()
	root, err := cib.Read(strings.NewReader(`<cib><configuration/>` + text + `</cib>`))
	if err != nil {
		t.Fatal(err)
	}
	return root.Children[1]
}

func TestUtilizationIsWrittenOnlyWhereItCounts(t *testing.T) {
	uses := program("r", `<utilization id="u"><nvpair id="u1" name="cpu" value="2"/></utilization>`)
	tests := []struct {
		name, strategy string
		want           map[string]int
		notes          []string
	}{
		{"by default it does not", "", nil, []string{
			"primitive r: its utilization (cpu) is left out: placement-strategy is default, so the cluster does not count it",
			"node a: its capacity cpu=4 is left out: placement-strategy is default, so the cluster does not count it",
		}},
		{"a strategy counts it", `<nvpair id="p" name="placement-strategy" value="balanced"/>`, map[string]int{"cpu": 2}, []string{
			"node a: its capacity is left out: give the node the label capacity/cpu=4",
			"needs of cpu: give every node its label capacity/cpu before you apply them: once one node has it, a node without it has none, and what needs cpu leaves it or is not started there",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			services, notes := Import(moving(t, tt.strategy, uses, ""), noon)
			if len(services) != 1 {
				t.Fatalf("%d services", len(services))
			}
			if diff := cmp.Diff(tt.want, services[0].Needs); diff != "" {
				t.Errorf("needs (-want +got):\n%s", diff)
			}
			for _, n := range tt.notes {
				if !slices.Contains(notes, n) {
					t.Errorf("no note says %q; they are:\n%s", n, strings.Join(notes, "\n"))
				}
			}
		})
	}
}

func TestWhatASimulationDoesNotHeedIsNoted(t *testing.T) {
	root := moving(t, `<nvpair id="x" name="shutdown-lock" value="true"/><nvpair id="y" name="batch-limit" value="3"/>`,
		program("r", `<meta_attributes id="m"><nvpair id="m1" name="of-tomorrow" value="1"/><nvpair id="m2" name="priority" value="1"/></meta_attributes>`),
		`<rsc_ticket id="k" rsc="r" ticket="t"/>`)
	want := []string{
		"rsc_ticket k: it is left out", "the cluster's option shutdown-lock=true is not heeded", "primitive r: its option of-tomorrow=1 is not heeded",
	}
	if diff := cmp.Diff(want, Simulate(root, noon).Not); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
}
