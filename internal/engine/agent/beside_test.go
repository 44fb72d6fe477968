package agent

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

// rival is a service that is to be apart from the shop, by its own word.
func (w *world) rival(order ...spec.NodeName) {
	w.put(record.KeyServices+"rival", record.Service{ID: 2, Generation: 1, Spec: spec.Service{
		Name: "rival", Parts: []spec.Part{{Name: "p", Exec: &spec.Exec{Command: []string{"/bin/p"}}}},
		Place: spec.Place{Apart: []spec.ServiceName{"shop"}},
	}})
	w.put(record.KeyPlacements+"rival", record.Placement{Service: "rival", Order: order})
}

// Its guard wins the rival's lease while the shop runs here, as after two failures at
// once: nothing says yet that the shop is to leave.
func TestWhatIsToBeApartStartsWhenTheOtherHasStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runningWorld(t)
		w.rival("b", "a")
		w.guard.grant("rival", 9)
		w.pass(time.Minute)
		w.want()
		r, _ := w.report()
		for _, i := range r.Instances {
			if i.Service == "rival" && (i.Phase != fact.Waiting || i.Waits != "shop to stop here") {
				t.Errorf("reported as %+v", i)
			}
		}
		// The shop is moved. The last of it goes first.
		w.parts.set(func(f *fakeParts) { f.stuck["shop/db"] = true })
		w.place("b", "c")
		w.pass(100 * time.Millisecond)
		for _, line := range w.log.take() {
			if line == "start rival/p epoch 9" {
				t.Fatal("it was started beside what does not stop")
			}
		}
		w.parts.set(func(f *fakeParts) { f.stuck["shop/db"] = false })
		w.pass(6 * time.Second)
		story := w.log.take()
		slices.Sort(story[1:]) // both may come as soon as nothing of the shop runs
		if diff := cmp.Diff([]string{"kill shop/db", "release shop epoch 5", "start rival/p epoch 9"}, story); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// Who was let in keeps its place while it is restarted on the spot.
func TestARestartOnTheSpotKeepsItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.apply(1, func(s *record.Service) { s.Spec.Parts = s.Spec.Parts[:1] })
		w.place("a", "b", "c")
		w.rival("a")
		w.up()
		w.guard.grant("shop", 5)
		w.want("start shop/db epoch 5")
		w.guard.grant("rival", 9)
		w.parts.set(func(f *fakeParts) { f.sick["shop/db"] = errors.New("exit status 1") })
		w.parts.kill("shop/db")
		w.pass(1500 * time.Millisecond)
		for _, line := range w.log.take() {
			if line == "start rival/p epoch 9" {
				t.Fatal("it took the place of what is about to be restarted")
			}
		}
		w.parts.set(func(f *fakeParts) { delete(f.sick, "shop/db") })
		w.pass(30 * time.Second)
		w.phase(fact.Running)
	})
}
