package sim

import "time"

// event is something that happens at a true time; order keeps events of one
// moment in the order in which they were planned. There are two kinds, so that
// the many need no closure: a packet arrives, or a rare thing is done.
type event struct {
	at    time.Duration
	order uint64
	what  int32 // index of a packet, or of a call below zero: ^index
}

func (e event) before(o event) bool { return e.at < o.at || e.at == o.at && e.order < o.order }

// queue is a heap of events and the room for what they speak of. Nothing is
// allocated once it has grown to what a history needs.
type queue struct {
	heap    []event
	order   uint64
	calls   []func()
	freed   []int32 // of calls
	packets []packet
	spare   []int32 // of packets
}

// packet is on its way, or waits at a host that does not read.
type packet struct {
	from, to uint8
	inc      uint64
	data     []byte
}

func (q *queue) push(at time.Duration, what int32) {
	q.order++
	e := event{at: at, order: q.order, what: what}
	h := append(q.heap, e)
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !e.before(h[up]) {
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = e
	q.heap = h
}

// pop takes the first event out. There must be one.
func (q *queue) pop() event {
	h := q.heap
	first, e := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	for i := 0; len(h) > 0; {
		down := 2*i + 1
		if down+1 < len(h) && h[down+1].before(h[down]) {
			down++
		}
		if down >= len(h) || !h[down].before(e) {
			h[i] = e
			break
		}
		h[i] = h[down]
		i = down
	}
	q.heap = h
	return first
}

// call plans something rare.
func (q *queue) call(at time.Duration, do func()) {
	if n := len(q.freed); n > 0 {
		i := q.freed[n-1]
		q.freed = q.freed[:n-1]
		q.calls[i] = do
		q.push(at, ^i)
		return
	}
	q.calls = append(q.calls, do)
	q.push(at, ^int32(len(q.calls)-1))
}

// called takes a planned call out.
func (q *queue) called(what int32) func() {
	do := q.calls[^what]
	q.calls[^what] = nil
	q.freed = append(q.freed, ^what)
	return do
}

// post plans the arrival of a packet; data is copied.
func (q *queue) post(at time.Duration, from, to uint8, inc uint64, data []byte) {
	var i int32
	if n := len(q.spare); n > 0 {
		i = q.spare[n-1]
		q.spare = q.spare[:n-1]
	} else {
		q.packets = append(q.packets, packet{})
		i = int32(len(q.packets) - 1)
	}
	p := &q.packets[i]
	p.from, p.to, p.inc, p.data = from, to, inc, append(p.data[:0], data...)
	q.push(at, i)
}

// free gives the room of a packet back.
func (q *queue) free(i int32) { q.spare = append(q.spare, i) }

// reset empties the queue and keeps its room.
func (q *queue) reset() {
	q.heap, q.order = q.heap[:0], 0
	clear(q.calls)
	q.calls, q.freed = q.calls[:0], q.freed[:0]
	q.spare = q.spare[:0]
	for i := range q.packets {
		q.spare = append(q.spare, int32(i))
	}
}
