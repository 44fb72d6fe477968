package plane

// mutation is one way in which the plane could be wrong, as in packages lease and
// detect.
type mutation uint8

const (
	noMutation         mutation = iota
	claimsAwaitVerdict          // a successor claims when its predecessor is declared lost, not before
	lateSuccessor               // a successor looks once a second whether it is its turn
	noHurry                     // renewals are asked for with heartbeats only
	renewsAnyway                // who is cut off from a majority goes on asking
	everySuccessor              // all successors claim, whoever is before them
)
