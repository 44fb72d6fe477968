package crm

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/model/cib"
)

// TestDecisionsOfTheIncumbent are small clusters on which the incumbent's answer is
// known and not obvious. Each was found by asking it.
func TestDecisionsOfTheIncumbent(t *testing.T) {
	p := func(id, meta string) string {
		if meta != "" {
			name, value, _ := strings.Cut(meta, "=")
			meta = fmt.Sprintf(`<meta_attributes id="%s-m"><nvpair id="%s-n" name="%s" value="%s"/></meta_attributes>`, id, id, name, value)
		}
		return `<primitive id="` + id + `" class="ocf" provider="p" type="x">` + meta + `</primitive>`
	}
	runs := func(id string) string {
		return `<lrm_resource id="` + id + `" class="ocf" provider="p" type="x"><lrm_rsc_op id="` + id + `_last_0" operation="start" interval="0" call-id="2" rc-code="0" op-status="0" transition-key="1:1:0:x"/></lrm_resource>`
	}
	stopFailed := func(id string) string {
		return `<lrm_resource id="` + id + `" class="ocf" provider="p" type="x"><lrm_rsc_op id="` + id + `_last_failure_0" operation="stop" interval="0" call-id="2" rc-code="1" op-status="0" transition-key="1:1:0:x"/></lrm_resource>`
	}
	tests := []struct {
		name, options, node, resources, constraints, attributes, history string
		want                                                             map[string]string
	}{
		{
			name: "a member that is not managed keeps those before it", resources: `<group id="g">` + p("g1", "target-role=Stopped") + p("g2", "is-managed=false") + `</group>`,
			history: runs("g1") + runs("g2"), want: map[string]string{"g1": "a", "g2": "a"},
		},
		{
			name: "what follows a resource that would not stop does not start", resources: p("x", "") + p("y", ""),
			constraints: `<rsc_order id="o" first="x" then="y"/>`, history: stopFailed("x"), want: map[string]string{"x": "a", "y": ""},
		},
		{
			name: "a node's own score outweighs a dislike", node: ` score="100"`, resources: p("x", ""),
			constraints: `<rsc_location id="l" rsc="x" node="a" score="-50"/><rsc_location id="k" rsc="x" node="b" score="-50"/>`, want: map[string]string{"x": "a"},
		},
		{
			name: "the options that the tools write count before others", options: `<cluster_property_set id="cib-bootstrap-options"><nvpair id="z" name="stop-all-resources" value="true"/></cluster_property_set>`,
			resources: p("x", ""), history: runs("x"), want: map[string]string{"x": ""},
		},
		{
			name: "a fail count without its operation is none", resources: p("x", ""), attributes: `<nvpair id="f" name="fail-count-x" value="INFINITY"/>`, want: map[string]string{"x": "a"},
		},
		{
			name: "a fail count with its operation is one", resources: p("x", ""), attributes: `<nvpair id="f" name="fail-count-x#start_0" value="INFINITY"/>`, want: map[string]string{"x": "b"},
		},
		{
			name: "a rule between two tags has no effect", resources: p("x", "") + p("y", ""), constraints: `<rsc_colocation id="c" rsc="tx" with-rsc="ty" score="INFINITY"/>`,
			want: map[string]string{"x": "a", "y": "b"},
		},
		{
			name: "of a set that needs not all one is enough", resources: p("x", "") + p("y", "target-role=Stopped") + p("z", ""),
			constraints: `<rsc_order id="o"><resource_set id="s" require-all="false"><resource_ref id="x"/><resource_ref id="y"/></resource_set><resource_set id="t"><resource_ref id="z"/></resource_set></rsc_order>`,
			want:        map[string]string{"x": "a", "y": "", "z": "b"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := `<cib have-quorum="1" crm_feature_set="3.16.1"><configuration><crm_config><cluster_property_set id="o"><nvpair id="o1" name="stonith-enabled" value="false"/><nvpair id="o2" name="stop-all-resources" value="false"/></cluster_property_set>` + tt.options + `</crm_config>
<nodes><node id="1" uname="a"` + tt.node + `/><node id="2" uname="b"/></nodes><resources>` + tt.resources + `</resources><constraints>` + tt.constraints + `</constraints>
<tags><tag id="tx"><obj_ref id="x"/></tag><tag id="ty"><obj_ref id="y"/></tag></tags></configuration><status>
<node_state id="1" uname="a" in_ccm="true" crmd="online" join="member" expected="member"><transient_attributes id="1"><instance_attributes id="t">` + tt.attributes + `</instance_attributes></transient_attributes><lrm id="1"><lrm_resources>` + tt.history + `</lrm_resources></lrm></node_state>
<node_state id="2" uname="b" in_ccm="true" crmd="online" join="member" expected="member"/></status></cib>`
			root, err := cib.Read(strings.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for name, seats := range Simulate(root, noon).After {
				got[name] = ""
				for _, s := range seats {
					got[name] += s.Node
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
