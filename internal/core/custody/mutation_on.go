//go:build keelson_mutant

package custody

import "slices"

var mutationNames = []string{
	noMutation: "", releaseAtOnce: "release-at-once", leaseOutlived: "lease-outlived", proofAtOnce: "proof-at-once",
}

var active mutation

// planted reports whether a mutation is active.
func planted(m mutation) bool { return m == active }

// Mutations are the names of all mutations.
func Mutations() []string { return slices.Clone(mutationNames[1:]) }

// Plant makes one mutation active, by name; empty: none. It must not be called
// while anything runs.
func Plant(name string) { active = mutation(max(slices.Index(mutationNames, name), 0)) }
