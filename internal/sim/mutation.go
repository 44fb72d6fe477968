package sim

// mutation is one way in which what stands around the protocol could be wrong,
// like those of package lease.
type mutation uint8

const (
	noMutation         mutation = iota
	cutMissesStart              // the guard's cut leaves room for a start that is under way
	releaseBeforeProof          // a lease is given back while the agent may still count on it
	limitAtOnce                 // voters that start are silent for a TTL that not all have heard of
)
