package specfile

import (
	"fmt"
	"time"

	"github.com/keelson/keelson/internal/model/spec"
)

// copies reads how often a service runs.
func (d *decoder) copies(to *spec.Copies) func(value) {
	return func(v value) {
		d.mapping(v, "a mapping such as {count: 3, primaries: 1}", []key{
			{"count", whole(d, &to.Count)},
			{"per_node", some(d, &to.PerNode, whole(d, &to.PerNode))},
			{"unique", truth(d, &to.Unique)},
			{"primaries", whole(d, &to.Primaries)},
		})
	}
}

// after reads what a service waits for: names, or mappings that say more.
func (d *decoder) after(to *[]spec.After) func(value) {
	return func(v value) {
		for _, item := range d.items(v, "a list of services") {
			var a spec.After
			if s, ok := scalarText(item.node); ok {
				a.Service = spec.ServiceName(s)
			} else {
				d.mapping(item, "a service's name, or a mapping such as {service: db, role: primary}", []key{
					{"service", text(d, &a.Service)},
					{"role", text(d, &a.Role)},
					{"optional", truth(d, &a.Optional)},
					{"one_way", truth(d, &a.OneWay)},
				})
			}
			*to = append(*to, a)
		}
	}
}

// near reads what draws a service to others.
func (d *decoder) near(to *[]spec.Near) func(value) {
	return func(v value) {
		for _, item := range d.items(v, "a list of services and scores") {
			var n spec.Near
			d.mapping(item, "a mapping such as {service: db, score: 100}", []key{
				{"service", text(d, &n.Service)},
				{"score", whole(d, &n.Score)},
				{"role", text(d, &n.Role)},
				{"as", text(d, &n.As)},
				{"same", text(d, &n.Same)},
			})
			*to = append(*to, n)
		}
	}
}

// needs reads how much of the nodes' capacity a service uses.
func (d *decoder) needs(to *map[string]int) func(value) { return amounts(d, to) }

// moment reads a point in time.
func (d *decoder) moment(to *time.Time) func(value) {
	return func(v value) {
		var s string
		text(d, &s)(v)
		if s == "" {
			return
		}
		t, err := time.Parse(time.RFC3339, s)
		if err != nil {
			d.problem(v, BadValue, fmt.Sprintf("%q is not a time", clip(s, 60)), "write it as 2026-01-31T12:00:00Z")
			return
		}
		*to = t.UTC()
	}
}
