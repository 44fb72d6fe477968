package plane

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/core/lease"
	"github.com/keelson/keelson/internal/core/quorum"
)

// pair is two nodes of a cell whose packets the test carries.
func pair(services int) (a, b *Node, duty Duty) {
	duty = Duty{
		Members: quorum.Of(0, 1), Config: quorum.Config{Version: 1, Voters: quorum.Of(0, 1)},
		Floor: 10, Ceiling: 10_000, Longest: time.Second,
	}
	for id := range services {
		duty.Seeks = append(duty.Seeks, Seek{ID: lease.ID(id + 1), TTL: time.Second, Order: []uint8{0, 1}, Claim: true})
	}
	return New(0, 1), New(1, 1), duty
}

// play lets both nodes live until end, and returns the longest packet.
func play(t *testing.T, a, b *Node, from, end Boot) int {
	t.Helper()
	longest := 0
	carry := func(now Boot, from, to *Node) {
		for _, p := range from.Packets() {
			longest = max(longest, len(p.Data))
			if err := to.Receive(now, from.self, 1, p.Data); err != nil {
				t.Fatalf("node %d could not read a packet of node %d: %v", to.self, from.self, err)
			}
		}
	}
	for now := from; now < end; now += time.Millisecond {
		for _, n := range []*Node{a, b} {
			if n.Next() <= now {
				n.Tick(now)
			}
		}
		carry(now, a, b)
		carry(now, b, a)
	}
	return longest
}

func TestPacketsStayWithinADatagramHoweverManyServices(t *testing.T) {
	a, b, duty := pair(500)
	a.SetDuty(0, duty)
	b.SetDuty(0, duty)
	longest := play(t, a, b, 0, 4*time.Second)
	if longest > MaxPacket {
		t.Errorf("a packet has %d bytes, the limit is %d", longest, MaxPacket)
	}
	if held := len(a.Holds(4*time.Second, nil)); held != 500 {
		t.Errorf("%d of 500 leases are held", held)
	}
}

func TestThousandLeasesCostNoMorePacketsThanOne(t *testing.T) {
	count := func(services int) int {
		a, b, duty := pair(services)
		a.SetDuty(0, duty)
		b.SetDuty(0, duty)
		play(t, a, b, 0, 5*time.Second)
		packets := 0
		for now := 5 * time.Second; now < 6*time.Second; now += time.Millisecond {
			a.Tick(now)
			b.Tick(now)
			for _, p := range a.Packets() {
				packets++
				_ = b.Receive(now, 0, 1, p.Data)
			}
			for _, p := range b.Packets() {
				_ = a.Receive(now, 1, 1, p.Data)
			}
		}
		return packets
	}
	if one, many := count(1), count(1000); many > one {
		t.Errorf("at rest a holder of 1 lease sends %d packets a second, of 1000 leases %d", one, many)
	}
}

func TestReleasedLeaseIsNotClaimedAgainAtOnce(t *testing.T) {
	a, b, duty := pair(1)
	a.SetDuty(0, duty)
	b.SetDuty(0, duty)
	play(t, a, b, 0, 3*time.Second)
	held := a.Holds(3*time.Second, nil)
	if len(held) != 1 {
		t.Fatal("the lease is not held")
	}
	a.Release(3*time.Second, held[0].ID, held[0].Number)
	play(t, a, b, 3*time.Second, 3*time.Second+releaseHold/2)
	if got := a.Holds(3*time.Second+releaseHold/2, nil); len(got) != 0 {
		t.Errorf("%v was claimed again at once", got)
	}
	play(t, a, b, 3*time.Second+releaseHold/2, 5*time.Second)
	if got := a.Holds(5*time.Second, nil); len(got) != 1 || got[0].Number <= held[0].Number {
		t.Errorf("after the pause %v is held, before it %v was", got, held)
	}
}

func TestSuccessorWaitsForAllBeforeIt(t *testing.T) {
	a, b, duty := pair(1)
	duty.Config.Voters = quorum.Of(1) // b alone votes, so that it can go on alone
	a.SetDuty(0, duty)
	b.SetDuty(0, duty)
	play(t, a, b, 0, 4*time.Second)
	if diff := cmp.Diff(0, len(b.Holds(4*time.Second, nil))); diff != "" {
		t.Errorf("b holds a lease while a lives: %s", diff)
	}
	for now := 4 * time.Second; now < 7*time.Second; now += time.Millisecond {
		b.Tick(now) // a is silent
		b.Packets()
	}
	if got := b.Holds(7*time.Second, nil); len(got) != 1 {
		t.Errorf("b holds %v, three seconds after a fell silent", got)
	}
}

func FuzzReceive(f *testing.F) {
	a, b, duty := pair(2)
	a.SetDuty(0, duty)
	b.SetDuty(0, duty)
	for now := Boot(0); now < 3*time.Second; now += 10 * time.Millisecond {
		a.Tick(now)
		for _, p := range a.Packets() {
			f.Add(slices.Clone(p.Data))
			_ = b.Receive(now, 0, 1, p.Data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		n, _, duty := pair(2)
		n.SetDuty(0, duty)
		_ = n.Receive(2*time.Second, 1, 1, data) // malformed or not, it must survive
		n.Tick(3 * time.Second)
		for _, p := range n.Packets() {
			if len(p.Data) > MaxPacket {
				t.Errorf("a packet of %d bytes came of it", len(p.Data))
			}
		}
	})
}

func TestSteadyCellMakesNoGarbage(t *testing.T) {
	for _, services := range []int{1, 40} {
		a, b, duty := pair(services)
		a.SetDuty(0, duty)
		b.SetDuty(0, duty)
		play(t, a, b, 0, 4*time.Second)
		now, packets, renewed := 4*time.Second, 0, Boot(0)
		var holds [64]lease.Hold
		round := func() {
			now += 10 * time.Millisecond
			for _, n := range []*Node{a, b} {
				n.Tick(now)
				other := a
				if n == a {
					other = b
				}
				for _, p := range n.Packets() {
					packets++
					if err := other.Receive(now, n.self, 1, p.Data); err != nil {
						t.Fatal(err)
					}
				}
				n.Notes()
			}
			held := a.Holds(now, holds[:0])
			if len(held) != services {
				t.Fatalf("%d of %d leases are held", len(held), services)
			}
			renewed = held[0].Until
		}
		if got := testing.AllocsPerRun(400, round); got != 0 {
			t.Errorf("%d services: 10 ms of a steady cell made %v allocations", services, got)
		}
		if packets == 0 || renewed < now {
			t.Errorf("the cell stood still: %d packets, the lease lasts until %s at %s", packets, renewed, now)
		}
	}
}
