package supervise

// mutation is one way in which the agent's rules could be wrong, planted to show
// that the simulator would find it.
type mutation uint8

const (
	noMutation     mutation = iota
	orderIgnored            // what a service is after is not waited for
	releaseRunning          // a lease is given back before what ran under it has stopped
	leaseUnwatched          // what runs goes on when its lease is over
	promoteAnyway           // a copy is made primary without the right to it
	startUnleased           // a service starts without its lease
)
