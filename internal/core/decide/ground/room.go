package ground

import (
	"fmt"

	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// Short says that a node has too little of a unit, of which so much is needed and so
// much is free, or that it says nothing of it, which counts as none.
func Short(n *fact.Node, unit string, need, free int) string {
	label := spec.CapacityLabel + "/" + unit
	if n.Labels[label] == "" {
		return fmt.Sprintf("it needs %d of %s, and %s has no label %s, so it has none", need, unit, n.Name, label)
	}
	return fmt.Sprintf("it needs %d of %s, and %d are free there", need, unit, max(0, free))
}
