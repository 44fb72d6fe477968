package survey

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/model/action"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

const (
	maxReasons = 64  // kept with a placement
	maxReason  = 400 // bytes of one reason

	// reasonsEvery is how often the reasons of a service that runs nowhere are
	// brought up to date. Those of one that runs are those of its placing.
	reasonsEvery = 5 * time.Second

	// RepeatAfter is how old a placement may be that is not followed, until it is
	// written again.
	RepeatAfter = 2 * time.Second
)

// News is what is new of a placement.
type News struct {
	Elsewhere bool // it names other nodes, or another lease
	Decided   bool // it is a decision of its own, and not new words for one
	Write     bool // it is to be written
}

// Draft returns the record of a placement that was planned at now. What the
// placement does not say, such as its TTL, is left to the caller, who then calls
// [Cell.News].
func (c *Cell) Draft(p action.Placement, now time.Time) record.Placement {
	svc := c.Services[p.Service]
	return record.Placement{
		Service: p.Service, Generation: svc.Record.Generation, Order: p.Order, Orders: p.Orders,
		Copies:  number(svc.Placement.Copies, p.Copies, svc.Record.Spec),
		Reasons: reasons(p), At: now.UTC(),
	}
}

// News says what is new of a draft, and sets its epochs.
func (c *Cell) News(fresh *record.Placement) News {
	svc := c.Services[fresh.Service]
	old := svc.Placement
	age := fresh.At.Sub(old.At).Abs()
	nowhere := len(fresh.Order)+len(fresh.Copies) == 0
	n := News{Elsewhere: !slices.Equal(old.Order, fresh.Order) || !slices.EqualFunc(old.Orders, fresh.Orders, slices.Equal) ||
		!slices.Equal(old.Copies, fresh.Copies) || old.TTL != fresh.TTL}
	stale := nowhere && age >= reasonsEvery && !slices.Equal(old.Reasons, fresh.Reasons)
	n.Decided = !svc.Placed || n.Elsewhere || c.overtaken(fresh, age) || old.Generation != svc.Record.Generation
	n.Write = n.Decided || stale
	if n.Write {
		fresh.Epoch = c.epochOf(fresh.Service, 0)
		for lease := range fresh.Orders {
			fresh.Epochs = append(fresh.Epochs, c.epochOf(fresh.Service, lease+1))
		}
	}
	return n
}

// overtaken reports whether a service runs on another node than the first of its
// list, which has not changed for age. That node took over after the list was
// written, so to it the list is older than its takeover, and it stays: a claim
// that had waited at the voters can win against the one that was meant. The same
// list, written again, tells it that it is meant. That holds as well for a node
// that is not in the list at all and runs it by an epoch that the list's author
// had not heard of.
func (c *Cell) overtaken(p *record.Placement, age time.Duration) bool {
	if age < RepeatAfter {
		return false
	}
	old := c.Services[p.Service].Placement
	for lease := range len(p.Orders) + 1 {
		if order := p.OrderOf(lease); len(order) > 0 && c.strays(p.Service, order, lease, old.EpochOf(lease)) {
			return true
		}
	}
	return false
}

// strays reports whether a service runs under a lease elsewhere than on the first of
// a list: on another one of it, or outside by an epoch above known.
func (c *Cell) strays(service spec.ServiceName, order []spec.NodeName, lease int, known uint64) bool {
	for n, r := range c.Reports {
		if n != order[0] && slices.ContainsFunc(r.Instances, func(i fact.Instance) bool {
			return i.Service == service && i.Phase == fact.Running && i.Role != spec.RoleReplica && i.Right == lease &&
				(i.Epoch > known || slices.Contains(order, n))
		}) {
			return true
		}
	}
	return false
}

// epochOf is the highest epoch of a lease under which any node reports to run the
// service.
func (c *Cell) epochOf(service spec.ServiceName, lease int) uint64 {
	var newest uint64
	for _, r := range c.Reports {
		for i := range r.Instances {
			if in := &r.Instances[i]; in.Service == service && in.Right == lease {
				newest = max(newest, in.Epoch)
			}
		}
	}
	return newest
}

// NewestEpoch is the highest ballot number that any node reports to run under. A
// guard that does not vote hears of few itself.
func (c *Cell) NewestEpoch() uint64 {
	var newest uint64
	for _, r := range c.Reports {
		for i := range r.Instances {
			newest = max(newest, r.Instances[i].Epoch)
		}
	}
	return newest
}

// LongestTTL is the longest lease that any service of the cell asks for, or may
// come to ask for when its hosts stall more: following that would change it too
// often.
func (c *Cell) LongestTTL() time.Duration {
	longest := spec.LongestAutoTTL
	for _, svc := range c.Services {
		longest = max(longest, svc.Record.Spec.Failover.EffectiveTTL())
	}
	return longest
}

// Void reports whether a wish to move says nothing.
func Void(m *record.Move) bool { return m != nil && m.To == "" && m.From == "" }

// number gives the copies of a placement the numbers that they have, where they
// differ from each other, and new ones the lowest that are free. A number follows
// its copy to another node.
func number(old []record.Copy, copies []action.Copy, s spec.Service) []record.Copy {
	var out []record.Copy
	for _, c := range copies {
		out = append(out, record.Copy{Node: c.Node, Role: c.Role})
	}
	if s.Copies == nil || !s.Copies.Unique {
		return out
	}
	taken := make(map[int]bool)
	for i := range out {
		for _, o := range old {
			if o.Node == out[i].Node && o.Number > 0 && !taken[o.Number] {
				out[i].Number = o.Number
				taken[o.Number] = true
				break
			}
		}
	}
	next := 1
	for i := range out {
		if out[i].Number > 0 {
			continue
		}
		for taken[next] {
			next++
		}
		out[i].Number = next
		taken[next] = true
	}
	slices.SortFunc(out, func(a, b record.Copy) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Number, b.Number))
	})
	return out
}

// reasons are what the operator reads about a placement.
func reasons(p action.Placement) []string {
	all := slices.Clone(p.Why)
	for _, r := range p.Refusals {
		all = append(all, r.Why)
	}
	all = all[:min(len(all), maxReasons)]
	for i, r := range all {
		if len(r) > maxReason {
			all[i] = strings.ToValidUTF8(r[:maxReason], "") + "..."
		}
	}
	return all
}
