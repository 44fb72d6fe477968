package controller

import (
	"time"

	"github.com/keelson/keelson/internal/core/survey"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// cellKnown is what the mirror holds, as package survey reads it.
func (m *mirror) cellKnown() survey.Cell {
	c := survey.Cell{
		Revision: m.revision, Wish: m.wish.value, History: m.history(), Recovery: m.recovery.value,
		Nodes: make(map[spec.NodeName]survey.Node, len(m.nodes)), Reports: make(map[spec.NodeName]survey.Report, len(m.reports)),
		Services: make(map[spec.ServiceName]survey.Service, len(m.services)),
	}
	for name, n := range m.nodes {
		c.Nodes[name] = survey.Node{Record: n.value, Wish: m.wishes[name].value}
	}
	for name, r := range m.reports {
		c.Reports[name] = r.value
	}
	for name, s := range m.services {
		p, placed := m.placements[name]
		c.Services[name] = survey.Service{Record: s.value, Placement: p.value, Placed: placed}
	}
	return c
}

// snapshot puts together what the store says and what the guard sees. It is a
// pure function of both and of the time.
func (m *mirror) snapshot(s Sight, now time.Time) fact.Snapshot {
	c := m.cellKnown()
	return c.Snapshot(s, now)
}
