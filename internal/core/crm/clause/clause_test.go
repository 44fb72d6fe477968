package clause

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/model/cib"
)

func TestValuesAreReadAsTheIncumbentReadsThem(t *testing.T) {
	scores := map[string]int{"INFINITY": Inf, "+infinity": Inf, "-INFINITY": -Inf, "5": 5, "-7x": -7, "9999999": Inf, "": 3, "red": 0}
	for text, want := range scores {
		if got := Score(text, 3); got != want {
			t.Errorf("the score %q is %d, not %d", text, got, want)
		}
	}
	durations := map[string]time.Duration{
		"10": 10 * time.Second, "10s": 10 * time.Second, "5min": 5 * time.Minute, "300ms": 300 * time.Millisecond,
		"2h": 2 * time.Hour, "PT1H30M": 90 * time.Minute, "P1D": 24 * time.Hour, "": 0,
	}
	for text, want := range durations {
		if got := Duration(text); got != want {
			t.Errorf("the time %q is %v, not %v", text, got, want)
		}
	}
	for text, want := range map[string]bool{"on": true, "Yes": true, "1": true, "off": false, "": false, "maybe": false} {
		if Truth(text) != want {
			t.Errorf("%q is not %v", text, want)
		}
	}
	if CompareVersions("3.0.13", "3.0.9") <= 0 || CompareVersions("2.1", "3.0.13") >= 0 || CompareVersions("3.1", "3.1.0") != 0 {
		t.Error("versions are compared number by number")
	}
}

func TestAFingerprintIsThatOfTheHistories(t *testing.T) {
	// The first is in the history of every resource without parameters.
	for want, params := range map[string]Attrs{
		"f2317cad3d54cec5d7d7aa7d0bf35cf8": {},
	} {
		if got := Fingerprint(params); got != want {
			t.Errorf("the fingerprint of %v is %s, not %s", params, got, want)
		}
	}
	if Fingerprint(Attrs{"a": "1", "b": "<"}) == Fingerprint(Attrs{"a": "1", "b": ">"}) {
		t.Error("different parameters have one fingerprint")
	}
}

func parse(t *testing.T, text string) (*Reader, *cib.Element) {
	t.Helper()
	root, err := cib.Read(strings.NewReader("<cib><configuration>" + text + "</configuration></cib>"))
	if err != nil {
		t.Fatal(err)
	}
	r := &Reader{Now: time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC), ByID: map[string]*cib.Element{}}
	root.Walk(func(e *cib.Element) { r.ByID[e.ID()] = e })
	return r, root.Child("configuration")
}

func TestRulesHold(t *testing.T) {
	tests := []struct {
		name, rule string
		want       bool
	}{
		{"an empty rule", `<rule id="r"/>`, true},
		{"an attribute that is equal", `<rule id="r"><expression id="e" attribute="disk" operation="eq" value="SSD"/></rule>`, true},
		{"a number that is less", `<rule id="r"><expression id="e" attribute="cores" operation="lt" value="9" type="number"/></rule>`, true},
		{"an attribute that nobody has is not equal", `<rule id="r"><expression id="e" attribute="none" operation="ne" value="1"/></rule>`, true},
		{"one of two with or", `<rule id="r" boolean-op="or"><expression id="e" attribute="none" operation="defined"/><expression id="f" attribute="disk" operation="defined"/></rule>`, true},
		{"one of two with and", `<rule id="r"><expression id="e" attribute="none" operation="defined"/><expression id="f" attribute="disk" operation="defined"/></rule>`, false},
		{"a day that is past", `<rule id="r"><date_expression id="d" operation="lt" end="2026-01-01"/></rule>`, false},
		{"an hour of the day", `<rule id="r"><date_expression id="d" operation="date_spec"><date_spec id="s" hours="9-16"/></date_expression></rule>`, true},
		{"a rule within itself", `<rule id="r"><rule id="s" id-ref="r"/></rule>`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, conf := parse(t, tt.rule)
			node := &Subject{Attribute: func(name string) (string, bool) {
				v, ok := map[string]string{"disk": "ssd", "cores": "8"}[name]
				return v, ok
			}}
			if got := r.Holds(conf.Child("rule"), node); got != tt.want {
				t.Errorf("it holds: %v", got)
			}
		})
	}
}

func TestOfTwoSetsTheOneWithTheHigherScoreCounts(t *testing.T) {
	r, conf := parse(t, `<x id="x"><meta_attributes id="a" score="1"><nvpair id="a1" name="k" value="low"/><nvpair id="a2" name="only" value="here"/></meta_attributes>
		<meta_attributes id="b" score="2"><nvpair id="b1" name="k" value="high"/></meta_attributes><meta_attributes id="c" id-ref="gone"/></x>`)
	want := Attrs{"k": "high", "only": "here"}
	if diff := cmp.Diff(want, r.Sets(conf.Child("x"), "meta_attributes", nil)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
