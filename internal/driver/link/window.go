package link

// windowSize is how far behind the newest sequence number a packet may be.
const windowSize = 1024

// window remembers which packets of one sender were taken: the newest sequence
// number of its newest incarnation, and which of the [windowSize] up to it. The
// zero value has taken none. As in RFC 4303, section 3.4.3, with the sequence
// numbers' bits kept in place so that nothing is shifted.
type window struct {
	incarnation uint64
	newest      uint64
	seen        [windowSize / 64]uint64
}

// judge returns taken if the packet may be taken, or what to count it as. It
// changes nothing: the packet is not known to be authentic yet. Sequence
// numbers begin with 1.
func (w *window) judge(incarnation, sequence uint64) Kind {
	switch {
	case incarnation < w.incarnation, sequence == 0:
		return Stale
	case incarnation > w.incarnation:
		return taken
	case w.newest >= windowSize && sequence <= w.newest-windowSize:
		return Stale
	case sequence > w.newest:
		return taken
	}
	if word, bit := place(sequence); w.seen[word]&bit != 0 {
		return Duplicate
	}
	return taken
}

// mark takes a packet that judge would take and that is authentic.
func (w *window) mark(incarnation, sequence uint64) {
	if incarnation > w.incarnation {
		*w = window{incarnation: incarnation}
	}
	if sequence > w.newest {
		if sequence-w.newest >= windowSize {
			clear(w.seen[:])
		} else {
			for s := w.newest + 1; s < sequence; s++ {
				word, bit := place(s)
				w.seen[word] &^= bit
			}
		}
		w.newest = sequence
	}
	word, bit := place(sequence)
	w.seen[word] |= bit
}

func place(sequence uint64) (word int, bit uint64) {
	at := sequence % windowSize
	return int(at / 64), 1 << (at % 64)
}
