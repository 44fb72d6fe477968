package controller

import (
	"slices"
	"time"

	"github.com/keelson/keelson/internal/core/bound"
	"github.com/keelson/keelson/internal/model/action"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

const (
	// A lease that could be shorter stays as it is for shortenAfter, and for good
	// if it is about less than shortenStep. A longer one counts at once.
	shortenAfter = time.Minute
	shortenStep  = 100 * time.Millisecond
)

// measure sets the length of the lease in fresh where the spec leaves it open.
func (m *mirror) measure(fresh *record.Placement, old record.Placement, p action.Placement, s spec.Service) {
	run := slices.Concat(append([][]spec.NodeName{p.Order}, p.Orders...)...)
	if s.Failover.TTL != 0 || len(run) == 0 {
		return
	}
	due := bound.Auto(m.hosts(run))
	was := time.Duration(old.TTL)
	if due.TTL < was && (was-due.TTL < shortenStep || fresh.At.Sub(old.At).Abs() < shortenAfter) {
		fresh.TTL, fresh.TTLBy, fresh.TTLStall = old.TTL, old.TTLBy, old.TTLStall
		return
	}
	fresh.TTL, fresh.TTLBy, fresh.TTLStall = spec.Duration(due.TTL), due.By, spec.Duration(due.Stall)
	if due.TTL == was {
		// Which of two stalls of a length is named does not change by itself.
		fresh.TTLBy, fresh.TTLStall = old.TTLBy, old.TTLStall
	}
}

// hosts are the members of the cell as far as they were measured; those in order
// may run the service.
func (m *mirror) hosts(order []spec.NodeName) []bound.Host {
	hosts := make([]bound.Host, 0, len(m.nodes))
	for name, n := range m.nodes {
		r := m.reports[name].value
		hosts = append(hosts, bound.Host{
			Name: name, Stall: time.Duration(r.Late), Known: time.Duration(r.Measured) >= bound.Enough,
			Votes: m.lease.value.Voters>>n.value.Slot&1 == 1,
			Runs:  slices.Contains(order, name), Gone: m.lost>>n.value.Slot&1 == 1,
		})
	}
	slices.SortFunc(hosts, func(a, b bound.Host) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return hosts
}
