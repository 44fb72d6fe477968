package spec

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Host is what a node is to the addresses of services.
type Host struct {
	Node NodeName
	// Own are the addresses by which the node itself is known.
	Own []netip.Addr
	// Interfaces are those that it has; empty: it has not said.
	Interfaces []string
	// Witness: it runs no services.
	Witness bool
}

// Unfit returns what the addresses of s have against the nodes of its cell: an
// address that is a node's own and, as a warning since it may come yet, an
// interface that nodes lack on which s may run. At most [MaxProblems] are returned.
func Unfit(s Service, hosts []Host) []Problem {
	c := &checker{}
	for i, p := range s.Parts {
		if p.Address == nil {
			continue
		}
		path := index("parts", i) + ".address"
		if prefix, err := p.Address.Parse(); err == nil {
			for _, h := range hosts {
				if slices.Contains(h.Own, prefix.Addr()) {
					c.add(path+".prefix", AddressTaken, fmt.Sprintf("the address %s is node %s's own", prefix.Addr(), h.Node),
						"choose an address that no server has of its own")
				}
			}
		}
		if p.Address.Interface != "" && !Passing(p.Address.Interface) {
			c.interfaceOn(path+".interface", s.Place, p.Address.Interface, hosts)
		}
	}
	return c.problems
}

// Passing tells whether an interface is one with which containers come and go, by
// its name: nodes do not report those, and nothing is said of them.
func Passing(name string) bool { return strings.HasPrefix(name, "veth") }

// interfaceOn warns of an interface that nodes lack on which a service may run.
func (c *checker) interfaceOn(path string, place Place, name string, hosts []Host) {
	var lack []string
	var there []string // what those nodes have
	able := 0
	for _, h := range hosts {
		if h.Witness || len(place.On) > 0 && !slices.Contains(place.On, h.Node) || slices.Contains(place.Never, h.Node) {
			continue
		}
		able++
		if len(h.Interfaces) > 0 && !slices.Contains(h.Interfaces, name) {
			lack = append(lack, string(h.Node))
			there = append(there, h.Interfaces...)
		}
	}
	if len(lack) == 0 {
		return
	}
	slices.Sort(there)
	there = slices.Compact(there)
	where := "node " + lack[0] + " has"
	switch {
	case len(lack) == able && able > 1:
		where = "no node on which it may run has"
	case len(lack) == able:
		where = "node " + lack[0] + ", the only one on which it may run, has"
	case len(lack) > 1:
		where = "nodes " + strings.Join(lack, ", ") + " have"
	}
	no := " no"
	if strings.HasPrefix(where, "no node on") {
		no = " an"
	}
	c.warn(path, BadInterface, where+no+" interface "+quote(name), "it cannot run there until that is there; "+near(name, there))
}

// near names the interface that looks most like name, or the first ones.
func near(name string, there []string) string {
	const most = 5
	best, least := "", len(name)
	for _, other := range there {
		same := 0
		for same < min(len(name), len(other)) && name[same] == other[same] {
			same++
		}
		if d := max(len(name), len(other)) - same; same > 0 && d < least {
			best, least = other, d
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %q? Without the key the address goes where its network is", best)
	}
	more := ""
	if len(there) > most {
		there, more = there[:most], " ..."
	}
	return "there are " + strings.Join(there, ", ") + more + "; without the key the address goes where its network is"
}
