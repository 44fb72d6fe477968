package cell_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
)

// applied builds a result from name, outcome and generation, repeated.
func applied(words ...any) []request.Applied {
	var out []request.Applied
	for ; len(words) > 0; words = words[3:] {
		out = append(out, request.Applied{
			Name: spec.ServiceName(words[0].(string)), Outcome: words[1].(request.Outcome), Generation: uint64(words[2].(int)),
		})
	}
	return out
}

func TestApplyCreatesChangesAndLeavesAlone(t *testing.T) {
	w := newWorld(t)
	first, err := w.apply(t, doc("shop", "10.0.0.100/24"), doc("mail", ""))
	equal(t, "error", code(t, err), "")
	equal(t, "first", first.Applied, applied("shop", request.Created, 1, "mail", request.Created, 1))

	second, err := w.apply(t, doc("shop", "10.0.0.101/24"), doc("mail", ""))
	equal(t, "error", code(t, err), "")
	equal(t, "second", second.Applied, applied("shop", request.Changed, 2, "mail", request.Unchanged, 1))

	shop, mail := w.service(t, "shop"), w.service(t, "mail")
	equal(t, "leases", []uint32{shop.ID, mail.ID}, []uint32{record.LeaseNumber("shop", 0), record.LeaseNumber("mail", 0)})
	equal(t, "by", shop.By, "ann")
	_, old := get[string](t, w, record.KeyAddressUses+"10.0.0.100")
	owner, _ := get[string](t, w, record.KeyAddressUses+"10.0.0.101")
	equal(t, "the old address is given up", old, false)
	equal(t, "the new address is owned", owner, "shop")
	equal(t, "events", w.notes.kinds(), []event.Kind{event.ServiceApplied, event.ServiceApplied, event.ServiceApplied})
}

func TestApplyTheSameTwiceWritesNothing(t *testing.T) {
	w := newWorld(t)
	w.mustApply(t, doc("shop", "10.0.0.100/24"))
	_, before, _ := w.List(t.Context(), "")
	again, err := w.apply(t, doc("shop", "10.0.0.100/24"))
	equal(t, "error", code(t, err), "")
	equal(t, "outcome", again.Applied, applied("shop", request.Unchanged, 1))
	_, after, _ := w.List(t.Context(), "")
	equal(t, "revision", after, before)
}

func TestApplyDryRunChecksAndWritesNothing(t *testing.T) {
	w := newWorld(t)
	_, before, _ := w.List(t.Context(), "")
	result, err := w.clerk.Apply(t.Context(), request.Apply{File: "x", Content: []byte(doc("shop", "")), DryRun: true})
	equal(t, "error", code(t, err), "")
	equal(t, "outcome", result.Applied, applied("shop", request.Created, 1))
	_, after, _ := w.List(t.Context(), "")
	equal(t, "revision", after, before)
	equal(t, "events", len(w.notes.list), 0)
}

func TestApplyRefuses(t *testing.T) {
	tests := []struct {
		name  string
		given func(*testing.T, *world)
		file  []string
		want  string
	}{
		{name: "a file that does not parse", file: []string{"kind: service\nnaem: x\n"}, want: "spec-invalid"},
		{
			name:  "an address that is another service's",
			given: func(t *testing.T, w *world) { w.mustApply(t, doc("mail", "10.0.0.100/24")) },
			file:  []string{doc("shop", "10.0.0.100/16")}, want: "spec-invalid",
		},
		{name: "an address that is a node's own", file: []string{doc("shop", "10.0.0.2/24")}, want: "spec-invalid"},
		{
			name: "an address twice in a file",
			file: []string{doc("shop", "10.0.0.100/24"), doc("mail", "10.0.0.100/24")}, want: "spec-invalid",
		},
		{
			name: "a service that is being deleted",
			given: func(t *testing.T, w *world) {
				w.mustApply(t, doc("shop", ""))
				if _, err := w.clerk.Delete(t.Context(), request.Delete{Service: "shop"}); err != nil {
					t.Fatal(err)
				}
			},
			file: []string{doc("shop", "")}, want: "deleting",
		},
		{
			name: "a fence where a node has no watchdog", want: "no-fence",
			given: func(t *testing.T, w *world) { dogs(t, w, "a") },
			file:  []string{doc("shop", "") + "failover: {stop_failure: fence}\n"},
		},
		{name: "more services than one transaction takes", file: many(120), want: "too-many-changes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			if tt.given != nil {
				tt.given(t, w)
			}
			_, before, _ := w.List(t.Context(), "")
			_, err := w.apply(t, append(tt.file, "---\n"+doc("innocent", ""))...)
			equal(t, "code", code(t, err), tt.want)
			_, after, _ := w.List(t.Context(), "")
			equal(t, "nothing is written", after, before)
		})
	}
}

// dogs has nodes report a watchdog.
func dogs(t *testing.T, w *world, nodes ...spec.NodeName) {
	t.Helper()
	for _, n := range nodes {
		w.put(t, record.KeyReports+string(n), record.Report{Node: n, Watchdog: true})
	}
}

func TestAFenceIsPromisedWhereEveryNodeHasAWatchdog(t *testing.T) {
	w := newWorld(t)
	dogs(t, w, "a")
	w.mustApply(t, doc("shop", "")+"place: {on: [a]}\nfailover: {stop_failure: fence}\n")
}

func TestEveryPrimaryHasALeaseOfItsOwn(t *testing.T) {
	w := newWorld(t)
	w.mustApply(t, doc("db", "")+"copies: {primaries: 2}\n", doc("shop", ""))
	w.mustApply(t, doc("db", "")+"copies: {primaries: 1}\n")
	w.mustApply(t, doc("db", "")+"copies: {primaries: 2}\n", doc("till", ""))
	db, shop, till := w.service(t, "db"), w.service(t, "shop"), w.service(t, "till")
	equal(t, "the leases stay", db.LeaseNumbers(), []uint32{record.LeaseNumber("db", 0), record.LeaseNumber("db", 1)})
	all := append(db.LeaseNumbers(), shop.ID, till.ID)
	slices.Sort(all)
	equal(t, "none is used twice", len(slices.Compact(all)), 4)
}

func TestApplyRefusesAFileInWhichNothingIs(t *testing.T) {
	for _, file := range []string{"", "\n", "---\n---\n# only this\n"} {
		w := newWorld(t)
		_, before, _ := w.List(t.Context(), "")
		_, err := w.apply(t, file)
		equal(t, "code", code(t, err), "spec-invalid")
		_, after, _ := w.List(t.Context(), "")
		equal(t, "nothing is written", after, before)
	}
}

func many(n int) []string {
	var docs []string
	for i := range n {
		docs = append(docs, doc(fmt.Sprintf("s%d", i), ""))
	}
	return docs
}

func TestKeptServiceBecomesExclusiveOnlyOnceNobodyMayKeepIt(t *testing.T) {
	w := newWorld(t)
	kept := "kind: service\nname: shop\nexclusive: false\nfailover: {on_quorum_loss: keep}\nparts: [{exec: [/bin/true]}]\n"
	stops := "kind: service\nname: shop\nexclusive: false\nparts: [{exec: [/bin/true]}]\n"
	alone := "kind: service\nname: shop\nparts: [{exec: [/bin/true]}]\n"
	says := func(node spec.NodeName, keeps ...spec.ServiceName) {
		w.put(t, record.KeyReports+string(node), record.Report{Node: node, Keeps: keeps})
	}
	refuses := func(step string) {
		t.Helper()
		_, err := w.apply(t, alone)
		equal(t, step, code(t, err), "kept-on-quorum-loss")
	}
	w.mustApply(t, kept)
	says("a", "shop")
	says("b", "shop")
	refuses("in one step")
	w.mustApply(t, stops)
	refuses("before anybody heard of it")
	says("a")
	refuses("while one has not")
	before := w.service(t, "shop")
	equal(t, "nothing was changed", before.Generation, uint64(2))
	says("b", "other")
	w.mustApply(t, alone)
	equal(t, "exclusive", w.service(t, "shop").Spec.IsExclusive(), true)

	says("b", "mail") // deleted while b was cut off
	_, err := w.apply(t, doc("mail", ""))
	equal(t, "a new service of an old name", code(t, err), "kept-on-quorum-loss")
}

func TestApplyLetsTwoServicesSwapTheirAddresses(t *testing.T) {
	w := newWorld(t)
	w.mustApply(t, doc("shop", "10.0.0.100/24"), doc("mail", "10.0.0.101/24"))
	w.mustApply(t, doc("shop", "10.0.0.101/24"), doc("mail", "10.0.0.100/24"))
	shop, _ := get[string](t, w, record.KeyAddressUses+"10.0.0.101")
	mail, _ := get[string](t, w, record.KeyAddressUses+"10.0.0.100")
	equal(t, "owners", []string{shop, mail}, []string{"shop", "mail"})
}

// forget deletes a service as the controller does at last.
func (w *world) forget(t *testing.T, name string) {
	t.Helper()
	if _, _, err := w.Txn(t.Context(), nil, []store.Op{{Key: record.KeyServices + name, Delete: true}}); err != nil {
		t.Fatal(err)
	}
}

// A node that was cut off meanwhile claims the lease that it knows.
func TestWhatIsAppliedAgainHasItsLeasesAndALaterGeneration(t *testing.T) {
	w := newWorld(t)
	two := "copies: {primaries: 2}\n"
	w.mustApply(t, doc("shop", "")+two)
	w.mustApply(t, doc("shop", "")+two+"stopped: true\n")
	before := w.service(t, "shop")
	w.forget(t, "shop")
	w.mustApply(t, doc("mail", ""))
	w.mustApply(t, doc("shop", "")+two)
	after := w.service(t, "shop")
	equal(t, "leases", after.LeaseNumbers(), before.LeaseNumbers())
	if after.Generation <= before.Generation {
		t.Errorf("generation %d is followed by %d", before.Generation, after.Generation)
	}
}

func TestWhatIsAppliedAgainAfterItWasTakenBackHasALaterGeneration(t *testing.T) {
	w := newWorld(t)
	w.mustApply(t, doc("shop", ""))
	if _, err := w.tryOut(t, time.Minute, doc("shop", "10.0.0.100/24")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.clerk.Confirm(t.Context(), request.Confirm{TakeBack: true, By: "ann"}); err != nil {
		t.Fatal(err)
	}
	before := w.service(t, "shop")
	equal(t, "taken back", before.Generation, uint64(3))
	w.forget(t, "shop")
	w.mustApply(t, doc("shop", ""))
	equal(t, "applied again", w.service(t, "shop").Generation, uint64(4))
}

func TestALeaseThatAnotherServiceHasIsNotGiven(t *testing.T) {
	w := newWorld(t)
	number := record.LeaseNumber("shop", 0)
	w.put(t, record.KeyServices+"mail", record.Service{Spec: spec.Service{Name: "mail"}, ID: 3, Rights: []uint32{number, number + 1}, Generation: 1})
	w.mustApply(t, doc("shop", ""))
	equal(t, "lease", w.service(t, "shop").ID, number+2)
}

// Earlier versions counted, and what they gave stays.
func TestCountedLeasesStay(t *testing.T) {
	w := newWorld(t)
	w.mustApply(t, doc("shop", ""))
	shop := w.service(t, "shop")
	shop.ID, shop.Generation = 7, 20
	w.put(t, record.KeyServices+"shop", shop)
	w.put(t, record.KeyServiceIDs+"next", 8)
	w.mustApply(t, doc("shop", "10.0.0.100/24"))
	changed := w.service(t, "shop")
	equal(t, "changed", []uint64{uint64(changed.ID), changed.Generation}, []uint64{7, 21})
	w.forget(t, "shop")
	w.mustApply(t, doc("shop", ""))
	again := w.service(t, "shop")
	equal(t, "applied again", []uint64{uint64(again.ID), again.Generation}, []uint64{uint64(record.LeaseNumber("shop", 0)), 22})
}

func TestApplyWhoseAnswerIsLostSaysWhatHappened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.LoseAnswers(1)
		result, err := w.apply(t, doc("shop", "10.0.0.100/24"))
		equal(t, "error", code(t, err), "")
		equal(t, "outcome", result.Applied, applied("shop", request.Created, 1))
		equal(t, "generation", w.service(t, "shop").Generation, 1)
	})
}

func TestApplyWithoutAStoreSaysSoInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.SetUnavailable(true)
		_, err := w.apply(t, doc("shop", ""))
		equal(t, "code", code(t, err), "store-unavailable")
	})
}

func TestOfManyWhoClaimAnAddressAtOnceOneGetsIt(t *testing.T) {
	w := newWorld(t)
	const claimants = 6
	codes := make([]string, claimants)
	var group sync.WaitGroup
	for i := range claimants {
		group.Go(func() {
			_, err := w.apply(t, doc(fmt.Sprintf("s%d", i), "10.0.0.100/24"))
			codes[i] = code(t, err)
		})
	}
	group.Wait()
	won := 0
	for _, c := range codes {
		switch c {
		case "":
			won++
		case "spec-invalid", "conflict":
		default:
			t.Errorf("refused with %q", c)
		}
	}
	equal(t, "winners", won, 1)
	entries, _, _ := w.List(t.Context(), record.KeyServices)
	equal(t, "services", len(entries), 1)
}

func TestALabelThatNoNodeHasIsAWarningAndNoRefusal(t *testing.T) {
	w := newWorld(t)
	w.put(t, record.KeyNodes+"a", record.Node{Name: "a", ID: "id-a", Address: "10.0.0.1", Labels: map[string]string{"rack": "r1"}})
	result, err := w.clerk.Apply(t.Context(), request.Apply{File: "x.yaml", Content: []byte(doc("shop", "") + "place: {spread: [rakc]}\n")})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "warnings", result.Warnings, []string{
		`x.yaml:5:18: place.spread[0]: no node has the label "rakc": did you mean "rack"? If not, it counts once a node has joined with it (--label)`,
	})
	equal(t, "applied", len(result.Applied), 1)
}

func TestApplyNamesTheLineOfWhatNodesHaveAgainstAnAddress(t *testing.T) {
	w := newWorld(t)
	w.put(t, record.KeyReports+"a", record.Report{Node: "a", GuardUp: true, Interfaces: []string{"eth0"}})
	const head = "kind: service\nname: shop\nparts:\n  - address: {prefix: 10.0.0."
	_, err := w.apply(t, head+"2/24}\n")
	equal(t, "code", code(t, err), "spec-invalid")
	equal(t, "text", err.Error(), "x.yaml:4:23: parts[0].address.prefix: the address 10.0.0.2 is node b's own: choose an address that no server has of its own\n"+
		"       4 |   - address: {prefix: 10.0.0.2/24}")

	result, err := w.apply(t, head+"100/24, interface: eth7}\n")
	equal(t, "error", code(t, err), "")
	equal(t, "warnings", result.Warnings, []string{`x.yaml:4:49: parts[0].address.interface: ` +
		`node a has no interface "eth7": it cannot run there until that is there; ` +
		`did you mean "eth0"? Without the key the address goes where its network is`})
}
