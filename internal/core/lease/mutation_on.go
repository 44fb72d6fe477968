//go:build keelson_mutant

package lease

import "slices"

// mutationNames are what the mutations are called, by number.
var mutationNames = []string{
	noMutation: "", noSilence: "no-silence", countFromArrival: "count-from-arrival", noDriftBound: "no-drift-bound",
	noPrepare: "no-prepare", anyPromise: "any-promise", ackOfAnySet: "ack-of-any-set", secondLife: "second-life",
	noNewestConfig: "no-newest-config", noJointMajority: "no-joint-majority", noRefusals: "no-refusals",
	noFloor: "no-floor", queueFirst: "queue-first", promiseBroken: "promise-broken", anyRelease: "any-release",
	shorterAtOnce: "shorter-at-once", lateDoubleShortens: "late-double-shortens",
	narrowDriftBound: "narrow-drift-bound", noCeilingTold: "no-ceiling-told",
	keepExclusive: "keep-exclusive", keepForEver: "keep-for-ever", takeBackAtOnce: "take-back-at-once",
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
		panic("lease: there is no mutation " + name)
	}
	active = mutation(i)
}
