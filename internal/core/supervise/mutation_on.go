//go:build keelson_mutant

package supervise

import "slices"

// mutationNames are what the mutations are called, by number.
var mutationNames = []string{
	noMutation: "", orderIgnored: "order-ignored", releaseRunning: "release-running", leaseUnwatched: "lease-unwatched",
	promoteAnyway: "promote-anyway", startUnleased: "start-unleased",
}

var active mutation

// planted reports whether a mutation is active.
func planted(m mutation) bool { return m == active }

// Mutations returns the names of all that [Plant] knows.
func Mutations() []string { return slices.Clone(mutationNames[1:]) }

// Plant makes the named mutation the active one; an empty name, none. It panics
// if there is no such mutation. Call it while nothing is stepped.
func Plant(name string) {
	i := slices.Index(mutationNames, name)
	if i < 0 {
		panic("supervise: there is no mutation " + name)
	}
	active = mutation(i)
}
