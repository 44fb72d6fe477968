// Package agenda keeps what is to happen in a simulated world, in the order of its
// time. It refuses nothing, and allocates nothing once it has grown to what a
// history needs.
package agenda

import "time"

// Event is something that happens at a true time; order keeps events of one
// moment in the order in which they were planned. There are two kinds, so that
// the many need no closure: a packet arrives, or a rare thing is done.
type Event struct {
	At    time.Duration
	order uint64
	What  int32 // index of a packet, or of a call below zero: ^index
}

// Before reports whether e comes before o.
func (e Event) Before(o Event) bool { return e.At < o.At || e.At == o.At && e.order < o.order }

// Queue is a heap of events and the room for what they speak of. Nothing is
// allocated once it has grown to what a history needs.
type Queue struct {
	heap    []Event
	order   uint64
	calls   []func()
	freed   []int32 // of calls
	packets []Packet
	spare   []int32 // of packets
}

// Packet is on its way, or waits at a host that does not read.
type Packet struct {
	From, To uint8
	Inc      uint64
	Data     []byte
}

func (q *Queue) push(at time.Duration, what int32) {
	q.order++
	e := Event{At: at, order: q.order, What: what}
	h := append(q.heap, e)
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !e.Before(h[up]) {
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = e
	q.heap = h
}

// Pop takes the first event out. There must be one.
func (q *Queue) Pop() Event {
	h := q.heap
	first, e := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	for i := 0; len(h) > 0; {
		down := 2*i + 1
		if down+1 < len(h) && h[down+1].Before(h[down]) {
			down++
		}
		if down >= len(h) || !h[down].Before(e) {
			h[i] = e
			break
		}
		h[i] = h[down]
		i = down
	}
	q.heap = h
	return first
}

// Call plans something rare.
func (q *Queue) Call(at time.Duration, do func()) {
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

// Called takes a planned call out.
func (q *Queue) Called(what int32) func() {
	do := q.calls[^what]
	q.calls[^what] = nil
	q.freed = append(q.freed, ^what)
	return do
}

// Post plans the arrival of a packet; data is copied.
func (q *Queue) Post(at time.Duration, from, to uint8, inc uint64, data []byte) {
	var i int32
	if n := len(q.spare); n > 0 {
		i = q.spare[n-1]
		q.spare = q.spare[:n-1]
	} else {
		q.packets = append(q.packets, Packet{})
		i = int32(len(q.packets) - 1)
	}
	p := &q.packets[i]
	p.From, p.To, p.Inc, p.Data = from, to, inc, append(p.Data[:0], data...)
	q.push(at, i)
}

// Free gives the room of a packet back.
func (q *Queue) Free(i int32) { q.spare = append(q.spare, i) }

// Reset empties the queue and keeps its room.
func (q *Queue) Reset() {
	q.heap, q.order = q.heap[:0], 0
	clear(q.calls)
	q.calls, q.freed = q.calls[:0], q.freed[:0]
	q.spare = q.spare[:0]
	for i := range q.packets {
		q.spare = append(q.spare, int32(i))
	}
}

// Next is when the next thing happens. There must be one.
func (q *Queue) Next() time.Duration { return q.heap[0].At }

// Empty reports whether nothing is planned.
func (q *Queue) Empty() bool { return len(q.heap) == 0 }

// Packet is the one that an event speaks of, until it is freed.
func (q *Queue) Packet(what int32) *Packet { return &q.packets[what] }

// Planned is how many events were planned since the last Reset.
func (q *Queue) Planned() uint64 { return q.order }
