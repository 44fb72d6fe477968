package remark

import (
	"fmt"
	"slices"
	"strings"

	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

// NotYetExclusive says which services are to be exclusive and may still be taken for
// not exclusive by the guard of some node: one that was made exclusive is that once
// every node has heard so, and one lease has passed since. Services and nodes are all
// there are; a report of a node that is no more does not count.
func NotYetExclusive(services map[spec.ServiceName]record.Service, nodes map[spec.NodeName]record.Node, reports map[spec.NodeName]record.Report) []string {
	shared := map[spec.ServiceName][]string{}
	for name := range nodes {
		for _, s := range reports[name].Shares {
			if svc, known := services[s]; known && svc.Spec.IsExclusive() {
				shared[s] = append(shared[s], string(name))
			}
		}
	}
	var out []string
	for s, names := range shared {
		slices.Sort(names)
		has := map[bool]string{true: "has", false: "have"}[len(names) == 1]
		out = append(out, fmt.Sprintf("%s is not exclusive yet: %s %s not heard that it is to be, and until one lease after that two nodes may run it at once",
			s, strings.Join(names, ", "), has))
	}
	slices.Sort(out)
	return out
}
