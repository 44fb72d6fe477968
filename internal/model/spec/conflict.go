package spec

import (
	"fmt"
	"net/netip"
	"strings"
)

// Conflicts returns what is wrong with s beside the other services of its cell:
// an address that is another's, and waiting for each other in a circle. others may
// contain an older s, which is left out. At most [MaxProblems] are returned.
func Conflicts(s Service, others []Service) []Problem {
	c := &checker{}
	owners := make(map[netip.Addr]ServiceName)
	for _, o := range others {
		if o.Name == s.Name {
			continue
		}
		for _, ip := range o.Addresses() {
			owners[ip] = o.Name
		}
	}

	for i, p := range s.Parts {
		if p.Address == nil {
			continue
		}
		prefix, err := p.Address.Parse()
		if err != nil {
			continue
		}
		if owner, taken := owners[prefix.Addr()]; taken {
			c.add(index("parts", i)+".address.prefix", AddressTaken,
				fmt.Sprintf("the address %s belongs to service %q", prefix.Addr(), owner), "use another address, or delete that service first")
		}
	}
	for i, a := range s.After {
		if way := circle(s, a.Service, others); way != nil && !a.Optional {
			c.add(index("after", i)+".service", Circle, "the services wait for each other: "+strings.Join(way, " after "), "remove one of these")
		}
	}
	return c.problems
}

// circle returns the way from s over other and what that waits for back to s,
// nil if there is none.
func circle(s Service, other ServiceName, others []Service) []string {
	waits := map[ServiceName][]After{s.Name: s.After}
	for _, o := range others {
		if o.Name != s.Name {
			waits[o.Name] = o.After
		}
	}
	seen := map[ServiceName]bool{}
	var search func(ServiceName) []string
	search = func(at ServiceName) []string {
		if at == s.Name {
			return []string{string(at)}
		}
		if seen[at] {
			return nil
		}
		seen[at] = true
		for _, next := range waits[at] {
			if next.Optional {
				continue
			}
			if way := search(next.Service); way != nil {
				return append([]string{string(at)}, way...)
			}
		}
		return nil
	}
	way := search(other)
	if way == nil {
		return nil
	}
	return append([]string{string(s.Name)}, way...)
}

func (c *checker) warn(path string, code Code, message, hint string) {
	if len(c.problems) < MaxProblems {
		c.problems = append(c.problems, Problem{Path: path, Code: code, Message: message, Hint: hint, Warning: true})
	}
}
