package bound

// mutation is one way in which the figures could be wrong, as in packages lease
// and detect.
type mutation uint8

const (
	noMutation        mutation = iota
	autoWithoutStalls          // leases are not made longer for the stalls of the hosts
	boundOfVerdict             // what is exclusive is counted as if the verdict ended its lease
	boundWithoutClaim          // winning the lease is not counted
)
