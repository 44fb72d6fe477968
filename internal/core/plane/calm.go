package plane

import (
	"time"

	"github.com/keelson/keelson/internal/core/lease"
)

// calmAfter is how long nothing but heartbeats and renewals, all in time, must
// have passed until a node counts as calm.
const calmAfter = time.Second

// Calm reports whether nothing is under way that somebody waits for: all nodes
// that are not lost are heard in time, no lease is claimed, handed on or near
// its end. What arrives at a calm node may then wait for its next tick, which
// costs far less than a wake-up for each packet.
func (n *Node) Calm(now Boot) bool { return now-n.restless >= calmAfter }

// look notes what is not calm.
func (n *Node) look(now Boot) {
	if !n.detector.Calm(now) || !n.leases.Calm(now) {
		n.restless = now
	}
}

// stir notes a message that is not part of the calm.
func (n *Node) stir(now Boot, kind lease.Kind) {
	if kind != lease.KindBeat && kind != lease.KindAck {
		n.restless = now
	}
}
