//go:build keelson_mutant

package whole

// mutationNames are what the mutations are called, by number.
var mutationNames = []string{noMutation: "", startAnyway: "start-anyway", journalForgotten: "journal-forgotten", gatesLate: "gates-late"}

var active mutation

// planted reports whether a mutation is active.
func planted(m mutation) bool { return m == active }
