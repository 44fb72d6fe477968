package custody

// mutation is one way in which the guard's rules could be wrong, planted to show
// that the simulator would find it.
type mutation uint8

const (
	noMutation    mutation = iota
	releaseAtOnce          // what is given up is released before it is cut off
	leaseOutlived          // what runs is not cut off at its lease's end
)
