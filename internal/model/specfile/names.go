package specfile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/keelson/keelson/internal/model/spec"
)

// BadNode is the code of a name of a node that the cell does not have.
const BadNode spec.Code = "unknown-node"

// maxNear is how many names are listed where none looks like the one given.
const maxNear = 8

// CheckNames returns which services and nodes the file's services name that are
// neither in the cell nor in the file. A name that the service had before, and that
// was unknown then too, is only a warning. err is of type [Problems].
func (f *File) CheckNames(cell []spec.Service, nodes []spec.NodeName) (warnings Problems, err error) {
	var services, hosts []string
	for _, s := range slices.Concat(f.Services, cell) {
		services = append(services, string(s.Name))
	}
	for _, n := range nodes {
		hosts = append(hosts, string(n))
	}
	slices.Sort(services)
	slices.Sort(hosts)
	services = slices.Compact(services)
	return f.sort(func(s spec.Service) []spec.Problem {
		had := map[naming]bool{}
		if i := slices.IndexFunc(cell, func(o spec.Service) bool { return o.Name == s.Name }); i >= 0 {
			for _, n := range namings(cell[i]) {
				had[naming{name: n.name, node: n.node}] = true
			}
		}
		var found []spec.Problem
		for _, n := range namings(s) {
			known, of := services, spec.UnknownName
			if n.node {
				known, of = hosts, BadNode
			}
			if _, has := slices.BinarySearch(known, n.name); has || len(found) >= spec.MaxProblems {
				continue
			}
			if !n.node {
				known = slices.DeleteFunc(slices.Clone(known), func(o string) bool { return o == string(s.Name) })
			}
			found = append(found, n.problem(of, known, had[naming{name: n.name, node: n.node}]))
		}
		return found
	})
}

// NamedBy says which services name one that is deleted, and where: a sentence each,
// in the order of their names. all may contain the one itself.
func NamedBy(name spec.ServiceName, all []spec.Service) []string {
	var by []string
	for _, s := range all {
		var at []string
		for _, n := range namings(s) {
			if !n.node && n.name == string(name) {
				at = append(at, strings.TrimSuffix(n.path, ".service"))
			}
		}
		if len(at) > 0 {
			by = append(by, fmt.Sprintf("%s names it in %s, where that counts no more", s.Name, strings.Join(at, " and ")))
		}
	}
	slices.Sort(by)
	return by
}

// naming is a name of a service, or of a node, and where in a spec it stands.
type naming struct {
	path, name string
	node       bool
}

// problem says that nobody has the name.
func (n naming) problem(code spec.Code, known []string, had bool) spec.Problem {
	what, later := "service", "apply that before this, or in the same file"
	if n.node {
		what, later = "node", "it can be named once it has joined"
	}
	p := spec.Problem{Path: n.path, Code: code, Message: fmt.Sprintf("the cell has no %s %q", what, clip(n.name, 60)), Warning: had}
	switch near := Nearest(n.name, known); {
	case had:
		p.Hint = "it counts once there is one"
	case near != "":
		p.Hint = fmt.Sprintf("did you mean %q? If not, %s", near, later)
	case len(known) == 0:
		p.Hint = later
	default:
		p.Hint = suggest(n.name, known[:min(len(known), maxNear)]) + "; " + later
	}
	return p
}

// namings lists whom a service names, but for itself.
func namings(s spec.Service) []naming {
	var out []naming
	service := func(path string, name spec.ServiceName) {
		if name != s.Name {
			out = append(out, naming{path: path, name: string(name)})
		}
	}
	node := func(path string, name spec.NodeName) {
		if name != "" {
			out = append(out, naming{path: path, name: string(name), node: true})
		}
	}
	for i, a := range s.After {
		service(fmt.Sprintf("after[%d].service", i), a.Service)
	}
	for i, n := range s.Place.On {
		node(fmt.Sprintf("place.on[%d]", i), n)
	}
	for i, n := range s.Place.Never {
		node(fmt.Sprintf("place.never[%d]", i), n)
	}
	for i, p := range s.Place.Prefer {
		node(fmt.Sprintf("place.prefer[%d].node", i), p.Node)
	}
	for i, n := range s.Place.Apart {
		service(fmt.Sprintf("place.apart[%d]", i), n)
	}
	for i, n := range s.Place.Together {
		service(fmt.Sprintf("place.together[%d]", i), n)
	}
	for i, n := range s.Place.Near {
		service(fmt.Sprintf("place.near[%d].service", i), n.Service)
	}
	return out
}
