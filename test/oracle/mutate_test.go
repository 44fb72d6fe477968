package oracle

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/keelson/keelson/internal/model/cib"
)

// corpus returns the documents of the incumbent's own cases.
func corpus(t *testing.T) map[string]*cib.Element {
	t.Helper()
	dir := os.Getenv("KEELSON_CORPUS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "corpus")
	}
	files, err := filepath.Glob(filepath.Join(dir, "pacemaker", "cases", "*.xml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skipf("there is no corpus in %s: set KEELSON_CORPUS to the folder that has pacemaker/cases", dir)
	}
	out := map[string]*cib.Element{}
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		root, err := cib.Read(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		out[strings.TrimSuffix(filepath.Base(path), ".xml")] = root
	}
	return out
}

// mutant is a real document that is changed by chance: another state of a node,
// another option, another result of an operation, a constraint more or less.
type mutant struct {
	*rand.Rand
	root  *cib.Element
	ids   int
	nodes []*cib.Element // node_state
	rscs  []*cib.Element // all resources
	tops  []*cib.Element
}

func mutate(from *cib.Element, seed uint64, times int) *cib.Element {
	m := &mutant{Rand: rand.New(rand.NewPCG(seed, 11)), root: clone(from)}
	for range times {
		m.look()
		if len(m.nodes) == 0 || len(m.tops) == 0 {
			break
		}
		m.once()
	}
	return m.root
}

func (m *mutant) look() {
	m.nodes = m.root.Child("status").All("node_state")
	m.rscs = nil
	conf := m.root.Child("configuration")
	conf.Child("resources").Walk(func(e *cib.Element) {
		switch e.Name {
		case "primitive", "group", "clone", "master":
			m.rscs = append(m.rscs, e)
		}
	})
	m.tops = conf.Child("resources").All("primitive", "group", "clone", "master")
}

func sorted(cases map[string]*cib.Element) []string { return slices.Sorted(maps.Keys(cases)) }

func one[T any](m *mutant, of []T) T { return of[m.IntN(len(of))] }

func (m *mutant) id() string {
	m.ids++
	return "mutant-" + strconv.Itoa(m.ids)
}

func (m *mutant) set(parent *cib.Element, kind, name, value string) {
	s := parent.Child(kind)
	if s == nil || s.Has("id-ref") {
		s = &cib.Element{Name: kind, Attrs: map[string]string{"id": m.id()}}
		parent.Children = append([]*cib.Element{s}, parent.Children...)
	}
	for _, p := range s.All("nvpair") {
		if p.Attr("name") == name {
			p.Attrs["value"] = value
			return
		}
	}
	s.Children = append(s.Children, &cib.Element{Name: "nvpair", Attrs: map[string]string{"id": m.id(), "name": name, "value": value}})
}

func (m *mutant) score() string {
	return one(m, []string{"10", "100", "INFINITY", "INFINITY", "-INFINITY", "-50", "1000"})
}

func (m *mutant) once() {
	conf := m.root.Child("configuration")
	cons := conf.Child("constraints")
	state := one(m, m.nodes)
	switch m.IntN(20) {
	case 0, 1:
		one(m, []func(){
			func() { m.setState(state, "false", "offline", "down", "down") },
			func() { m.setState(state, "false", "offline", "down", "member") },
			func() { m.setState(state, "true", "online", "member", "member") },
		})()
	case 2, 3:
		m.nodeAttribute(state, one(m, []string{"standby", "standby", "maintenance"}), one(m, []string{"true", "false", "on"}))
	case 4:
		m.set(conf.Child("crm_config"), "cluster_property_set", one(m, []string{"stonith-enabled", "maintenance-mode", "symmetric-cluster", "start-failure-is-fatal", "stop-all-resources"}), one(m, []string{"true", "false"}))
	case 5:
		m.set(conf.Child("crm_config"), "cluster_property_set", "no-quorum-policy", one(m, []string{"stop", "freeze", "ignore", "demote"}))
		m.root.Attrs["have-quorum"] = one(m, []string{"0", "1"})
	case 6, 7, 8:
		m.meta(one(m, m.rscs))
	case 9, 10:
		m.result(state)
	case 11:
		if c := children(cons); len(c) > 0 {
			i := m.IntN(len(c))
			cons.Children = append(append([]*cib.Element{}, c[:i]...), c[i+1:]...)
		}
	case 12:
		if c := children(cons); len(c) > 0 {
			if e := one(m, c); e.Has("score") {
				e.Attrs["score"] = m.score()
			}
		}
	case 13, 14, 15, 16:
		m.constraint(cons)
	case 17:
		m.transient(state, "fail-count-"+one(m, m.rscs).ID()+"#monitor_0", one(m, []string{"1", "3", "INFINITY"}))
	case 18:
		m.forget(state)
	case 19:
		m.operation(one(m, m.rscs))
	}
}

func (m *mutant) setState(s *cib.Element, in, crmd, join, expected string) {
	for k, v := range map[string]string{"in_ccm": in, "crmd": crmd, "join": join, "expected": expected} {
		s.Attrs[k] = v
	}
}

func (m *mutant) nodeAttribute(state *cib.Element, name, value string) {
	for _, n := range m.root.Child("configuration").Child("nodes").All("node") {
		if n.ID() == state.ID() || n.Attr("uname") == state.Attr("uname") {
			m.set(n, "instance_attributes", name, value)
		}
	}
}

func (m *mutant) transient(state *cib.Element, name, value string) {
	t := state.Child("transient_attributes")
	if t == nil {
		t = &cib.Element{Name: "transient_attributes", Attrs: map[string]string{"id": state.ID()}}
		state.Children = append(state.Children, t)
	}
	m.set(t, "instance_attributes", name, value)
}

func (m *mutant) meta(r *cib.Element) {
	type choice struct{ name, values string }
	c := one(m, []choice{
		{"target-role", "Stopped Started Unpromoted"},
		{"is-managed", "false true"},
		{"priority", "1 10 100"},
		{"resource-stickiness", "0 1 100 INFINITY"},
		{"migration-threshold", "1 2 3"},
		{"multiple-active", "block stop_only stop_start"},
		{"interleave", "true false"},
		{"ordered", "true false"},
		{"clone-max", "1 2 3"},
		{"notify", "true"},
		{"promoted-max", "0 1 2"},
		{"clone-min", "1 2"},
		{"requires", "nothing quorum fencing"},
		{"maintenance", "true"},
	})
	values := strings.Fields(c.values)
	m.set(r, "meta_attributes", c.name, one(m, values))
}

// result changes what came of an operation.
func (m *mutant) result(state *cib.Element) {
	var ops []*cib.Element
	state.Walk(func(e *cib.Element) {
		if e.Name == "lrm_rsc_op" && e.Attr("op-status") != "-1" {
			ops = append(ops, e)
		}
	})
	if len(ops) == 0 {
		return
	}
	op := one(m, ops)
	key := strings.Split(op.Attr("transition-key"), ":")
	if len(key) < 4 {
		return
	}
	rc := one(m, []string{"0", "1", "7", "8", "9", "5", "1"})
	op.Attrs["rc-code"] = rc
	op.Attrs["op-status"] = "0"
	if rc != key[2] {
		op.Attrs["op-status"] = one(m, []string{"0", "4"})
	}
	op.Attrs["transition-magic"] = op.Attrs["op-status"] + ":" + rc + ";" + op.Attr("transition-key")
}

// forget takes a resource's history away from a node.
func (m *mutant) forget(state *cib.Element) {
	list := state.Child("lrm").Child("lrm_resources")
	if n := len(children(list)); n > 0 {
		i := m.IntN(n)
		list.Children = append(append([]*cib.Element{}, list.Children[:i]...), list.Children[i+1:]...)
	}
}

func (m *mutant) operation(r *cib.Element) {
	for _, o := range r.Child("operations").All("op") {
		o.Attrs["on-fail"] = one(m, []string{"block", "ignore", "stop", "restart", "standby", "fence", "demote"})
		return
	}
}

func (m *mutant) constraint(cons *cib.Element) {
	if cons == nil {
		return
	}
	r := one(m, m.tops)
	node := one(m, m.nodes).Attr("uname")
	e := &cib.Element{Attrs: map[string]string{"id": m.id()}}
	switch k := m.IntN(3); {
	case k == 0 || len(m.tops) < 2:
		e.Name = "rsc_location"
		e.Attrs["rsc"], e.Attrs["node"], e.Attrs["score"] = r.ID(), node, m.score()
	default:
		// Earlier with later, so that no circle comes about by these alone.
		a := m.IntN(len(m.tops) - 1)
		b := a + 1 + m.IntN(len(m.tops)-a-1)
		if k == 1 {
			e.Name = "rsc_colocation"
			e.Attrs["rsc"], e.Attrs["with-rsc"], e.Attrs["score"] = m.tops[a].ID(), m.tops[b].ID(), m.score()
			break
		}
		e.Name = "rsc_order"
		e.Attrs["first"], e.Attrs["then"] = m.tops[b].ID(), m.tops[a].ID()
		e.Attrs["kind"] = one(m, []string{"Mandatory", "Mandatory", "Optional"})
	}
	cons.Children = append(cons.Children, e)
}

// TestMutantsOfTheIncumbentsOwnCases changes the incumbent's own cases by chance
// and compares what both would do.
func TestMutantsOfTheIncumbentsOwnCases(t *testing.T) {
	needOracle(t)
	cases := corpus(t)
	names := sorted(cases)
	seed := number("KEELSON_ORACLE_SEED", 0)
	times := number("KEELSON_ORACLE_TIMES", 2)
	out := judge(t, number("KEELSON_ORACLE", len(names)/4), func(n int) (string, *cib.Element) {
		name := names[(seed+n*7)%len(names)]
		return fmt.Sprintf("%s %d", name, seed+n), mutate(cases[name], uint64(seed+n), times)
	})
	report(t, out)
	if out.percent() < 90 {
		t.Errorf("less than 90 %% agree")
	}
}
