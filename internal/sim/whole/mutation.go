package whole

// mutation is one way in which what stands around the rules could be wrong, like
// those of packages custody and supervise.
type mutation uint8

const (
	noMutation       mutation = iota
	journalForgotten          // an agent does not read what one before it has left running
	gatesLate                 // what holds an instance back is told after it began
	leasesCounted             // what is deleted and applied again has another lease
	besideAnyone              // nobody waits for who is on its node still
	silenceAwaited            // a guard that fell silent is there until it is not heard again
)
