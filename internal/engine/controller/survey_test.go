package controller

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
	"github.com/keelson/keelson/internal/store/memstore"
)

// everything is a store that has a record of each kind.
func everything(t *testing.T) (*memstore.Store, map[string]bool) {
	t.Helper()
	seconds := noon.Add(-1e9)
	records := map[string]any{
		record.KeyCell:         record.Cell{Created: noon},
		record.KeyLease:        record.Lease{Voters: 3, LongestTTL: spec.Duration(spec.MinTTL)},
		record.KeyNodes + "a":  record.Node{Name: "a", Slot: 0, Labels: map[string]string{"ssd": "true"}},
		record.KeyNodes + "b":  record.Node{Name: "b", Slot: 1},
		record.KeySlots + "0":  "a",
		record.KeyWishes + "a": record.NodeWish{Drain: true, Maintenance: true, Trust: seconds},
		record.KeyCellWish:     record.CellWish{Maintenance: true},
		record.KeyServices + "shop": record.Service{
			Spec: spec.Service{Name: "shop"}, ID: 6, Generation: 3, Cleared: map[spec.NodeName]time.Time{"a": seconds}, Move: &record.Move{From: "b"},
		},
		record.KeyPlacements + "shop": record.Placement{Service: "shop", Generation: 3, Order: []spec.NodeName{"b", "a"}},
		record.KeyReports + "a": record.Report{Node: "a", At: seconds, Health: record.Health{Score: -7}, Instances: []fact.Instance{
			{Service: "shop", Phase: fact.Failed, FailedUntil: noon.Add(1e9)},
		}},
		record.KeyReports + "b":             record.Report{Node: "b", At: seconds, Instances: []fact.Instance{}},
		record.KeyTokens + "t":              record.Token{},
		record.KeyEvents + "1":              "x",
		record.KeyEventHead:                 record.EventHead{},
		record.KeyController:                "a",
		record.KeyRevoked + "z":             record.Revoked{Node: "z", At: seconds},
		record.KeyServiceIDs + "6":          "shop",
		record.KeyAddressUses + "192.0.2.1": "shop",
		record.KeyRecovery:                  spec.Recovery{CellMoves: 9},
		record.KeyHeld:                      record.Held{Why: "x", Since: seconds},
		record.KeyStorm:                     fact.Storm{Since: seconds, Nodes: []spec.NodeName{"b"}},
		record.KeyNodeHistories + "b":       fact.NodeHistory{Node: "b", Trust: fact.Quarantined, Times: 1, Until: noon.Add(1e12)},
		record.KeyServiceHistories + "shop": fact.ServiceHistory{
			Service: "shop", Generation: 3, Stopped: seconds, Tried: []fact.Try{{Node: "a", At: seconds}, {Node: "b", At: seconds}},
		},
		record.KeyDecisions + "1-x": record.Decision{Plan: "x"},
		record.KeyPending + "shop":  record.Pending{},
	}
	s := memstore.New(clock.System{})
	kinds := map[string]bool{}
	for key, v := range records {
		if _, _, err := s.Txn(t.Context(), nil, []store.Op{put(key, v)}); err != nil {
			t.Fatal(err)
		}
		prefix, name := split(key)
		if prefix == "" {
			prefix = name
		}
		kinds[prefix] = true
	}
	return s, kinds
}

// keysOfRecords are the constants of package record that name keys.
func keysOfRecords(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../model/record/record.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		v, is := n.(*ast.ValueSpec)
		if !is {
			return true
		}
		for i, name := range v.Names {
			if lit, plain := literal(v, i); plain && strings.HasPrefix(name.Name, "Key") {
				out[name.Name] = lit
			}
		}
		return true
	})
	return out
}

func literal(v *ast.ValueSpec, i int) (string, bool) {
	if i >= len(v.Values) {
		return "", false
	}
	lit, is := v.Values[i].(*ast.BasicLit)
	if !is {
		return "", false
	}
	text, err := strconv.Unquote(lit.Value)
	return text, err == nil
}

// A question about a decision must be answered from all that the decision is made
// of: what a node or a service went through as much as what is wished.
func TestASurveySeesAllThatTheControllerSees(t *testing.T) {
	s, kinds := everything(t)
	for name, key := range keysOfRecords(t) {
		if !kinds[key] {
			t.Errorf("the store of this test has no record under record.%s: add one, with values that show in a snapshot", name)
		}
	}
	sight := Sight{Up: true, State: guardwire.State{Quorate: true, Alive: 1, Lost: 2, Holders: map[uint32]uint8{6: 0}}}
	m := newMirror()
	entries, revision, err := s.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := m.apply(store.Event{Entry: e}, noon.Add(-1e9)); err != nil {
			t.Fatal(err)
		}
	}
	m.revision = revision
	want := m.snapshot(sight, noon)

	got, err := Survey(t.Context(), s, sight, noon)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("a survey is not what the controller decides on (-controller +survey):\n%s", diff)
	}
	if len(got.History.Nodes) == 0 || len(got.History.Services) == 0 || got.History.Storm == nil || got.Recovery.CellMoves != 9 || !got.Maintenance {
		t.Errorf("the snapshot lacks what the store has: %+v", got)
	}
}
