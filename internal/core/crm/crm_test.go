package crm

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/model/cib"
	"github.com/keelson/keelson/internal/model/spec"
)

// noon is when the tests happen.
var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

const head = `<cib have-quorum="1"><configuration><crm_config><cluster_property_set id="o">
<nvpair id="o1" name="stonith-enabled" value="false"/></cluster_property_set></crm_config>
<nodes><node id="1" uname="a"><instance_attributes id="ia"><nvpair id="ia1" name="ssd" value="true"/></instance_attributes></node><node id="2" uname="b"/></nodes>`

const tail = `<status><node_state id="1" uname="a" in_ccm="true" crmd="online" join="member" expected="member"/>
<node_state id="2" uname="b" in_ccm="true" crmd="online" join="member" expected="member"/></status></cib>`

func read(t *testing.T, resources, constraints string) *cib.Element {
	t.Helper()
	root, err := cib.Read(strings.NewReader(head + "<resources>" + resources + "</resources><constraints>" + constraints + "</constraints></configuration>" + tail))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func TestAnImportSaysWhatItTakesAndWhatItLeaves(t *testing.T) {
	root := read(t, `
		<group id="Shop"><primitive id="ip" class="ocf" provider="heartbeat" type="IPaddr2"><instance_attributes id="i"><nvpair id="i1" name="ip" value="10.0.0.9"/><nvpair id="i2" name="cidr_netmask" value="24"/></instance_attributes></primitive></group>
		<primitive id="disk" class="ocf" provider="heartbeat" type="Filesystem"/>`,
		`<rsc_location id="l" rsc="Shop" node="b" score="-INFINITY"/><rsc_colocation id="c" rsc="Shop" with-rsc="disk" score="INFINITY"/>`)
	services, notes := Import(root, noon)
	sticky := 0
	want := []spec.Service{{
		Name: "shop", Parts: []spec.Part{{Address: &spec.Address{Prefix: "10.0.0.9/24"}}},
		Place: spec.Place{Never: []spec.NodeName{"b"}, Stickiness: &sticky},
	}}
	if diff := cmp.Diff(want, services); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
	wantNotes := []string{
		"primitive disk: no kind of part does what ocf:heartbeat:Filesystem does, so its service is not written",
		"rsc_colocation c: it is left out, with what it is about",
	}
	if diff := cmp.Diff(wantNotes, notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
}

func TestRulesOverLabelsAndDatesMoveResources(t *testing.T) {
	tests := []struct {
		name, rule, want string
	}{
		{"a label that a node has", `<expression id="e" attribute="ssd" operation="eq" value="true"/>`, "b"},
		{"a date that has come", `<date_expression id="e" operation="gt" start="2025-01-01"/><expression id="f" attribute="#uname" operation="eq" value="a"/>`, "b"},
		{"a date that is to come", `<date_expression id="e" operation="gt" start="2027-01-01"/>`, "a"},
		{"hours of the day", `<date_expression id="e" operation="date_spec"><date_spec id="s" hours="9-16"/></date_expression><expression id="f" attribute="#uname" operation="eq" value="a"/>`, "b"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := read(t, `<primitive id="r" class="ocf" provider="p" type="Dummy"/>`,
				`<rsc_location id="l" rsc="r"><rule id="u" score="-INFINITY" boolean-op="and">`+tt.rule+`</rule></rsc_location>`)
			got := Simulate(root, noon).After
			want := map[string][]Seat{"r": {{Count: 1, Node: tt.want, Role: "Started"}}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzSimulate(f *testing.F) {
	f.Add(head + `<resources><clone id="c"><primitive id="r" class="ocf" provider="p" type="x"/></clone></resources><constraints/></configuration>` + tail)
	f.Add(`<cib><configuration><resources><group id="g"/><clone id="g"/></resources><constraints><rsc_order id="o" first="g" then="g"/><rsc_colocation id="x" rsc="g" with-rsc="g" score="INFINITY"/></constraints></configuration></cib>`)
	f.Fuzz(func(t *testing.T, text string) {
		root, err := cib.Read(strings.NewReader(text))
		if err != nil {
			return
		}
		if diff := cmp.Diff(Simulate(root, noon), Simulate(root, noon)); diff != "" {
			t.Fatalf("two outcomes of one document:\n%s", diff)
		}
		Import(root, noon)
	})
}
