package detect

// mutation is one way in which the detector could be wrong, as in package lease:
// a build with the tag keelson_mutant can plant one, to show that the simulator
// finds it; in every other build [planted] is constant.
type mutation uint8

const (
	noMutation         mutation = iota
	oneObserver                 // one observer alone declares a node lost
	fixedTimeout                // 90 ms for everyone, whatever was learned
	noAbstaining                // who cannot tell votes
	noSlack                     // who itself was late does not wait for longer
	noCut                       // the matrix cuts nobody
	oneWayIsContact             // who is heard counts as in touch
	cutsTooMany                 // a link that fails cuts those whom it joined
	silenceHeals                // who is cut off is back when it is silent, until it is cut off anew
	nothingLearned              // the shortest timeout for everyone
	latenessNotLearned          // timeouts do not follow what the target says of its own lateness
	gapsNotLearned              // nor the gaps that were seen
	answersIgnored              // a node whose kernel answers is lost as soon as any other
	answersForEver              // and this: it is never lost
	lostForEver                 // who was lost once, stays lost
	hastyRates                  // clocks that are good count as skewed
)
