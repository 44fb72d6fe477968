package whole

import "time"

// wire is the socket between a node's agent and its guard. What one says arrives
// in order, a little later.
type wire struct {
	open    bool
	number  int           // of the connection
	guardAt time.Duration // true times at which the last word arrives
	agentAt time.Duration
	unread  int // words that have arrived at the agent, which did not run
}

// socketTime is how long a word takes at most.
const socketTime = 2 * time.Millisecond

// cutWire ends the connection. What was said on it and has not arrived is lost.
func (w *world) cutWire(n *node) {
	n.wire.open, n.wire.unread = false, 0
	n.wire.number++
}

// tellGuard says something to the guard.
func (w *world) tellGuard(n *node, hears func()) {
	if !n.wire.open {
		return
	}
	n.wire.guardAt = max(n.wire.guardAt, w.now+w.random(socketTime))
	w.after(n.wire.guardAt-w.now, n.guard.Only(w.connected(n, hears)))
}

// tellAgent says something to the agent.
func (w *world) tellAgent(n *node, hears func()) {
	if !n.wire.open {
		return
	}
	n.wire.agentAt = max(n.wire.agentAt, w.now+w.random(socketTime))
	arrived := w.connected(n, func() { n.wire.unread++ })
	read := n.agent.Only(w.connected(n, func() {
		n.wire.unread--
		hears()
	}))
	w.after(n.wire.agentAt-w.now, func() {
		arrived()
		read()
	})
}

// connected returns do for this connection.
func (w *world) connected(n *node, do func()) func() {
	number := n.wire.number
	return func() {
		if n.wire.number == number {
			do()
		}
	}
}
