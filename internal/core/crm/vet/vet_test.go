package vet

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/model/cib"
)

func read(t testing.TB, nodes, resources, constraints string) *cib.Element {
	t.Helper()
	root, err := cib.Read(strings.NewReader(`<cib><configuration><crm_config/><nodes>` + nodes + `</nodes><resources>` + resources +
		`</resources><constraints>` + constraints + `</constraints></configuration></cib>`))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func TestWhatIsChangedOrPassedOverIsNoted(t *testing.T) {
	tests := []struct {
		name                          string
		nodes, resources, constraints string
		want                          []string
	}{
		{name: "nothing", nodes: `<node id="1" uname="a"/>`, resources: `<primitive id="r"/>`, constraints: `<rsc_location id="l" rsc="r" node="a" score="INFINITY"/>`},
		{
			name: "an id twice", resources: `<primitive id="r"/><primitive id="r"/>`,
			want: []string{"primitive r: its id is there twice, first of a primitive; what names it means the first"},
		},
		{
			name: "a node's name twice", nodes: `<node id="1" uname="a"/><node id="2" uname="A"/>`,
			want: []string{"node 2: another node is named A too, and what names it means the first"},
		},
		{
			name: "resources that bring nodes with them", resources: `<primitive id="vm" type="VirtualDomain"><meta_attributes id="m"><nvpair id="x" name="remote-node" value="guest"/></meta_attributes></primitive>` +
				`<group id="g"><primitive id="far" provider="pacemaker" type="remote"/></group><primitive id="near" provider="heartbeat" type="remote"/>`,
			want: []string{"primitive vm: its guest node guest is left out", "primitive far: it connects to a remote node, which is left out"},
		},
		{name: "no id", resources: `<primitive/>`, want: []string{"primitive: one has no id"}},
		{
			name: "scores that are none", constraints: `<rsc_location id="l" score="abc"/><rsc_location id="m" score="NaN"/><rsc_location id="n" score="7 or so"/><rsc_location id="o" score="-2000000"/>`,
			want: []string{
				"rsc_location l: its score=abc is not a number: only digits that it begins with count", "rsc_location m: its score=NaN is not a number: only digits that it begins with count",
				`rsc_location n: its score="7 or so" is not a number: only digits that it begins with count`, "rsc_location o: its score=-2000000 counts as -1000000",
			},
		},
		{
			name: "a number of a kilobyte", constraints: `<rsc_location id="l" score="` + strings.Repeat("9", 1024) + `"/>`,
			want: []string{"rsc_location l: its score=" + strings.Repeat("9", 60) + "... is beyond all numbers: its digits are not counted"},
		},
		{
			name: "instances", resources: `<clone id="c"><meta_attributes id="m"><nvpair id="x" name="clone-max" value="1000000000"/>` +
				`<nvpair id="y" name="promoted-max" value="99999999999999999999"/><nvpair id="z" name="clone-node-max" value="-1"/></meta_attributes><primitive id="r"/></clone>`,
			want: []string{
				"nvpair x: its clone-max=1000000000 is cut: 1000 is the most", "nvpair y: its promoted-max=99999999999999999999 is beyond all numbers and counts as if it were not there",
				"nvpair z: its clone-node-max=-1 is less than nothing",
			},
		},
		{
			name: "an id that a terminal obeys", resources: "<primitive id=\"r\u009b2J\"/><primitive id=\"r\u009b2J\"/>",
			want: []string{`primitive "r\u009b2J": its id is there twice, first of a primitive; what names it means the first`},
		},
		{
			name:        "orders in a circle",
			constraints: `<rsc_order id="1" first="a" then="b"/><rsc_order id="2" first="b" then="c"/><rsc_order id="3" first="c" then="a"/><rsc_order id="4" first="c" then="d"/>`,
			want:        []string{"rsc_order: these go in a circle: a before b before c before a"},
		},
		{name: "orders in a circle that need not be kept", constraints: `<rsc_order id="1" first="a" then="b" kind="Optional"/><rsc_order id="2" first="b" then="a"/>`},
		{name: "orders of other actions", constraints: `<rsc_order id="1" first="a" then="b"/><rsc_order id="2" first="b" then="a" first-action="stop"/>`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Check(read(t, tt.nodes, tt.resources, tt.constraints))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("notes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPairsAreBounded(t *testing.T) {
	set := func(attributes string, n int) string {
		out := "<resource_set " + attributes + ">"
		for i := range n {
			out += fmt.Sprintf(`<resource_ref id="r%d"/>`, i)
		}
		return out + "</resource_set>"
	}
	loose := set(`sequential="false"`, 1000)
	tests := []struct {
		name, constraints string
		tooMuch           bool
	}{
		{"sets that are chains", `<rsc_colocation id="c">` + set("", 1000) + set("", 1000) + `</rsc_colocation>`, false},
		{"two sets of a thousand, each with each", `<rsc_colocation id="c">` + loose + loose + `</rsc_colocation>`, true},
		{"the same, as an order", `<rsc_order id="c">` + loose + loose + `</rsc_order>`, true},
		{"a thousand apart from each other", `<rsc_colocation id="c" score="-INFINITY">` + set("", 1000) + `</rsc_colocation>`, true},
		{"ninety twice", `<rsc_colocation id="c">` + set(`sequential="false"`, 90) + set(`sequential="false"`, 90) + `</rsc_colocation>`, false},
		{"any of a thousand before each of a thousand", `<rsc_order id="c">` + set(`require-all="false"`, 1000) + loose + `</rsc_order>`, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Check(read(t, "", "", tt.constraints)); errors.Is(err, ErrTooMuch) != tt.tooMuch {
				t.Errorf("got %v", err)
			}
		})
	}
}
