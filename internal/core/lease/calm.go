package lease

// pressedShare is the part of a lease, in tenths, from which on it is pressing
// to renew it.
const pressedShare = 5

// Pressed is the moment from which on some lease that this node holds has less
// than [pressedShare] tenths of its time left, or a negative value if nothing is
// held. From then on the wait for the next heartbeat is too long.
func (n *Node) Pressed() Boot {
	at := Boot(-1)
	for i := range n.holder.entries {
		e := &n.holder.entries[i]
		if t := e.until - e.TTL*pressedShare/10; at < 0 || t < at {
			at = t
		}
	}
	return at
}

// Calm reports whether this node claims nothing, no claim waits here, nothing
// is being given back, and all that it holds is good for two fifths of its time or more.
func (n *Node) Calm(now Boot) bool {
	if n.voter.queued > 0 || len(n.holder.releases) > 0 {
		return false
	}
	for i := range n.claimant.claims {
		if n.claimant.wants(n, &n.claimant.claims[i]) {
			return false
		}
	}
	for i := range n.holder.entries {
		if e := &n.holder.entries[i]; e.until-now < e.TTL*2/5 {
			return false
		}
	}
	return true
}
