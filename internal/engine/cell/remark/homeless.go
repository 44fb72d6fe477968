package remark

import (
	"fmt"
	"strings"

	"github.com/keelson/keelson/internal/model/spec"
)

// RefusalsShown is how many different refusals a problem names; describe has them
// all.
const RefusalsShown = 5

// Homeless says what forbids each node a service, from the reasons of its
// placement. Nodes with the same reason are named together.
func Homeless(name spec.ServiceName, reasons []string) string {
	var g groups
	for _, r := range reasons {
		if _, why, is := strings.Cut(r, " may not run on "); is {
			node, why, _ := strings.Cut(why, ": ")
			g.add(spec.NodeName(node), why)
		}
	}
	each := g.sentences()
	switch more := len(each) - RefusalsShown; {
	case len(each) == 0 && len(reasons) > 0:
		return "no node may run it: " + reasons[0]
	case len(each) == 0:
		return "no node may run it"
	case more > 0:
		each = append(each[:RefusalsShown], fmt.Sprintf("and %d more: see `keelson describe %s`", more, name))
	}
	return "no node may run it: " + strings.Join(each, "; ")
}

// groups are nodes by reason, in the order in which the reasons came.
type groups struct{ list []group }

type group struct {
	why   string // without the node's own name at the beginning
	own   bool   // that it had
	nodes []spec.NodeName
}

func (g *groups) add(node spec.NodeName, why string) {
	rest, own := strings.CutPrefix(why, string(node)+" ")
	for i := range g.list {
		if one := &g.list[i]; one.why == rest && one.own == own {
			one.nodes = append(one.nodes, node)
			return
		}
	}
	g.list = append(g.list, group{why: rest, own: own, nodes: []spec.NodeName{node}})
}

// sentences are "not on a, b: why"; a reason that names its node says so by itself.
func (g *groups) sentences() []string {
	var out []string
	for _, one := range g.list {
		switch {
		case one.own && len(one.nodes) == 1:
			out = append(out, fmt.Sprintf("%s %s", one.nodes[0], one.why))
		case one.own:
			out = append(out, fmt.Sprintf("not on %s: each %s", names(one.nodes), one.why))
		default:
			out = append(out, fmt.Sprintf("not on %s: %s", names(one.nodes), one.why))
		}
	}
	return out
}
