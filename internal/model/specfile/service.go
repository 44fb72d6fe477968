package specfile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/keelson/keelson/internal/model/spec"
)

// kindService is the only kind of document so far.
const kindService = "service"

// document reads one document.
func (d *decoder) document(doc *ast.DocumentNode) spec.Service {
	var s spec.Service
	root := d.value(doc.Body, "", place{})
	d.mapping(root, "a mapping that begins with kind: service", d.serviceKeys(&s))
	_, ok := doc.Body.(*ast.MappingNode)
	if !ok || slices.ContainsFunc(d.problems, func(p Problem) bool { return p.Code == spec.NotYet && p.Path == "kind" }) {
		return s
	}
	for _, required := range []struct{ key, hint string }{
		{"kind", "begin the document with kind: service"},
		{"name", "give the service a name, such as name: shop"},
		{"parts", "list what the service is made of"},
	} {
		if _, ok := d.places[required.key]; !ok {
			d.missing = append(d.missing, required.key)
			d.problem(root, MissingKey, fmt.Sprintf("the key %q is missing", required.key), required.hint)
		}
	}
	return s
}

func (d *decoder) serviceKeys(s *spec.Service) []key {
	return []key{
		{"kind", d.kind},
		{"name", text(d, &s.Name)},
		{"exclusive", optional(&s.Exclusive, func(to *bool) func(value) { return truth(d, to) })},
		{"stopped", truth(d, &s.Stopped)},
		{"priority", whole(d, &s.Priority)},
		{"parts", d.parts(&s.Parts)},
		{"place", func(v value) { d.mapping(v, "a mapping", d.placeKeys(&s.Place)) }},
		{"failover", func(v value) { d.mapping(v, "a mapping", d.failoverKeys(&s.Failover)) }},
		{"labels", textMap(d, &s.Labels)},
		{"copies", optional(&s.Copies, d.copies)},
		{"after", d.after(&s.After)},
		{"needs", d.needs(&s.Needs)},
		{"maintenance", truth(d, &s.Maintenance)},
	}
}

func (d *decoder) kind(v value) {
	var kind string
	text(d, &kind)(v)
	if slices.Contains(otherKinds(), strings.ToLower(kind)) {
		d.problem(v, spec.NotYet, fmt.Sprintf("this version has no kind %q in a file", kind), "it has service")
		return
	}
	if kind != kindService && kind != "" {
		d.problem(v, UnknownKind, fmt.Sprintf("unknown kind %q", clip(kind, 60)), suggest(kind, []string{kindService}))
	}
}

// otherKinds are the kinds of documents that are told of, and not in this version.
func otherKinds() []string { return []string{"cell", "node", "fence", "site", "fleet"} }

func (d *decoder) parts(to *[]spec.Part) func(value) {
	return func(v value) {
		for _, item := range d.items(v, "a list of parts") {
			var p spec.Part
			d.mapping(item, wantPart, d.partKeys(&p))
			*to = append(*to, p)
		}
	}
}

// wantPart is what is expected of an item of the list of parts.
const wantPart = "a part such as address: 10.77.0.100/24"

func (d *decoder) partKeys(p *spec.Part) []key {
	return []key{
		{"address", d.address(&p.Address)},
		{"exec", d.exec(&p.Exec)},
		{"name", said(d, &p.Name)},
		{"check", d.check(&p.Check)},
		{"checks", func(v value) { d.mapping(v, "a mapping", d.checksKeys(&p.Checks)) }},
		{"start_timeout", some(d, &p.StartTimeout, unit(d, &p.StartTimeout))},
		{"stop_timeout", some(d, &p.StopTimeout, unit(d, &p.StopTimeout))},
		{"role", said(d, &p.Role)},
	}
}

// address reads "10.77.0.100/24" or a mapping.
func (d *decoder) address(to **spec.Address) func(value) {
	return func(v value) {
		a := &spec.Address{}
		*to = a
		if s, ok := scalarText(v.node); ok {
			a.Prefix = s
			return
		}
		d.mapping(v, "an address such as 10.77.0.100/24, or a mapping", d.addressKeys(a))
	}
}

func (d *decoder) addressKeys(a *spec.Address) []key {
	return []key{
		{"prefix", text(d, &a.Prefix)},
		{"interface", said(d, &a.Interface)},
	}
}

// exec reads a command as a list or a mapping.
func (d *decoder) exec(to **spec.Exec) func(value) {
	return func(v value) {
		e := &spec.Exec{}
		*to = e
		if _, ok := v.node.(*ast.SequenceNode); ok {
			texts(d, &e.Command)(d.value(v.node, join(v.path, "command"), v.at))
			return
		}
		d.mapping(v, "a list such as [/usr/bin/shopd, --verbose], or a mapping", d.execKeys(e))
	}
}

func (d *decoder) execKeys(e *spec.Exec) []key {
	return []key{
		{"command", texts(d, &e.Command)},
		{"user", said(d, &e.User)},
		{"group", said(d, &e.Group)},
		{"dir", said(d, &e.Dir)},
		{"env", textMap(d, &e.Env)},
		{"stop_signal", said(d, &e.StopSignal)},
		{"grace", optional(&e.Grace, d.duration)},
		{"promote", texts(d, &e.Promote)},
		{"demote", texts(d, &e.Demote)},
		{"limits", func(v value) { d.mapping(v, "a mapping", d.limitsKeys(&e.Limits)) }},
		{"output", some(d, &e.OutputBytes, unit(d, &e.OutputBytes))},
	}
}

func (d *decoder) duration(to *spec.Duration) func(value) { return unit(d, to) }

func (d *decoder) limitsKeys(l *spec.Limits) []key {
	return []key{
		{"memory", limit(d, &l.Memory, unit(d, &l.Memory))},
		{"cpu", limit(d, &l.CPU, number(d, &l.CPU))},
		{"processes", limit(d, &l.Processes, whole(d, &l.Processes))},
		{"open_files", limit(d, &l.OpenFiles, whole(d, &l.OpenFiles))},
	}
}

func (d *decoder) checksKeys(c *spec.Checks) []key {
	return []key{
		{"startup", d.check(&c.Startup)},
		{"liveness", d.check(&c.Liveness)},
		{"readiness", d.check(&c.Readiness)},
	}
}

func (d *decoder) check(to **spec.Check) func(value) {
	return optional(to, func(c *spec.Check) func(value) {
		return func(v value) { d.mapping(v, "a mapping such as {tcp: 10.77.0.100:80}", d.checkKeys(c)) }
	})
}

func (d *decoder) checkKeys(c *spec.Check) []key {
	return []key{
		{"http", text(d, &c.HTTP)},
		{"tcp", text(d, &c.TCP)},
		{"exec", texts(d, &c.Exec)},
		{"every", some(d, &c.Every, unit(d, &c.Every))},
		{"timeout", some(d, &c.Timeout, unit(d, &c.Timeout))},
		{"after", unit(d, &c.After)},
		{"failures", some(d, &c.Failures, whole(d, &c.Failures))},
		{"successes", some(d, &c.Successes, whole(d, &c.Successes))},
	}
}

func (d *decoder) placeKeys(p *spec.Place) []key {
	return []key{
		{"on", texts(d, &p.On)},
		{"never", texts(d, &p.Never)},
		{"prefer", d.prefer(&p.Prefer)},
		{"apart", texts(d, &p.Apart)},
		{"together", texts(d, &p.Together)},
		{"near", d.near(&p.Near)},
		{"spread", texts(d, &p.Spread)},
		{"stickiness", optional(&p.Stickiness, func(to *int) func(value) { return whole(d, to) })},
	}
}

func (d *decoder) prefer(to *[]spec.Preference) func(value) {
	return func(v value) {
		for _, item := range d.items(v, "a list of preferences") {
			var p spec.Preference
			d.mapping(item, "a preference such as {label: ssd=true, score: 100}", d.preferenceKeys(&p))
			*to = append(*to, p)
		}
	}
}

func (d *decoder) preferenceKeys(p *spec.Preference) []key {
	return []key{
		{"label", text(d, &p.Label)},
		{"node", text(d, &p.Node)},
		{"score", whole(d, &p.Score)},
		{"role", said(d, &p.Role)},
		{"from", d.moment(&p.From)},
		{"until", d.moment(&p.Until)},
	}
}

func (d *decoder) failoverKeys(f *spec.Failover) []key {
	return []key{
		{"ttl", unit(d, &f.TTL)},
		{"proof", said(d, &f.Proof)},
		{"restarts", optional(&f.Restarts, func(to *int) func(value) { return whole(d, to) })},
		{"within", some(d, &f.Within, unit(d, &f.Within))},
		{"agent_loss", optional(&f.AgentLoss, d.duration)},
		{"on_quorum_loss", said(d, &f.OnQuorumLoss)},
		{"stop_failure", said(d, &f.StopFailure)},
	}
}
