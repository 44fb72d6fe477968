package specfile

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/keelson/keelson/internal/model/spec"
)

func (m *mapping) moment(key string, t time.Time) {
	if !t.IsZero() {
		*m = append(*m, pair{key, scalar(t.UTC().Format(time.RFC3339))})
	}
}

func copiesNode(c *spec.Copies) mapping {
	if c == nil {
		return nil
	}
	m := mapping{{"count", bare(strconv.Itoa(c.Count))}}
	m.number("per_node", c.PerNode)
	m.truth("unique", c.Unique)
	m.number("primaries", c.Primaries)
	return m
}

func after(m *mapping, list []spec.After) {
	if len(list) == 0 {
		return
	}
	items := make([][]pair, 0, len(list))
	for _, a := range list {
		var item mapping
		item.text("service", string(a.Service))
		item.text("role", string(a.Role))
		item.truth("optional", a.Optional)
		item.truth("one_way", a.OneWay)
		items = append(items, item)
	}
	*m = append(*m, pair{"after", items})
}

func near(m *mapping, list []spec.Near) {
	if len(list) == 0 {
		return
	}
	items := make([][]pair, 0, len(list))
	for _, n := range list {
		var item mapping
		item.text("service", string(n.Service))
		item.number("score", n.Score)
		item.text("role", string(n.Role))
		item.text("as", string(n.As))
		item.text("same", n.Same)
		items = append(items, item)
	}
	*m = append(*m, pair{"near", items})
}

func needs(m *mapping, units map[string]int) {
	var inner mapping
	for _, k := range slices.Sorted(maps.Keys(units)) {
		inner = append(inner, pair{k, bare(strconv.Itoa(units[k]))})
	}
	m.nested("needs", inner)
}
