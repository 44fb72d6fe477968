// Package timeline keeps what is to happen at virtual times, in order.
//
// Things of one moment happen in the order in which they were added.
package timeline

import (
	"container/heap"
	"time"
)

// Timeline is what is to happen. The zero value is empty; it is not safe for
// concurrent use.
type Timeline struct {
	events events
	added  uint64
}

type event struct {
	at    time.Duration
	order uint64
	do    func()
}

// Add plans do at a time.
func (t *Timeline) Add(at time.Duration, do func()) {
	t.added++
	heap.Push(&t.events, event{at: at, order: t.added, do: do})
}

// Added is how often something was planned.
func (t *Timeline) Added() uint64 { return t.added }

// First is when the first thing happens. There must be one.
func (t *Timeline) First() time.Duration { return t.events[0].at }

// Take takes the first thing out. There must be one.
func (t *Timeline) Take() (at time.Duration, do func()) {
	e, _ := heap.Pop(&t.events).(event)
	return e.at, e.do
}

type events []event

func (q events) Len() int { return len(q) }

func (q events) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].order < q[j].order
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push is for package heap.
func (q *events) Push(x any) {
	if e, ok := x.(event); ok {
		*q = append(*q, e)
	}
}

// Pop is for package heap.
func (q *events) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = event{}
	*q = (*q)[:last]
	return e
}
