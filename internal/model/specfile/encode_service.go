package specfile

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/keelson/keelson/internal/model/spec"
)

// mapping gathers the pairs of a mapping, without those that are not set.
type mapping []pair

func (m *mapping) text(key, value string) {
	if value != "" {
		*m = append(*m, pair{key, scalar(value)})
	}
}

func (m *mapping) unit(key string, value fmt.Stringer, set bool) {
	if set {
		*m = append(*m, pair{key, bare(value.String())})
	}
}

func (m *mapping) number(key string, n int) {
	if n != 0 {
		*m = append(*m, pair{key, bare(strconv.Itoa(n))})
	}
}

func (m *mapping) optionalNumber(key string, n *int) {
	if n != nil {
		*m = append(*m, pair{key, bare(strconv.Itoa(*n))})
	}
}

func (m *mapping) optionalDuration(key string, d *spec.Duration) {
	if d != nil {
		*m = append(*m, pair{key, bare(d.String())})
	}
}

func (m *mapping) truth(key string, value bool) {
	if value {
		*m = append(*m, pair{key, bare("true")})
	}
}

func (m *mapping) nested(key string, inner mapping) {
	if len(inner) > 0 {
		*m = append(*m, pair{key, []pair(inner)})
	}
}

func (m *mapping) texts(key string, values map[string]string) {
	var inner mapping
	for _, k := range slices.Sorted(maps.Keys(values)) {
		inner = append(inner, pair{k, scalar(values[k])})
	}
	m.nested(key, inner)
}

func list[T ~string](m *mapping, key string, values []T) {
	if len(values) == 0 {
		return
	}
	out := make(flow, 0, len(values))
	for _, v := range values {
		out = append(out, string(v))
	}
	*m = append(*m, pair{key, out})
}

func serviceNode(s spec.Service) []pair {
	var m mapping
	m.text("kind", kindService)
	m.text("name", string(s.Name))
	if s.Exclusive != nil {
		m = append(m, pair{"exclusive", bare(strconv.FormatBool(*s.Exclusive))})
	}
	m.truth("stopped", s.Stopped)
	m.number("priority", s.Priority)
	parts := make([][]pair, 0, len(s.Parts))
	for _, p := range withoutDefaultNames(s) {
		parts = append(parts, partNode(p))
	}
	m = append(m, pair{"parts", parts})
	m.nested("copies", copiesNode(s.Copies))
	after(&m, s.After)
	needs(&m, s.Needs)
	m.truth("maintenance", s.Maintenance)
	m.nested("place", placeNode(s.Place))
	m.nested("failover", failoverNode(s.Failover))
	m.texts("labels", s.Labels)
	return m
}

// withoutDefaultNames returns the parts of s without the names that they would
// get anyway.
func withoutDefaultNames(s spec.Service) []spec.Part {
	want := s.Normalize().Parts
	bare := slices.Clone(want)
	for i := range bare {
		bare[i].Name = ""
	}
	names := spec.Service{Parts: bare}.Normalize().Parts
	for i := range want {
		if names[i].Name != want[i].Name {
			return want
		}
	}
	return bare
}

func partNode(p spec.Part) []pair {
	var m mapping
	if a := p.Address; a != nil && a.Interface == "" {
		m.text(spec.KindAddress, a.Prefix)
	} else if a != nil {
		var inner mapping
		inner.text("prefix", a.Prefix)
		inner.text("interface", a.Interface)
		m.nested(spec.KindAddress, inner)
	}
	if p.Exec != nil {
		if inner := execNode(*p.Exec); len(inner) == 1 {
			list(&m, spec.KindExec, p.Exec.Command)
		} else {
			m.nested(spec.KindExec, inner)
		}
	}
	m.text("name", p.Name)
	m.nested("check", checkNode(p.Check))
	var checks mapping
	checks.nested("startup", checkNode(p.Checks.Startup))
	checks.nested("liveness", checkNode(p.Checks.Liveness))
	checks.nested("readiness", checkNode(p.Checks.Readiness))
	m.nested("checks", checks)
	m.unit("start_timeout", p.StartTimeout, p.StartTimeout != 0)
	m.unit("stop_timeout", p.StopTimeout, p.StopTimeout != 0)
	m.text("role", string(p.Role))
	return m
}

func execNode(e spec.Exec) mapping {
	var m mapping
	list(&m, "command", e.Command)
	m.text("user", e.User)
	m.text("group", e.Group)
	m.text("dir", e.Dir)
	m.texts("env", e.Env)
	m.text("stop_signal", e.StopSignal)
	m.optionalDuration("grace", e.Grace)
	list(&m, "promote", e.Promote)
	list(&m, "demote", e.Demote)
	var limits mapping
	limits.unit("memory", e.Limits.Memory, e.Limits.Memory != 0)
	if cpu := e.Limits.CPU; cpu != 0 {
		limits = append(limits, pair{"cpu", bare(strconv.FormatFloat(cpu, 'f', -1, 64))})
	}
	limits.number("processes", e.Limits.Processes)
	limits.number("open_files", e.Limits.OpenFiles)
	m.nested("limits", limits)
	m.unit("output", e.OutputBytes, e.OutputBytes != 0)
	return m
}

func checkNode(c *spec.Check) mapping {
	var m mapping
	if c == nil {
		return m
	}
	m.text("http", c.HTTP)
	m.text("tcp", c.TCP)
	list(&m, "exec", c.Exec)
	m.unit("every", c.Every, c.Every != 0)
	m.unit("timeout", c.Timeout, c.Timeout != 0)
	m.unit("after", c.After, c.After != 0)
	m.number("failures", c.Failures)
	m.number("successes", c.Successes)
	return m
}

func placeNode(p spec.Place) mapping {
	var m mapping
	list(&m, "on", p.On)
	list(&m, "never", p.Never)
	if len(p.Prefer) > 0 {
		items := make([][]pair, 0, len(p.Prefer))
		for _, pref := range p.Prefer {
			var item mapping
			item.text("label", pref.Label)
			item.text("node", string(pref.Node))
			item.number("score", pref.Score)
			item.text("role", string(pref.Role))
			item.moment("from", pref.From)
			item.moment("until", pref.Until)
			items = append(items, item)
		}
		m = append(m, pair{"prefer", items})
	}
	list(&m, "apart", p.Apart)
	list(&m, "together", p.Together)
	near(&m, p.Near)
	list(&m, "spread", p.Spread)
	m.optionalNumber("stickiness", p.Stickiness)
	return m
}

func failoverNode(f spec.Failover) mapping {
	var m mapping
	m.unit("ttl", f.TTL, f.TTL != 0)
	m.text("proof", string(f.Proof))
	m.optionalNumber("restarts", f.Restarts)
	m.unit("within", f.Within, f.Within != 0)
	m.optionalDuration("agent_loss", f.AgentLoss)
	m.text("on_quorum_loss", string(f.OnQuorumLoss))
	m.text("stop_failure", string(f.StopFailure))
	return m
}
