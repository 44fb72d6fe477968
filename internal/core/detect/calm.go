package detect

// Calm reports whether every member that is not lost was heard within the last
// two intervals, and this node itself is in time.
func (d *Detector) Calm(now Boot) bool {
	if d.suspect != d.lost || now < d.graceEnd || now < d.abstain {
		return false
	}
	for rest := d.others() &^ d.lost; rest != 0; rest &= rest - 1 {
		p := &d.peers[rest.First()]
		if p.known && now-p.last > 2*d.interval+d.interval/2 {
			return false
		}
	}
	return true
}
