package member

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
)

// cell runs test in a bubble with a cell of the given size, once undisturbed
// and then with a failure after every few effects.
func cell(t *testing.T, nodes string, test func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	for _, crash := range []int{0, 2, 3} {
		t.Run(fmt.Sprintf("crash=%d", crash), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.crash = crash
				for i, name := range strings.Fields(nodes) {
					if i == 0 {
						w.found(spec.NodeName(name))
					} else {
						w.add(spec.NodeName(name), record.Node{}, record.NodeWish{})
					}
				}
				w.followLease()
				for _, name := range w.names() {
					w.run(spec.NodeName(name))
				}
				settle()
				test(t, w)
			})
		})
	}
}

func TestOneNodeVotesAlone(t *testing.T) {
	cell(t, "a", func(t *testing.T, w *world) {
		w.wantVoters("a")
		if n := w.notes(); n != "" {
			t.Errorf("notes %q, want none", n)
		}
	})
}

func TestTwoNodesAreToldToJoinAWitness(t *testing.T) {
	cell(t, "a b", func(t *testing.T, w *world) {
		w.wantVoters("a")
		if n := w.notes(); !strings.Contains(n, "keelson join --witness") {
			t.Errorf("notes %q, want the way to a witness", n)
		}
		w.add("z", record.Node{Witness: true}, record.NodeWish{})
		w.run("z")
		settle()
		w.wantVoters("a", "b", "z")
		if n := w.notes(); n != "" {
			t.Errorf("notes %q, want none", n)
		}
	})
}

func TestThreeNodesVote(t *testing.T) {
	cell(t, "a b c", func(_ *testing.T, w *world) { w.wantVoters("a", "b", "c") })
}

func TestFiveOfSevenVote(t *testing.T) {
	cell(t, "a b c d e f g", func(_ *testing.T, w *world) {
		settle()
		w.wantVoters("a", "b", "c", "d", "e")
	})
}

func TestLostVoterIsReplacedInItsTime(t *testing.T) {
	cell(t, "a b c d", func(t *testing.T, w *world) {
		w.wantVoters("a", "b", "c")
		w.lose("c")
		time.Sleep(8 * time.Minute)
		w.wantVoters("a", "b", "c")
		time.Sleep(4 * time.Minute)
		w.wantVoters("a", "b", "d")

		// It comes back, learns that it has no vote, and clears up.
		w.back("c")
		settle()
		w.wantVoters("a", "b", "d")
		if w.nodes["c"].HasData() {
			t.Error("the replaced voter still has its data")
		}
	})
}

// One exchange is made once all has been well for a while, and none is taken back.
func TestVotesSpreadOverRacksByThemselves(t *testing.T) {
	cell(t, "a b c", func(t *testing.T, w *world) {
		for _, name := range []spec.NodeName{"a", "b", "c"} {
			node := fetch[record.Node](w, record.KeyNodes+string(name))
			node.Labels = map[string]string{"rack": "1"}
			w.write(record.KeyNodes+string(name), node)
		}
		w.add("d", record.Node{Labels: map[string]string{"rack": "2"}}, record.NodeWish{})
		w.run("d")
		settle()
		w.wantVoters("a", "b", "c")
		if n := w.notes(); !strings.Contains(n, "All votes are in rack 1") {
			t.Errorf("notes %q, want that all votes are in one rack", n)
		}
		time.Sleep(exchangePatience / 2)
		w.lose("b") // the time begins anew
		time.Sleep(time.Minute)
		w.back("b")
		time.Sleep(exchangePatience - time.Minute)
		w.wantVoters("a", "b", "c")
		time.Sleep(3 * time.Minute)
		w.wantVoters("a", "b", "d")
		if n := w.notes(); n != "" {
			t.Errorf("notes %q, want none", n)
		}
		time.Sleep(time.Hour)
		w.wantVoters("a", "b", "d")
	})
}

func TestLostVoterThatComesBackInTimeKeepsItsVote(t *testing.T) {
	cell(t, "a b c d", func(_ *testing.T, w *world) {
		w.lose("c")
		time.Sleep(8 * time.Minute)
		w.back("c")
		settle()
		w.lose("c")
		time.Sleep(8 * time.Minute)
		w.wantVoters("a", "b", "c")
	})
}

func TestLostVoterWithoutReplacementStays(t *testing.T) {
	cell(t, "a b c", func(t *testing.T, w *world) {
		w.lose("c")
		time.Sleep(15 * time.Minute)
		w.wantVoters("a", "b", "c")
		if n := w.notes(); !strings.Contains(n, "vote of c") {
			t.Errorf("notes %q, want that c's vote has no taker", n)
		}
	})
}

func TestLostControllerIsReplacedByTheNext(t *testing.T) {
	cell(t, "a b c d", func(_ *testing.T, w *world) {
		w.lose("a")
		time.Sleep(15 * time.Minute)
		w.wantVoters("b", "c", "d")
	})
}

func TestLeavingVoterIsReplacedFirst(t *testing.T) {
	cell(t, "a b c d", func(_ *testing.T, w *world) {
		w.write(record.KeyWishes+"b", record.NodeWish{Voter: true, Leaving: true})
		settle()
		w.wantVoters("a", "c", "d")
	})
}

func TestForgottenNodeIsExpelled(t *testing.T) {
	cell(t, "a b c d", func(t *testing.T, w *world) {
		w.lose("b")
		for _, key := range []string{record.KeyNodes + "b", record.KeyWishes + "b"} {
			if _, _, err := w.store.Txn(t.Context(), nil, []store.Op{{Key: key, Delete: true}}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(30 * time.Second)
		members, _ := w.Members(t.Context())
		if !slices.ContainsFunc(members, func(m store.Member) bool { return m.Name == "b" }) {
			t.Error("b was expelled at once: so would be a node that joins, before its record is seen")
		}
		time.Sleep(3 * time.Minute)
		w.wantVoters("a", "c", "d")
	})
}

func TestVoterThatLostItsDataJoinsAnew(t *testing.T) {
	cell(t, "a b c", func(_ *testing.T, w *world) {
		w.lose("b")
		w.mu.Lock()
		w.nodes["b"].data = ""
		w.mu.Unlock()
		w.back("b")
		settle()
		w.wantVoters("a", "b", "c")
	})
}

func TestNodeThatCannotTakeItsVoteIsNamed(t *testing.T) {
	cell(t, "a b", func(t *testing.T, w *world) {
		w.mu.Lock()
		w.nodes["b"].faulty = true
		w.mu.Unlock()
		w.add("c", record.Node{}, record.NodeWish{})
		w.run("c")
		time.Sleep(5 * time.Minute)
		if n := w.notes(); !strings.Contains(n, "b has been about to take or give back a vote") {
			t.Errorf("notes %q, want b's trouble", n)
		}
		if lease := fetch[record.Lease](w, record.KeyLease); lease.Version != 1 {
			t.Errorf("the lease's voters ran ahead of the store's: %+v", lease)
		}
		w.mu.Lock()
		w.nodes["b"].faulty = false
		w.mu.Unlock()
		settle()
		w.wantVoters("a", "b", "c")
	})
}

func TestStoreOutageIsWaitedFor(t *testing.T) {
	cell(t, "a b c", func(_ *testing.T, w *world) {
		w.store.SetUnavailable(true)
		settle()
		w.add5(t)
		settle()
		w.wantVoters("a", "b", "c", "d", "e")
	})
}

// TestExternalStore has no members to change: only the lease plane's voters
// follow.
func TestExternalStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for _, name := range []spec.NodeName{"a", "b", "c"} {
			w.add(name, record.Node{}, record.NodeWish{})
		}
		w.write(record.KeyLease, record.Lease{Version: 1, Voters: 1, LongestTTL: spec.Duration(2 * time.Second)})
		for _, name := range []spec.NodeName{"a", "b", "c"} {
			w.run(name)
			o := w.nodes[name].member.options
			w.nodes[name].stop()
			synctest.Wait()
			o.External, o.Cluster, o.Server, o.HasData = true, nil, nil, nil
			w.nodes[name].member = New(o)
			go func() { _ = w.nodes[name].member.Run(t.Context()) }()
			go w.nodes[name].report(t.Context())
		}
		settle()
		if lease := fetch[record.Lease](w, record.KeyLease); lease.Voters != 0b111 || lease.Prior != 0 {
			t.Errorf("lease %+v, want three voters", lease)
		}
		for _, name := range w.names() {
			if wish := fetch[record.NodeWish](w, record.KeyWishes+name); wish.Voter {
				t.Errorf("%s was asked to vote in a store that is not the cell's", name)
			}
		}
	})
}
