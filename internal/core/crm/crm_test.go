package crm

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
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
		"node a: its attribute ssd=true is left out",
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

// whole has a little of everything: history, roles, sets, rules, tags, templates.
const whole = `<cib have-quorum="1" crm_feature_set="3.16.1"><configuration>
<crm_config><cluster_property_set id="o"><nvpair id="o1" name="stonith-enabled" value="false"/><nvpair id="o2" name="placement-strategy" value="balanced"/></cluster_property_set></crm_config>
<nodes><node id="1" uname="a"><utilization id="u"><nvpair id="u1" name="cpu" value="4"/></utilization></node><node id="2" uname="b"><instance_attributes id="s"><nvpair id="s1" name="standby" value="on"/></instance_attributes></node></nodes>
<resources><template id="t" class="ocf" provider="p" type="x"/><primitive id="p" template="t"><utilization id="pu"><nvpair id="pu1" name="cpu" value="2"/></utilization></primitive>
<group id="g"><primitive id="g1" class="ocf" provider="p" type="x"/><primitive id="g2" class="ocf" provider="p" type="x"><operations><op id="q" name="monitor" interval="10s" on-fail="block"/></operations></primitive></group>
<clone id="m"><meta_attributes id="mm"><nvpair id="mm1" name="promotable" value="true"/><nvpair id="mm2" name="clone-max" value="2"/></meta_attributes><primitive id="r" class="ocf" provider="p" type="x"/></clone></resources>
<constraints><rsc_location id="l" rsc="m"><rule id="lr" role="Promoted" score="10"><expression id="le" attribute="#uname" operation="eq" value="a"/></rule></rsc_location>
<rsc_colocation id="c" score="INFINITY"><resource_set id="cs" sequential="false"><resource_ref id="p"/><resource_ref id="g"/></resource_set><resource_set id="ct" role="Promoted"><resource_ref id="m"/></resource_set></rsc_colocation>
<rsc_order id="d" first="m" first-action="promote" then="g" then-action="start"/></constraints>
<tags><tag id="tag"><obj_ref id="p"/><obj_ref id="g"/></tag></tags></configuration>
<status><node_state id="1" uname="a" in_ccm="true" crmd="online" join="member" expected="member"><transient_attributes id="1"><instance_attributes id="ta"><nvpair id="ta1" name="master-r" value="5"/><nvpair id="ta2" name="fail-count-g1#start_0" value="2"/></instance_attributes></transient_attributes>
<lrm id="1"><lrm_resources><lrm_resource id="r" class="ocf" provider="p" type="x"><lrm_rsc_op id="r_last_0" operation="promote" interval="0" call-id="3" rc-code="0" op-status="0" transition-key="1:1:0:x"/></lrm_resource>
<lrm_resource id="g2" class="ocf" provider="p" type="x"><lrm_rsc_op id="g2_last_failure_0" operation="monitor" interval="10000" call-id="4" rc-code="1" op-status="0" transition-key="1:1:0:x"/></lrm_resource></lrm_resources></lrm></node_state>
<node_state id="2" uname="b" in_ccm="true" crmd="online" join="member" expected="member"/></status></cib>`

// maxFuzzed bounds the documents that are fuzzed: large ones, and clones of many
// copies, take seconds each and say no more than small ones.
const maxFuzzed = 16 << 10

func FuzzSimulate(f *testing.F) {
	f.Add(head + `<resources><clone id="c"><primitive id="r" class="ocf" provider="p" type="x"/></clone></resources><constraints/></configuration>` + tail)
	f.Add(`<cib><configuration><resources><group id="g"/><clone id="g"/></resources><constraints><rsc_order id="o" first="g" then="g"/><rsc_colocation id="x" rsc="g" with-rsc="g" score="INFINITY"/></constraints></configuration></cib>`)
	f.Add(whole)
	many := regexp.MustCompile(`clone-max" value="[^"]{3}`)
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > maxFuzzed || many.MatchString(text) {
			return
		}
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

// FuzzChangedDocument changes one attribute of a good document, so that more than
// the reading of XML is tried.
func FuzzChangedDocument(f *testing.F) {
	f.Add(uint16(40), uint8(1), "g")
	f.Add(uint16(7), uint8(2), "-INFINITY")
	f.Add(uint16(90), uint8(0), "")
	f.Fuzz(func(t *testing.T, element uint16, attribute uint8, value string) {
		if len(value) > 20 {
			return
		}
		root, err := cib.Read(strings.NewReader(whole))
		if err != nil {
			t.Fatal(err)
		}
		var all []*cib.Element
		root.Walk(func(e *cib.Element) { all = append(all, e) })
		e := all[int(element)%len(all)]
		if keys := slices.Sorted(maps.Keys(e.Attrs)); len(keys) > 0 {
			e.Attrs[keys[int(attribute)%len(keys)]] = value
		} else {
			e.Children = nil
		}
		if diff := cmp.Diff(Simulate(root, noon), Simulate(root, noon)); diff != "" {
			t.Fatalf("two outcomes of one document:\n%s", diff)
		}
		Import(root, noon)
	})
}

// TestHugeClustersEnd decides on documents that ask for as much as the limits allow.
func TestHugeClustersEnd(t *testing.T) {
	var resources, constraints strings.Builder
	for i := range 4 {
		fmt.Fprintf(&resources, `<clone id="c%d"><meta_attributes id="m%d"><nvpair id="n%d" name="clone-max" value="99999999"/><nvpair id="x%d" name="clone-node-max" value="99999999"/>
			<nvpair id="u%d" name="globally-unique" value="true"/></meta_attributes><primitive id="r%d" class="ocf" provider="p" type="x"/></clone>`, i, i, i, i, i, i)
	}
	for i := range 40 {
		fmt.Fprintf(&resources, `<primitive id="p%d" class="ocf" provider="p" type="x"/>`, i)
		for k := range 40 {
			fmt.Fprintf(&constraints, `<rsc_colocation id="k%d.%d" rsc="p%d" with-rsc="p%d" score="100"/><rsc_order id="o%d.%d" first="p%d" then="p%d"/>`, i, k, i, k, i, k, i, k)
		}
	}
	out := Simulate(read(t, resources.String(), constraints.String()), noon)
	if n := len(out.After); n != 44 && n < 4*maxCopies {
		t.Errorf("%d resources", n)
	}
	tags := `<tags><tag id="a"><obj_ref id="b"/></tag><tag id="b"><obj_ref id="a"/></tag></tags>`
	root, err := cib.Read(strings.NewReader(strings.Replace(head, "</nodes>", "</nodes>"+tags, 1) +
		`<resources/><constraints><rsc_location id="l" rsc="a"><rule id="r" id-ref="r"><rule id="s" id-ref="r"/></rule></rsc_location></constraints></configuration>` + tail))
	if err != nil {
		t.Fatal(err)
	}
	Simulate(root, noon)
	Import(root, noon)
}
