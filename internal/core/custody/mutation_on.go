//go:build keelson_mutant

package custody

import "slices"

// mutationNames are what the mutations are called, by number.
var mutationNames = []string{
	noMutation: "", releaseAtOnce: "release-at-once", leaseOutlived: "lease-outlived",
}

var active mutation

// planted reports whether a mutation is active.
func planted(m mutation) bool { return m == active }

// Mutations returns the names of all that [Plant] knows.
func Mutations() []string { return slices.Clone(mutationNames[1:]) }

// Plant makes the named mutation the active one; an empty name, none. It panics
// if there is no such mutation. Call it while nothing is guarded.
func Plant(name string) {
	i := slices.Index(mutationNames, name)
	if i < 0 {
		panic("custody: there is no mutation " + name)
	}
	active = mutation(i)
}
