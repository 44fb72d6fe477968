package guard

import (
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keelson/keelson/internal/model/guardwire"
)

// dog is a watchdog that remembers.
type dog struct {
	mu       sync.Mutex
	clock    bubbleClock
	petted   time.Duration
	longest  time.Duration // between two pets
	disarmed bool
	mute     error
}

func (d *dog) Pet() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.clock.Boot()
	if d.petted > 0 {
		d.longest = max(d.longest, now-d.petted)
	}
	d.petted = now
	return d.mute
}

func (d *dog) Disarm() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.disarmed = true
	return nil
}

// hungry is how long the watchdog has not been petted.
func (d *dog) hungry() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.clock.Boot() - d.petted
}

// withDog is threeGuards with a watchdog for the first; f says whether it is to
// be disarmed in the end.
func withDog(t *testing.T, f func(t *testing.T, d *dog, w *wire, sites []*site) (disarmed bool)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		clk := bubbleClock{zero: time.Now()}
		d := &dog{clock: clk}
		w := &wire{ends: map[uint8]*end{}, mute: map[uint8]bool{}}
		var sites []*site
		for slot := range uint8(3) {
			s := startSite(t, w, clk, slot, func(o *Options) {
				if slot == 0 {
					o.Watchdog = d
				}
			})
			duty := dutyOf(slot)
			s.tell(t, guardwire.Message{Duty: &duty})
			sites = append(sites, s)
		}
		pass(t, sites, 3*time.Second)
		want := f(t, d, w, sites)
		for _, s := range sites {
			s.cancel()
			s.ends(t)
			s.conn.Close()
		}
		if d.disarmed != want {
			t.Errorf("disarmed in the end: %v, want %v", d.disarmed, want)
		}
	})
}

func TestWatchdogIsPettedWhileAllIsInOrder(t *testing.T) {
	withDog(t, func(t *testing.T, d *dog, w *wire, sites []*site) bool {
		pass(t, sites, 10*time.Second)
		w.mu.Lock()
		w.mute[0] = true // it loses its lease, and cuts the service off in time
		w.mu.Unlock()
		pass(t, sites, 10*time.Second)
		hungry := d.hungry()
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.longest > petEvery+200*time.Millisecond || hungry > petEvery+200*time.Millisecond {
			t.Errorf("it was left alone for %s, last for %s", d.longest, hungry)
		}
		return true
	})
}

func TestWatchdogEndsANodeWhoseServiceCannotBeCutOff(t *testing.T) {
	withDog(t, func(t *testing.T, d *dog, w *wire, sites []*site) bool {
		sites[0].fence.stuck("/cg/shop")
		w.mu.Lock()
		w.mute[0] = true
		w.mu.Unlock()
		pass(t, sites, 4*time.Second)
		if d.hungry() > 2*petEvery {
			t.Errorf("the node is given up after %s", d.hungry())
		}
		pass(t, sites, 10*time.Second)
		if d.hungry() < 5*time.Second {
			t.Error("it is petted although the service may run on")
		}
		if ws := strings.Join(sites[0].last().Warnings, "\n"); !strings.Contains(ws, "will restart it: shop cannot be cut off") {
			t.Errorf("it warns: %s", ws)
		}
		return false
	})
}

func TestWatchdogEndsANodeWhoseLeasesAreNotEnforced(t *testing.T) {
	withDog(t, func(t *testing.T, d *dog, _ *wire, sites []*site) bool {
		sites[0].fence.hang(10 * time.Second) // the kernel does not answer
		pass(t, sites, 9*time.Second)
		if d.hungry() < 3*time.Second {
			t.Error("it is petted although nobody looks after the leases")
		}
		sites[0].fence.hang(0)
		pass(t, sites, 12*time.Second)
		if d.hungry() > 2*petEvery {
			t.Error("it is not petted although all is well again")
		}
		return true
	})
}

func TestWatchdogThatDoesNotAnswerIsAWarning(t *testing.T) {
	withDog(t, func(t *testing.T, d *dog, _ *wire, sites []*site) bool {
		d.mu.Lock()
		d.mute = errors.New("no such device")
		d.mu.Unlock()
		pass(t, sites, 3*time.Second)
		if ws := strings.Join(sites[0].last().Warnings, "\n"); !strings.Contains(ws, "does not answer and may restart it: no such device") {
			t.Errorf("it warns: %s", ws)
		}
		d.mu.Lock()
		d.mute = nil
		d.mu.Unlock()
		pass(t, sites, 3*time.Second)
		if ws := sites[0].last().Warnings; len(ws) > 0 {
			t.Errorf("it still warns: %s", ws)
		}
		return true
	})
}

func TestEachChangeOfTheStateIsTold(t *testing.T) {
	quiet := map[string]bool{"Now": true, "Stall": true, "Late": true, "Measured": true, "Waits": true, "Dropped": true}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[guardwire.State]()) {
		if field.Anonymous {
			continue // its own fields are visible too
		}
		var a, b guardwire.State
		v := reflect.ValueOf(&b).Elem().FieldByIndex(field.Index)
		switch v.Kind() {
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		case reflect.Map:
			m := reflect.MakeMap(v.Type())
			m.SetMapIndex(reflect.Zero(v.Type().Key()), reflect.Zero(v.Type().Elem()))
			v.Set(m)
		case reflect.Bool:
			v.SetBool(true)
		case reflect.String:
			v.SetString("x")
		case reflect.Int, reflect.Int64:
			v.SetInt(1)
		default:
			v.SetUint(1)
		}
		if name := field.Name; same(&a, &b) != quiet[name] {
			t.Errorf("a change of %s is told: %v", name, !same(&a, &b))
		}
	}
	a := guardwire.State{Holds: []guardwire.Hold{{Service: "shop", Epoch: 1, Until: 1}}}
	b := guardwire.State{Holds: []guardwire.Hold{{Service: "shop", Epoch: 1, Until: 2}}}
	if !same(&a, &b) {
		t.Error("each renewal is told as a change")
	}
	b.Holds[0].Epoch = 2
	if same(&a, &b) {
		t.Error("another epoch is not told")
	}
}

func TestNothingIsAllocatedWhileNothingChanges(t *testing.T) {
	g, clk := lonely(t)
	g.opts.Watchdog = &dog{clock: bubbleClock{zero: time.Now()}}
	if n := testing.AllocsPerRun(1000, func() {
		clk.add(20 * time.Millisecond)
		g.present.Last = clk.now
		g.take(Datagram{From: 1, Incarnation: 1, Data: []byte{1, 2, 3}})
		g.arrived(<-g.inbox)
		g.tick()
		g.settle()
		g.chores()
	}); n > 0 {
		t.Errorf("%v allocations for each tick", n)
	}
}
