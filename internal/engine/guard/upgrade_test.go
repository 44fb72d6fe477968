package guard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/model/guardwire"
)

// heir is a Successor made by hand. A guard that becomes another program stands
// still, as one of which nothing is left, until its test ends.
type heir struct {
	refuses error
	fails   error
	states  chan []byte
	end     chan struct{}
}

func newHeir() *heir { return &heir{states: make(chan []byte, 1), end: make(chan struct{})} }

func (h *heir) Check(_ context.Context, _ guardwire.Upgrade, state []byte) error {
	if _, err := Decode(state); err != nil {
		return err
	}
	return h.refuses
}

func (h *heir) Become(_ guardwire.Upgrade, state []byte) error {
	if h.fails != nil {
		return h.fails
	}
	h.states <- state
	<-h.end
	return errors.New("the test ended")
}

var newer = guardwire.Upgrade{Path: "/usr/bin/keelson", Args: []string{"guard"}, Build: "v2"}

// withHeir is threeGuards with an heir for the first.
func withHeir(t *testing.T, f func(t *testing.T, h *heir, w *wire, sites []*site)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := newHeir()
		clk := bubbleClock{zero: time.Now()}
		w := &wire{ends: map[uint8]*end{}, mute: map[uint8]bool{}}
		var sites []*site
		for slot := range uint8(3) {
			s := startSite(t, w, clk, slot, func(o *Options) {
				if slot == 0 {
					o.Successor = h
				}
			})
			d := dutyOf(slot)
			s.tell(t, guardwire.Message{Duty: &d})
			sites = append(sites, s)
		}
		old := sites[0]
		pass(t, sites, 3*time.Second)
		f(t, h, w, sites)
		close(h.end)
		for _, s := range append(sites, old) {
			s.cancel()
			s.conn.Close()
		}
		for _, s := range append(sites, old)[:3] {
			if err := <-s.done; err != nil {
				t.Errorf("guard ended with %v", err)
			}
		}
		if old != sites[0] {
			<-old.done
		}
	})
}

// takeOver starts the guard that goes on from state in place of s.
func takeOver(t *testing.T, w *wire, s *site, state []byte) *site {
	t.Helper()
	h, err := Decode(state)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	next := &site{
		fence:    &fence{clock: s.fence.clock, cuts: map[string]time.Duration{}},
		listener: pipes{conns: make(chan net.Conn, 1)}, conn: s.conn, cancel: cancel, done: make(chan error, 1),
	}
	o := next.options(w, 0)
	o.Build = "v2"
	g, err := Resume(o, h)
	if err != nil {
		t.Fatal(err)
	}
	go func() { next.done <- g.Run(ctx) }()
	return next
}

func TestGuardThatWasUpgradedGoesOnWithoutAGap(t *testing.T) {
	withHeir(t, func(t *testing.T, h *heir, w *wire, sites []*site) {
		was := sites[0].last()
		if len(was.Holds) != 1 || was.Build != "v1" {
			t.Fatalf("before the upgrade: %+v", was)
		}
		sites[0].tell(t, guardwire.Message{Upgrade: &newer})
		state := <-h.states
		time.Sleep(60 * time.Millisecond) // what an exec takes
		sites[0] = takeOver(t, w, sites[0], state)
		sites[0].connect()
		for range 100 {
			pass(t, sites, 50*time.Millisecond)
			if n := len(sites[1].holds()) + len(sites[2].holds()); n > 0 {
				t.Fatal("another node holds the lease")
			}
			if v := sites[1].last(); v.Suspect != 0 || v.Lost != 0 || v.Holders[1] != 0 {
				t.Fatalf("b sees suspects %b, lost %b, holders %v", v.Suspect, v.Lost, v.Holders)
			}
		}
		now := sites[0].last()
		if now.Build != "v2" || now.Guard != was.Guard || now.Fresh || len(now.Warnings) > 0 {
			t.Errorf("after it: build %s, incarnation %d after %d, fresh %v, warnings %q", now.Build, now.Guard, was.Guard, now.Fresh, now.Warnings)
		}
		if len(now.Holds) != 1 || now.Holds[0].Epoch != was.Holds[0].Epoch || now.Holds[0].Until <= was.Holds[0].Until {
			t.Errorf("the lease was %v, and is %v", was.Holds, now.Holds)
		}
		if at := sites[0].fence.cutAt("/cg/shop"); at != 0 {
			t.Error("the service was cut off")
		}
		told := strings.Join(sites[0].texts, "\n")
		if !strings.Contains(told, "upgraded from v1 to v2; it sent nothing for ") || strings.Contains(told, "not heard") {
			t.Errorf("it told: %s", told)
		}
	})
}

func TestGuardThatWasUpgradedRemembersHowLongItsAgentIsAway(t *testing.T) {
	withHeir(t, func(t *testing.T, h *heir, w *wire, sites []*site) {
		sites[0].tell(t, guardwire.Message{Upgrade: &newer})
		next := takeOver(t, w, sites[0], <-h.states) // and no agent connects
		sites[0] = next
		pass(t, sites[1:], 4*time.Second)
		if next.fence.cutAt("/cg/shop") != 0 {
			t.Error("the service was cut off before agent_loss had passed")
		}
		pass(t, sites[1:], 2*time.Second)
		if next.fence.cutAt("/cg/shop") == 0 {
			t.Error("the service was not cut off")
		}
	})
}

func TestUpgradeThatCannotBeIsRefusedWithASentence(t *testing.T) {
	for name, spoil := range map[string]func(*heir){
		"the program cannot read the state": func(h *heir) { h.refuses = errors.New("it does not understand") },
		"the program cannot be started":     func(h *heir) { h.fails = errors.New("it does not start") },
	} {
		t.Run(name, func(t *testing.T) {
			withHeir(t, func(t *testing.T, h *heir, _ *wire, sites []*site) {
				spoil(h)
				epoch := sites[0].last().Holds[0].Epoch
				for range 2 { // it may be asked again
					sites[0].tell(t, guardwire.Message{Upgrade: &newer})
					pass(t, sites, 3*time.Second)
				}
				s := sites[0].last()
				if len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "goes on as version v1 and could not be upgraded to v2: it does not") {
					t.Errorf("it warns: %q", s.Warnings)
				}
				if !strings.Contains(s.Warnings[0], fmt.Sprintf("`kill %d`", os.Getpid())) {
					t.Errorf("it does not name the process: %q", s.Warnings)
				}
				if len(s.Holds) != 1 || s.Holds[0].Epoch != epoch || s.Build != "v1" {
					t.Errorf("it holds %v as %s", s.Holds, s.Build)
				}
			})
		})
	}
}

func TestUpgradeWaitsWhileSomethingIsToBeCutOff(t *testing.T) {
	withHeir(t, func(t *testing.T, h *heir, w *wire, sites []*site) {
		sites[0].fence.stuck("/cg/shop")
		w.mu.Lock()
		w.mute[0] = true // it loses its lease
		w.mu.Unlock()
		pass(t, sites, 2*time.Second)
		sites[0].tell(t, guardwire.Message{Upgrade: &newer})
		pass(t, sites, upgradeLimit+5*time.Second)
		select {
		case <-h.states:
			t.Fatal("it was upgraded before the service was cut off")
		default:
		}
		if w := sites[0].last().Warnings; len(w) != 1 || !strings.Contains(w[0], "cut off") {
			t.Errorf("it warns: %q", w)
		}
		sites[0].tell(t, guardwire.Message{Upgrade: &newer})
		pass(t, sites, time.Second)
		sites[0].fence.stuck("")
		pass(t, sites[1:], 3*time.Second)
		select {
		case <-h.states:
		default:
			t.Error("it was not upgraded when the service was cut off")
		}
	})
}

// stateOf returns the state of a guard in full work.
func stateOf(t testing.TB) []byte {
	t.Helper()
	g, clk := lonely(t)
	clk.add(3 * time.Second)
	g.tick()
	g.settle()
	g.parting.forsaken["shop"] = clk.now
	state, _, err := g.handOver()
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func TestStateThatIsNotWholeIsRefused(t *testing.T) {
	whole := stateOf(t)
	if _, err := Decode(whole); err != nil {
		t.Fatal(err)
	}
	_, body, _ := bytes.Cut(whole, []byte("\n"))
	edit := func(f func(map[string]any)) []byte {
		var m map[string]any
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		if err := d.Decode(&m); err != nil {
			t.Fatal(err)
		}
		f(m)
		out, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return append([]byte("keelson guard state 1\n"), out...)
	}
	if _, err := Decode(edit(func(map[string]any) {})); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		state []byte
	}{
		{"nothing", nil},
		{"half of it", whole[:len(whole)/2]},
		{"of a version to come", append([]byte("keelson guard state 2\n"), body...)},
		{"of no version", append([]byte("keelson guard state \n"), body...)},
		{"without its title", body},
		{"with something unknown", edit(func(m map[string]any) { m["New"] = 1 })},
		{"with something unknown deep within", edit(func(m map[string]any) { m["Plane"].(map[string]any)["Leases"].(map[string]any)["New"] = 1 })},
		{"without an incarnation", edit(func(m map[string]any) { m["Incarnation"] = 0 })},
		{"of two slots", edit(func(m map[string]any) { m["Duty"].(map[string]any)["slot"] = 9 })},
		{"without its link", edit(func(m map[string]any) { delete(m, "Link") })},
		{"with leases of another incarnation", edit(func(m map[string]any) { m["Plane"].(map[string]any)["Leases"].(map[string]any)["Inc"] = 1 })},
		{"too long", make([]byte, MaxState+1)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if h, err := Decode(tt.state); !errors.Is(err, ErrState) || h != nil {
				t.Errorf("%v, %v", h, err)
			}
		})
	}
}

func TestStateOfAnotherBootIsRefused(t *testing.T) {
	h, err := Decode(stateOf(t))
	if err != nil {
		t.Fatal(err)
	}
	clk := &handClock{now: time.Second} // the host was started after it
	if _, err := Resume(lonelyOptions(clk), h); !errors.Is(err, ErrState) {
		t.Errorf("the answer is %v", err)
	}
}

func TestGuardWithoutADutyCanBeUpgradedToo(t *testing.T) {
	clk := &handClock{now: time.Hour}
	g := New(lonelyOptions(clk))
	state, undo, err := g.handOver()
	if err != nil {
		t.Fatal(err)
	}
	undo()
	h, err := Decode(state)
	if err != nil {
		t.Fatal(err)
	}
	next, err := Resume(lonelyOptions(clk), h)
	if err != nil {
		t.Fatal(err)
	}
	if next.node != nil || next.opts.Incarnation != g.opts.Incarnation {
		t.Errorf("it has incarnation %d after %d", next.opts.Incarnation, g.opts.Incarnation)
	}
}

func TestStateKeepsAllThatAGuardRemembers(t *testing.T) {
	state := stateOf(t)
	h, err := Decode(state)
	if err != nil {
		t.Fatal(err)
	}
	clk := &handClock{now: 2 * time.Hour}
	next, err := Resume(lonelyOptions(clk), h)
	if err != nil {
		t.Fatal(err)
	}
	next.pace.sent = h.Sent
	again, _, err := next.handOver()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(state), string(again)); diff != "" {
		t.Errorf("the guard that took over remembers something else: %s", diff)
	}
	if next.parting.forsaken["shop"] != clk.now || next.serviceName(1) != "shop" {
		t.Errorf("forsaken %v, names %v", next.parting.forsaken, next.names)
	}
}

// FuzzDecode looks for a state that is taken although it breaks the guard.
func FuzzDecode(f *testing.F) {
	f.Add(stateOf(f))
	f.Add([]byte("keelson guard state 1\n{\"Incarnation\":1}"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		h, err := Decode(data)
		if err != nil {
			return
		}
		clk := &handClock{now: 3 * time.Hour}
		g, err := Resume(lonelyOptions(clk), h)
		if err != nil || g.node == nil {
			return
		}
		g.enforcer = newEnforcer(g.opts)
		g.connect(g.duty)
		for range 5 {
			g.tick()
			g.settle()
			clk.add(100 * time.Millisecond)
		}
		if _, _, err := g.handOver(); err != nil {
			return
		}
	})
}

// handClock stands until it is moved.
type handClock struct {
	bubbleClock
	now time.Duration
}

func (c *handClock) Boot() time.Duration { return c.now }
func (c *handClock) add(d time.Duration) { c.now += d }

// nowhere is a link that leads nowhere.
type nowhere struct{ end }

func (*nowhere) Send(uint8, []byte) {}

func lonelyOptions(clk *handClock) Options {
	return Options{
		Clock: clk, Log: slog.New(slog.DiscardHandler), Incarnation: 7, Build: "v1",
		OpenLink: func(LinkOptions) (Link, error) { return &nowhere{}, nil },
		Fence:    &fence{cuts: map[string]time.Duration{}},
	}
}

// lonely returns a guard that is alone in its cell and holds its service's
// lease, and its clock. Nothing of it runs.
func lonely(t testing.TB) (*Guard, *handClock) {
	t.Helper()
	clk := &handClock{now: time.Hour}
	g := New(lonelyOptions(clk))
	g.enforcer = newEnforcer(g.opts)
	d := dutyOf(0)
	d.Peers, d.Lease.Voters = d.Peers[:0], 1
	g.present.Last = clk.now
	if err := g.setDuty(newTasks(t.Context()), d); err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		clk.add(20 * time.Millisecond)
		g.present.Last = clk.now
		g.tick()
		g.settle()
		if i == 0 {
			g.enforcer.gate.act()
			g.rule(<-g.enforcer.gate.ruled)
		}
	}
	if len(g.node.Holds(clk.now, nil)) != 1 {
		t.Fatal("it holds no lease")
	}
	return g, clk
}
