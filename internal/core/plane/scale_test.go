package plane

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/keelson/keelson/internal/core/lease"
	"github.com/keelson/keelson/internal/core/quorum"
)

// crowd is a cell of many services, all nodes of it in one goroutine, with a
// network that delivers at once.
type crowd struct {
	nodes []*Node
	dead  quorum.Set
	now   Boot
	used  []time.Duration // processor time of each node
	worst []time.Duration // longest single step of each node
	sent  int             // packets
}

// newCrowd makes a cell of so many nodes and services, with three voters. With all
// on one, node 0 is the first to run each of them; else they are spread evenly.
func newCrowd(nodes, services int, allOnOne bool) *crowd {
	c := &crowd{used: make([]time.Duration, nodes), worst: make([]time.Duration, nodes)}
	duty := Duty{
		Members: 1<<nodes - 1, Config: quorum.Config{Version: 1, Voters: 0b111},
		Ceiling: 1 << 20, Longest: 1500 * time.Millisecond,
	}
	for i := range services {
		first := i % nodes
		if allOnOne {
			first = 0
		}
		s := Seek{ID: lease.ID(i + 1), TTL: 500 * time.Millisecond, Claim: true}
		for j := range nodes {
			s.Order = append(s.Order, uint8((first+j)%nodes))
		}
		duty.Seeks = append(duty.Seeks, s)
	}
	for i := range nodes {
		n := New(uint8(i), 1)
		n.SetDuty(0, duty)
		c.nodes = append(c.nodes, n)
	}
	return c
}

// processor is the time that this process has run: others may be busy, too.
func processor() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// step lets one node do something and counts what it took.
func (c *crowd) step(i int, f func(n *Node)) {
	began := processor()
	f(c.nodes[i])
	took := processor() - began
	c.used[i] += took
	c.worst[i] = max(c.worst[i], took)
}

// round lets d pass, and then all that is due happen.
func (c *crowd) round(d time.Duration) {
	c.now += d
	for i, n := range c.nodes {
		if c.dead.Has(uint8(i)) || n.Next() > c.now {
			continue
		}
		c.step(i, func(n *Node) { n.Tick(c.now) })
		c.deliver(i)
	}
}

// deliver hands on what a node wants sent, and what comes of that.
func (c *crowd) deliver(i int) {
	var packets []Packet
	c.step(i, func(n *Node) { packets = n.Packets(); n.Notes() })
	for _, p := range packets {
		c.sent++
		if c.dead.Has(p.To) {
			continue
		}
		c.step(int(p.To), func(n *Node) {
			if err := n.Receive(c.now, uint8(i), 1, p.Data); err != nil {
				panic(err)
			}
		})
	}
	for _, p := range packets {
		if n := c.nodes[p.To]; n.urgent && !c.dead.Has(p.To) {
			c.deliver(int(p.To))
		}
	}
}

// pass lets d pass.
func (c *crowd) pass(d time.Duration) {
	for end := c.now + d; c.now < end; {
		c.round(5 * time.Millisecond)
	}
}

// held is how many leases the living hold.
func (c *crowd) held() int {
	all := 0
	for i, n := range c.nodes {
		if !c.dead.Has(uint8(i)) {
			all += len(n.Holds(c.now, nil))
		}
	}
	return all
}

// reset begins to count anew.
func (c *crowd) reset() {
	clear(c.used)
	clear(c.worst)
	c.sent = 0
}

// BenchmarkThousandServices says what a thousand leases cost a node: a second at
// rest, and their takeover when the node that holds most dies. Packets are neither
// sealed nor sent.
func BenchmarkThousandServices(b *testing.B) {
	for _, shape := range []struct {
		nodes, services int
		allOnOne        bool
	}{{3, 1, true}, {3, 1000, true}, {3, 1000, false}, {32, 1000, true}, {32, 1000, false}} {
		name := fmt.Sprintf("nodes=%d/services=%d/one=%v", shape.nodes, shape.services, shape.allOnOne)
		b.Run(name+"/rest", func(b *testing.B) {
			c := newCrowd(shape.nodes, shape.services, shape.allOnOne)
			c.pass(6 * time.Second)
			if c.held() != shape.services {
				b.Fatalf("%d leases are held", c.held())
			}
			c.reset()
			b.ReportAllocs()
			seconds := 0
			for b.Loop() {
				c.pass(time.Second)
				seconds++
			}
			if c.held() != shape.services {
				b.Fatalf("%d leases are held", c.held())
			}
			per := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(seconds) }
			b.ReportMetric(per(c.used[0]), "µs/s-node0")
			b.ReportMetric(per(c.used[1]), "µs/s-node1")
			b.ReportMetric(per(c.used[shape.nodes-1]), "µs/s-last")
			b.ReportMetric(float64(c.worst[0].Microseconds()), "µs-worst0")
		})
		b.Run(name+"/takeover", func(b *testing.B) {
			b.ReportAllocs()
			var worst, used, took time.Duration
			for b.Loop() {
				b.StopTimer()
				c := newCrowd(shape.nodes, shape.services, shape.allOnOne)
				c.pass(6 * time.Second)
				c.reset()
				c.dead = 1
				b.StartTimer()
				from := c.now
				for c.held() < shape.services {
					c.round(5 * time.Millisecond)
					if c.now > from+time.Minute {
						b.Fatalf("%d leases are held a minute after", c.held())
					}
				}
				took += c.now - from
				worst, used = max(worst, c.worst[1]), used+c.used[1]
			}
			b.ReportMetric(float64(worst.Microseconds()), "µs-worst1")
			b.ReportMetric(float64(used.Microseconds())/float64(b.N), "µs-used1")
			b.ReportMetric(float64(took.Milliseconds())/float64(b.N), "ms-virtual")
		})
	}
}

func TestAThousandLeasesAreRenewedWithoutGarbage(t *testing.T) {
	sizes := []int{3, 32}
	if testing.Short() {
		sizes = sizes[:1]
	}
	for _, nodes := range sizes {
		c := newCrowd(nodes, 1000, true)
		c.pass(6 * time.Second)
		c.reset()
		if n := testing.AllocsPerRun(3, func() { c.pass(500 * time.Millisecond) }); n > 0 {
			t.Errorf("%d nodes: half a second made %v allocations", nodes, n)
		}
		if held := len(c.nodes[0].Holds(c.now, nil)); held != 1000 || c.sent == 0 {
			t.Errorf("%d nodes: %d leases are held, %d packets were sent", nodes, held, c.sent)
		}
	}
}
