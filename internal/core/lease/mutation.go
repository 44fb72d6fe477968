package lease

// mutation is one way in which the protocol could be wrong. Each leaves out
// what one invariant rests on. A build with the tag keelson_mutant can plant
// one, to show that the simulator finds it; in every other build [planted] is
// constant, and the compiler removes what it guards.
type mutation uint8

const (
	noMutation         mutation = iota
	noSilence                   // a voter that starts votes at once
	countFromArrival            // a holder counts from the arrival of the answer
	noDriftBound                // a holder counts the whole TTL
	noPrepare                   // a claim is proposed without being prepared
	anyPromise                  // a voter accepts whatever it promised
	ackOfAnySet                 // an answer counts for leases that the voter does not have
	secondLife                  // a lease that lapsed is renewed
	noNewestConfig              // a voter serves nodes that use an older set of voters
	noJointMajority             // the majority of the voters before a change is not asked
	noRefusals                  // a holder does not hear that a voter renews no more
	noFloor                     // a node that starts may use any number
	queueFirst                  // a claim that waits passes ahead of renewals
	promiseBroken               // a voter promises what it has granted
	anyRelease                  // a release ends whatever lease its sender has now
	shorterAtOnce               // a shorter TTL shortens what was promised
	lateDoubleShortens          // a late double of a proposal replaces what the set says
	narrowDriftBound            // a holder allows for clocks that differ by 1 % only
	noCeilingTold               // a claimant without numbers is not told of the ceiling
	keepExclusive               // what is exclusive goes on without its lease
	takeBackAtOnce              // a voter renews a lease again while what it accepted since binds it
	keepForEver                 // what goes on without its lease does not end for another
)
