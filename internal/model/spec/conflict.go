package spec

import (
	"fmt"
	"net/netip"
)

// Conflicts returns what is wrong with s beside the other services of its cell:
// an address that is another's, and names of services that the cell lacks (a
// warning only, since they may be applied later). others may contain an older
// s, which is left out. At most [MaxProblems] are returned.
func Conflicts(s Service, others []Service) []Problem {
	c := &checker{}
	owners := make(map[netip.Addr]ServiceName)
	known := make(map[ServiceName]bool, len(others))
	for _, o := range others {
		if o.Name == s.Name {
			continue
		}
		known[o.Name] = true
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
	for _, list := range []struct {
		path     string
		services []ServiceName
	}{{"place.apart", s.Place.Apart}, {"place.together", s.Place.Together}} {
		for i, n := range list.services {
			if n != s.Name && !known[n] {
				c.warn(index(list.path, i), UnknownName, fmt.Sprintf("there is no service %s yet", quote(string(n))), "it counts once that service is applied")
			}
		}
	}
	return c.problems
}

func (c *checker) warn(path string, code Code, message, hint string) {
	if len(c.problems) < MaxProblems {
		c.problems = append(c.problems, Problem{Path: path, Code: code, Message: message, Hint: hint, Warning: true})
	}
}
