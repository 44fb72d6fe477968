// Package ground answers what the nodes of a cell say of themselves: which there are,
// which live, which count as one place, and where on them a service is.
//
// Its one rule is that nodes are sorted by name. It judges nothing, and refuses no
// name: what is not known is nowhere. The package is pure.
package ground

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"sort"
	"strings"

	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// Nowhere is the index of no node.
const Nowhere = -1

// Ground is the nodes of a cell, sorted by name.
type Ground struct {
	Nodes []fact.Node
}

// Node returns the node of that name.
func (g Ground) Node(name spec.NodeName) (*fact.Node, bool) {
	if i := g.Index(name); i != Nowhere {
		return &g.Nodes[i], true
	}
	return &fact.Node{}, false
}

// Alive reports whether the node is known and not lost.
func (g Ground) Alive(name spec.NodeName) bool {
	n, ok := g.Node(name)
	return ok && n.Liveness != fact.Lost
}

// Sits returns the node where the service is: its holder or, if that is lost
// or nobody is, the first of the succession list that is not lost, who acts
// by itself. It is empty for a service that is nowhere.
func (g Ground) Sits(s *fact.Service) spec.NodeName {
	if g.Alive(s.Holder) {
		return s.Holder
	}
	for _, n := range s.Order {
		if g.Alive(n) {
			return n
		}
	}
	return ""
}

// Index returns the index of a node, Nowhere if it is not known.
func (g Ground) Index(name spec.NodeName) int {
	i := sort.Search(len(g.Nodes), func(i int) bool { return g.Nodes[i].Name >= name })
	if i == len(g.Nodes) || g.Nodes[i].Name != name {
		return Nowhere
	}
	return i
}

// Classes tells which nodes have the same value of a label; nil for no label.
func (g Ground) Classes(label string) []int {
	if label == "" {
		return nil
	}
	var values []string
	out := make([]int, len(g.Nodes))
	for i, n := range g.Nodes {
		v, has := n.Labels[label]
		at := slices.Index(values, v)
		switch {
		case !has:
			at = -1
		case at < 0:
			at = len(values)
			values = append(values, v)
		}
		out[i] = at
	}
	return out
}

// Home is the node that has the service for itself now: its holder, or the first of
// its list while nobody holds it. Who only follows does not.
func (g Ground) Home(s *fact.Service) spec.NodeName {
	switch {
	case g.Alive(s.Holder):
		return s.Holder
	case len(s.Order) > 0 && g.Alive(s.Order[0]):
		return s.Order[0]
	}
	return ""
}

// Instance returns the service's instance on the node, nil if there is none.
// The node's instances are sorted.
func Instance(n *fact.Node, s spec.ServiceName) *fact.Instance {
	i := sort.Search(len(n.Instances), func(i int) bool { return n.Instances[i].Service >= s })
	if i == len(n.Instances) || n.Instances[i].Service != s {
		return nil
	}
	return &n.Instances[i]
}

// Kinds are the units of which some node says how much it has.
func (g Ground) Kinds() map[string]bool {
	out := make(map[string]bool)
	for i := range g.Nodes {
		for label := range g.Nodes[i].Labels {
			if kind, is := strings.CutPrefix(label, spec.CapacityLabel+"/"); is {
				out[kind] = true
			}
		}
	}
	return out
}

// Shut says why a node may run nothing, whatever it is; empty: it may.
func Shut(n *fact.Node) string {
	switch {
	case n.Witness:
		return string(n.Name) + " is a witness, which votes and runs nothing"
	case n.Leaving:
		return string(n.Name) + " is leaving the cell"
	case n.Drain:
		return string(n.Name) + " is drained"
	case n.Health <= -spec.MaxScore:
		return string(n.Name) + " is too ill to run anything"
	case n.Maintenance:
		return string(n.Name) + " is under maintenance"
	case n.Liveness == fact.Lost:
		return string(n.Name) + " is lost"
	}
	return ""
}

// Stuck returns the services of which a part would not stop, by the nodes on which
// they are for that. What is lost runs nowhere.
func (g Ground) Stuck() map[spec.NodeName][]spec.ServiceName {
	var out map[spec.NodeName][]spec.ServiceName
	for i := range g.Nodes {
		n := &g.Nodes[i]
		for k := range n.Instances {
			if n.Instances[k].Phase != fact.Stuck || n.Liveness == fact.Lost {
				continue
			}
			if out == nil {
				out = make(map[spec.NodeName][]spec.ServiceName)
			}
			out[n.Name] = append(out[n.Name], n.Instances[k].Service)
		}
	}
	return out
}

// Gone reports whether a deleted service runs nowhere any more. What a lost
// node said before it was lost does not count: its lease ends by itself, and
// when it returns its agent stops what it does not know. Until that end the
// voters name it as the holder, and the service is not forgotten: its addresses
// are free for others then.
func (g Ground) Gone(s *fact.Service) bool {
	if !s.Deleting || s.Holder != "" || slices.ContainsFunc(s.Rights, func(r fact.Right) bool { return r.Holder != "" }) {
		return false
	}
	for k := range g.Nodes {
		n := &g.Nodes[k]
		if n.Liveness == fact.Lost {
			continue
		}
		if slices.ContainsFunc(n.Instances, func(i fact.Instance) bool {
			return i.Service == s.Spec.Name && i.Phase != fact.Idle && i.Phase != fact.Failed
		}) {
			return false
		}
	}
	return true
}

// Names writes a list of nodes.
func Names(nodes []spec.NodeName) string {
	list := make([]string, 0, len(nodes))
	for _, n := range nodes {
		list = append(list, string(n))
	}
	return strings.Join(list, ", ")
}

// Foes reports whether two services must not be on the node at once, by the word of
// either, as [spec.Place.Shunned] has it: its agent keeps one out while the other is there.
func Foes(a, b *spec.Service, n *fact.Node) bool {
	return a.Name != b.Name && (slices.Contains(a.Place.Shunned(n.Labels), b.Name) || slices.Contains(b.Place.Shunned(n.Labels), a.Name))
}

// Sorted returns the snapshot with nodes, their instances and services sorted by
// name, so that their order does not matter.
func Sorted(s fact.Snapshot) fact.Snapshot {
	s.Nodes, s.Services = slices.Clone(s.Nodes), slices.Clone(s.Services)
	slices.SortStableFunc(s.Nodes, func(a, b fact.Node) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortStableFunc(s.Services, func(a, b fact.Service) int { return cmp.Compare(a.Spec.Name, b.Spec.Name) })
	for i := range s.Nodes {
		if of := s.Nodes[i].Instances; !slices.IsSortedFunc(of, byService) {
			s.Nodes[i].Instances = slices.SortedStableFunc(slices.Values(of), byService)
		}
	}
	return s
}

// byService orders instances: those of copies that differ by their numbers, and what
// is listed twice by all that is known of it.
func byService(a, b fact.Instance) int {
	if n := cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Copy, b.Copy)); n != 0 {
		return n
	}
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	if errX != nil || errY != nil {
		return 0
	}
	return bytes.Compare(x, y)
}

// ID names the snapshot by its content.
func ID(s fact.Snapshot) string {
	text, err := json.Marshal(s)
	if err != nil {
		// A value without JSON form never passes spec's Validate. The plan
		// still needs a name.
		text = []byte(err.Error())
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}
