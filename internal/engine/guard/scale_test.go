package guard

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/spec"
)

// crowded returns a guard that is alone in its cell and holds so many leases, and
// its clock. Nothing of it runs. With claim false it could hold them, and holds none.
func crowded(t testing.TB, services int, ttl time.Duration, claim bool) (*Guard, *handClock) {
	t.Helper()
	clk := &handClock{now: time.Hour}
	g := New(lonelyOptions(clk))
	g.enforcer = newEnforcer(g.opts)
	d := dutyOf(0)
	d.Peers, d.Lease.Voters, d.Lease.Ceiling = d.Peers[:0], 1, 1<<20
	d.Seeks = d.Seeks[:0]
	for i := range services {
		s := guardwire.Seek{
			Service: spec.ServiceName(fmt.Sprintf("service-%04d", i)), ID: uint32(i + 1), TTL: ttl, Exclusive: true,
			Order: []uint8{0, 1, 2}, AgentLoss: 30 * time.Second,
			Addresses: []string{fmt.Sprintf("10.0.%d.%d/16%%eth0", i/250, i%250+1)},
			Cgroups:   []string{fmt.Sprintf("/sys/fs/cgroup/keelson/service-%04d", i)},
		}
		if !claim {
			s.Order = []uint8{1, 2, 0}
		}
		d.Seeks = append(d.Seeks, s)
	}
	if !claim {
		d.Peers, d.Lease.Voters = dutyOf(0).Peers, 7
	}
	g.present.Last = clk.now
	if err := g.setDuty(newTasks(t.Context()), d); err != nil {
		t.Fatal(err)
	}
	g.enforcer.order(g.enforcement(clk.now))
	g.enforcer.gate.act()
	g.rule(<-g.enforcer.gate.ruled)
	for range 300 {
		turn(g, clk)
	}
	want := 0
	if claim {
		want = services
	}
	if held := len(g.node.Holds(clk.now, nil)); held != want {
		t.Fatalf("it holds %d leases, not %d", held, want)
	}
	return g, clk
}

// TestManyLeasesWonAtOnceDoNotCostTheGuardItsAgent lets an agent that reads nothing
// for a while hear of a thousand leases that are won at once.
func TestManyLeasesWonAtOnceDoNotCostTheGuardItsAgent(t *testing.T) {
	const services = 1000
	g, clk := crowded(t, services, time.Second, true)
	g.told.happened = nil
	g.agent = &agentConn{out: make(chan guardwire.Message, outSize), drop: func() { t.Fatal("the agent was cut off") }}
	for i := range g.duty.Seeks {
		g.release(clk.now, &guardwire.Release{Service: g.duty.Seeks[i].Service, Epoch: g.node.Holds(clk.now, nil)[0].Number})
	}
	won, states := 0, 0
	var at guardwire.Boot
	for range 1000 {
		turn(g, clk)
		if len(g.agent.out) < outSize/2 && won < services && clk.now < time.Duration(at)+time.Second {
			continue // it reads nothing yet
		}
		for len(g.agent.out) > 0 {
			switch m := <-g.agent.out; {
			case m.State != nil:
				states++
			case m.Happened.Kind == string(event.LeaseWon):
				won++
				if m.Happened.At < at {
					t.Fatal("what happened first is told last")
				}
				at = m.Happened.At
			}
		}
	}
	if won != services || states == 0 || len(g.told.happened) > 0 {
		t.Errorf("%d of %d leases won were told, %d states, and %d things that happened were not", won, services, states, len(g.told.happened))
	}
}

func TestGarbageIsCollectedInQuietMoments(t *testing.T) {
	tests := []struct {
		name     string
		littered bool
		want     int // in a minute
	}{
		{"nothing but what little there is, in good time", false, 0},
		{"much of it, but not all the time", true, 29},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g, clk := crowded(t, 3, time.Second, true)
			collected := 0
			g.opts.Littered = func() bool { return tt.littered }
			g.opts.Collect = func() {
				collected++
				if g.wait() < calm {
					t.Errorf("collected %s before something is due", g.wait())
				}
			}
			for end := clk.now + time.Minute; clk.now < end; {
				turn(g, clk)
			}
			if collected < tt.want || collected > tt.want+1 {
				t.Errorf("collected %d times", collected)
			}
		})
	}
}

// kernel counts how often it is told that addresses may pass, and of how many.
type kernel struct {
	*fence
	calls, told int
	drops       int
	until       map[netip.Addr]time.Duration
}

func (k *kernel) Hold(addrs []netip.Addr, until time.Duration) error {
	k.calls, k.told = k.calls+1, k.told+len(addrs)
	for _, a := range addrs {
		k.until[a] = until
	}
	return nil
}

func (k *kernel) Drop(addrs []netip.Addr) error {
	k.drops++
	for _, a := range addrs {
		delete(k.until, a)
	}
	return nil
}

func TestTheKernelIsToldOfManyAddressesAtOnce(t *testing.T) {
	const services = 300
	g, clk := crowded(t, services, time.Second, true)
	k := &kernel{fence: g.opts.Fence.(*fence), until: map[netip.Addr]time.Duration{}}
	g.enforcer.gate.opts.Fence = k
	var due [2]time.Duration
	for end := clk.now + 20*time.Second; clk.now < end; {
		turn(g, clk)
		enforce(g, &due, clk.now)
		for a, until := range k.until {
			if until <= clk.now {
				t.Fatalf("%s does not pass any more, though its lease is held", a)
			}
		}
	}
	if len(k.until) != services || k.told < 20*services || k.calls > 4*20*2 {
		t.Errorf("%d calls were about %d addresses, %d times", k.calls, len(k.until), k.told)
	}
	clk.add(2 * time.Second) // without a renewal
	g.enforcer.gate.act()
	if k.drops == 0 || k.drops > 2 || len(k.until) > 0 {
		t.Errorf("%d calls dropped all but %d", k.drops, len(k.until))
	}
}

// turn is one turn of the loop, at the moment for which it waits.
func turn(g *Guard, clk *handClock) {
	clk.add(g.wait())
	g.present.Last = clk.now
	g.tick()
	g.settle()
	g.chores()
}

// enforce does what the goroutines beside the loop do, when it is due.
func enforce(g *Guard, due *[2]time.Duration, now time.Duration) {
	if e := g.enforcer; now >= due[0] {
		due[0] = now + e.act(context.Background())
	}
	if now >= due[1] {
		due[1] = now + g.enforcer.gate.act()
	}
}

// processor is the time that this process has run: others may be busy, too.
func processor() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkSecond is what the guard of a node does in a second in which nothing
// happens. Nothing is sent or received, and the kernel is told nothing; the state
// is written for the agent if there is one.
func BenchmarkSecond(b *testing.B) {
	for _, shape := range []struct {
		services int
		ttl      time.Duration
		holds    bool
		agent    bool
	}{
		{1, time.Second, true, true},
		{1000, time.Second, false, true},
		{1000, time.Second, true, false},
		{1000, time.Second, true, true},
		{1000, 300 * time.Millisecond, true, true},
	} {
		b.Run(fmt.Sprintf("services=%d/ttl=%s/held=%v/agent=%v", shape.services, shape.ttl, shape.holds, shape.agent), func(b *testing.B) {
			g, clk := crowded(b, shape.services, shape.ttl, shape.holds)
			if shape.agent {
				g.agent = &agentConn{out: make(chan guardwire.Message, outSize), drop: func() { b.Fatal("the agent was cut off") }}
			}
			g.told.happened = nil
			frames := guardwire.NewWriter(io.Discard)
			var due [2]time.Duration
			turns, states, seconds := 0, 0, 0
			runtime.GC()
			b.ReportAllocs()
			used := processor()
			for b.Loop() {
				for end := clk.now + time.Second; clk.now < end; turns++ {
					turn(g, clk)
					enforce(g, &due, clk.now)
					for g.agent != nil && len(g.agent.out) > 0 {
						if err := frames.Write(<-g.agent.out); err != nil {
							b.Fatal(err)
						}
						states++
					}
				}
				seconds++
			}
			used = processor() - used
			b.ReportMetric(float64(used.Microseconds())/float64(seconds), "µs-processor/s")
			b.ReportMetric(float64(turns)/float64(seconds), "turns/s")
			b.ReportMetric(float64(states)/float64(seconds), "states/s")
			used = processor()
			runtime.GC()
			b.ReportMetric(float64((processor() - used).Microseconds()), "µs-collect")
			var now runtime.MemStats
			runtime.ReadMemStats(&now)
			b.ReportMetric(float64(now.HeapAlloc)/(1<<20), "MB-live")
		})
	}
}
