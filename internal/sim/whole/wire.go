package whole

import "time"

// process is a process that can be killed and stopped.
type process struct {
	up      bool
	life    int // grows with every start and every end
	stopped int // faults that keep it from running
	waiting []func()
}

// runs reports whether it is there and not stopped.
func (p *process) runs() bool { return p.up && p.stopped == 0 }

// only returns do for this life of the process: it is not done in another, and
// waits while the process is stopped.
func (p *process) only(do func()) func() {
	life := p.life
	var once func()
	once = func() {
		switch {
		case p.life != life:
		case p.stopped > 0:
			p.waiting = append(p.waiting, once)
		default:
			do()
		}
	}
	return once
}

// resume lets a stopped process go on, if nothing else keeps it.
func (p *process) resume() {
	if p.stopped--; p.stopped > 0 {
		return
	}
	waiting := p.waiting
	p.waiting = nil
	for _, do := range waiting {
		do()
	}
}

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
	w.after(n.wire.guardAt-w.now, n.guard.only(w.connected(n, hears)))
}

// tellAgent says something to the agent.
func (w *world) tellAgent(n *node, hears func()) {
	if !n.wire.open {
		return
	}
	n.wire.agentAt = max(n.wire.agentAt, w.now+w.random(socketTime))
	arrived := w.connected(n, func() { n.wire.unread++ })
	read := n.agent.only(w.connected(n, func() {
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
