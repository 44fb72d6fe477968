//go:build keelson_mutant

package plane

import "slices"

// mutationNames are what the mutations are called, by number.
var mutationNames = []string{
	noMutation: "", claimsAwaitVerdict: "claims-await-verdict", lateSuccessor: "late-successor", noHurry: "no-hurry",
	renewsAnyway:   "renews-anyway",
	everySuccessor: "every-successor",
}

var active mutation

// planted reports whether a mutation is active.
func planted(m mutation) bool { return m == active }

// Mutations returns the names of all that [Plant] knows.
func Mutations() []string { return slices.Clone(mutationNames[1:]) }

// Plant makes the named mutation the active one; an empty name, none. It panics
// if there is no such mutation. Call it while no [Node] is in use.
func Plant(name string) {
	i := slices.Index(mutationNames, name)
	if i < 0 {
		panic("plane: there is no mutation " + name)
	}
	active = mutation(i)
}
