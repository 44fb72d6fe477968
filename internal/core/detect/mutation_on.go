//go:build keelson_mutant

package detect

import "slices"

// mutationNames are what the mutations are called, by number.
var mutationNames = []string{
	noMutation: "", oneObserver: "one-observer", fixedTimeout: "fixed-timeout", noAbstaining: "no-abstaining", noSlack: "no-slack",
	noCut: "no-cut", oneWayIsContact: "one-way-is-contact", cutsTooMany: "cuts-too-many", silenceHeals: "silence-heals", nothingLearned: "nothing-learned",
	latenessNotLearned: "lateness-not-learned", gapsNotLearned: "gaps-not-learned", answersIgnored: "answers-ignored",
	answersForEver: "answers-for-ever", lostForEver: "lost-for-ever", hastyRates: "hasty-rates",
}

var active mutation

// planted reports whether a mutation is active.
func planted(m mutation) bool { return m == active }

// Mutations returns the names of all that [Plant] knows.
func Mutations() []string { return slices.Clone(mutationNames[1:]) }

// Plant makes the named mutation the active one; an empty name, none. It panics
// if there is no such mutation. Call it while no [Detector] is in use.
func Plant(name string) {
	i := slices.Index(mutationNames, name)
	if i < 0 {
		panic("detect: there is no mutation " + name)
	}
	active = mutation(i)
}
