//go:build keelson_mutant

package sim

// mutationNames are what the mutations are called, by number.
var mutationNames = []string{
	noMutation: "", cutMissesStart: "cut-misses-start", releaseBeforeProof: "release-before-proof", limitAtOnce: "limit-at-once",
}

var active mutation

// planted reports whether a mutation is active.
func planted(m mutation) bool { return m == active }
