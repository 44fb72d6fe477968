//go:build keelson_mutant

package whole

import "slices"

// mutationNames are what the mutations are called, by number.
var mutationNames = []string{
	noMutation: "", journalForgotten: "journal-forgotten", gatesLate: "gates-late", leasesCounted: "leases-counted", besideAnyone: "beside-anyone",
	silenceAwaited: "silence-awaited",
}

var active mutation

// planted reports whether a mutation is active.
func planted(m mutation) bool { return m == active }

// plant makes one mutation active, by name; empty: none.
func plant(name string) { active = mutation(slices.Index(mutationNames, name)) }
