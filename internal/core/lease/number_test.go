package lease

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/keelson/keelson/internal/core/quorum"
)

// The history behind these tests: a guard gives a lease back and its duty leaves
// the service out for a while, since its agent is away. When the service is
// named again, the claim began with the number that it had had before.

func TestServiceThatWasForgottenIsClaimedWithAHigherNumber(t *testing.T) {
	n := alone(t)
	seek := []Seek{{ID: 1, TTL: sec, Claim: true}}
	n.Seek(2*sec, seek)
	settle(n, 2*sec)
	first := n.Holds(2*sec, nil)
	if len(first) != 1 {
		t.Fatal("the lease was not won")
	}
	n.Release(2*sec, 1, first[0].Number)
	n.Seek(2*sec, nil)
	settle(n, 2*sec)
	n.Seek(3*sec, seek)
	settle(n, 3*sec)
	if second := n.Holds(3*sec, nil); len(second) != 1 || second[0].Number <= first[0].Number {
		t.Errorf("one-number: the lease was held with number %d and is now %v", first[0].Number, second)
	}
}

func TestNumberOfALeaseThatEndedIsDead(t *testing.T) {
	prepare := Message{Kind: KindPrepare, ID: 1, Number: 60}
	propose := Message{Kind: KindPropose, ID: 1, Number: 60, TTL: sec, Sent: 3}
	n := voterAt(2 * sec)
	answers(n, 2*sec, 1, prepare)
	answers(n, 2*sec, 1, propose)
	answers(n, 2*sec, 1, Message{Kind: KindRelease, ID: 1, Number: 60})
	later := 2*sec + 100*time.Millisecond
	if diff := cmp.Diff([]Kind{KindConfig, KindNack}, kinds(answers(n, later, 1, prepare))); diff != "" {
		t.Errorf("one-number: a prepare with the number of a lease that was given back: %s", diff)
	}
	if diff := cmp.Diff([]Kind{KindNack}, kinds(answers(n, later, 1, propose))); diff != "" {
		t.Errorf("exact-promise: a late double of the proposal: %s", diff)
	}
	if got := n.HolderOf(later, 1); got != NoSlot {
		t.Errorf("the late double bound the voter to node %d", got)
	}
}

// Two voters of three won, used and gave back number 55. When the voters grow to
// five, the other three are a majority that has never heard of it.
func TestNumbersGrowAcrossAChangeOfVoters(t *testing.T) {
	old, grown := quorum.Config{Version: 1, Voters: quorum.Of(0, 1, 2)}, quorum.Config{Version: 2, Voters: quorum.Of(0, 1, 2, 3, 4)}
	nodes := map[uint8]*Node{}
	for _, slot := range []uint8{2, 3, 4} { // 0 and 1 are not there
		n := New(slot, uint64(100+slot))
		n.Configure(old)
		n.Admit(0, 50, 60, sec)
		nodes[slot] = n
	}
	carry := func(now Boot) {
		for again := true; again; {
			again = false
			for _, from := range []uint8{2, 3, 4} {
				for _, e := range append([]Envelope(nil), nodes[from].Outbox()...) {
					if to := nodes[e.To]; to != nil {
						again = true
						to.Receive(now, from, uint64(100+from), &e.Message)
					}
				}
			}
		}
	}
	// A claim from before the change has the promise of one of the old voters.
	nodes[4].Seek(2*sec, []Seek{{ID: 1, TTL: sec, Claim: true}})
	carry(2 * sec)
	// Node 3 hears of the change by another node, the others by their agents.
	for _, slot := range []uint8{2, 4} {
		nodes[slot].Configure(grown)
		nodes[slot].Admit(3*sec, 60, 70, sec)
	}
	nodes[3].Seek(3*sec, []Seek{{ID: 2, TTL: sec, Claim: true}})
	for now := 3 * sec; now < 4*sec; now += Resend {
		for _, slot := range []uint8{2, 3, 4} {
			nodes[slot].Tick(now)
		}
		carry(now)
	}
	for slot, id := range map[uint8]ID{4: 1, 3: 2} {
		held := nodes[slot].Holds(3*sec+100*time.Millisecond, nil)
		if len(held) != 1 || held[0].ID != id || held[0].Number <= 60 {
			t.Errorf("one-number: node %d holds %v; numbers up to 60 may have been used before the change", slot, held)
		}
	}
}

// A claim had the promises of two voters out of four when the voters became
// these two: it waited for ever, since there was nobody left to ask.
func TestClaimGoesOnWhenTheVotersWhoPromisedBecomeAMajority(t *testing.T) {
	n := New(0, 100)
	n.Configure(quorum.Config{Version: 1, Voters: quorum.Of(0, 1)})
	n.Admit(0, 50, 1000, sec)
	n.Seek(2*sec, []Seek{{ID: 1, TTL: sec, Claim: true}})
	settle := func(now Boot) {
		for out := n.Outbox(); len(out) > 0; out = n.Outbox() {
			for i := range out {
				if out[i].To == 0 { // node 1 is not there
					n.Receive(now, 0, 100, &out[i].Message)
				}
			}
		}
	}
	settle(2 * sec)
	n.Configure(quorum.Config{Version: 2, Voters: quorum.Of(0)})
	for now := 2 * sec; now < 3*sec; now += Resend {
		n.Tick(now)
		settle(now)
	}
	if held := n.Holds(3*sec-Resend, nil); len(held) != 1 {
		t.Error("the only voter has promised, and the lease is not held")
	}
}

func TestFloorThatRisesEndsWhatWasBegunUnderIt(t *testing.T) {
	voter := voterAt(2 * sec)
	answers(voter, 2*sec, 1, Message{Kind: KindPrepare, ID: 1, Number: 60})
	voter.Admit(2*sec, 70, 1000, sec)
	late := Message{Kind: KindPropose, ID: 1, Number: 60, TTL: sec, Sent: 3}
	if diff := cmp.Diff([]Kind{KindNack}, kinds(answers(voter, 2*sec, 1, late))); diff != "" {
		t.Errorf("a proposal that was promised before: %s", diff)
	}

	claimant := voterAt(2 * sec)
	claimant.Seek(2*sec, []Seek{{ID: 1, TTL: sec, Claim: true}})
	claimant.Outbox()
	claimant.Admit(2*sec, 70, 1000, sec)
	claimant.Tick(2 * sec)
	out := claimant.Outbox()
	for _, e := range out {
		if e.Kind != KindPrepare || e.Number <= 70 {
			t.Errorf("the claimant goes on with %v", e)
		}
	}
	if len(out) == 0 {
		t.Error("the claimant gave up")
	}
}

// A voter that was added did not know of its vote, since its agent was slow to
// say so. The holder needs that vote by then.
func TestNewVoterLearnsOfItsVoteFromTheHolder(t *testing.T) {
	nodes := [2]*Node{New(0, 100), New(1, 101)}
	for _, n := range nodes {
		n.Configure(quorum.Config{Version: 1, Voters: quorum.Of(0)})
		n.Admit(0, 0, 1000, sec)
	}
	carry := func(now Boot) {
		for again := true; again; {
			again = false
			for from := range nodes {
				for _, e := range append([]Envelope(nil), nodes[from].Outbox()...) {
					again = true
					nodes[e.To].Receive(now, uint8(from), uint64(100+from), &e.Message)
				}
			}
		}
	}
	nodes[0].Seek(2*sec, []Seek{{ID: 1, TTL: sec, Claim: true}})
	carry(2 * sec)
	nodes[0].Configure(quorum.Config{Version: 2, Voters: quorum.Of(0, 1), Prior: quorum.Of(0)})
	for now := 2 * sec; now < 5*sec; now += Resend {
		for _, n := range nodes {
			n.Tick(now)
			n.Beat(now)
		}
		carry(now)
	}
	if held := nodes[0].Holds(5*sec-Resend, nil); len(held) != 1 || held[0].Number != 1 {
		t.Errorf("node 0 holds %v; it held number 1 when node 1 got a vote", held)
	}
}

// A node that cannot reach the store had no number left once another's guard had
// started anew: that one promises only above the ceiling it found.
func TestClaimantLearnsOfTheCeilingFromAVoterThatStartedAnew(t *testing.T) {
	nodes := [2]*Node{New(0, 100), New(1, 101)}
	for i, n := range nodes {
		n.Configure(quorum.Config{Version: 1, Voters: quorum.Of(0, 1)})
		n.Admit(0, uint64(i)*1000, uint64(i+1)*1000, sec)
	}
	nodes[0].Seek(2*sec, []Seek{{ID: 1, TTL: sec, Claim: true}})
	for now := 2 * sec; now < 3*sec; now += Resend {
		for _, n := range nodes {
			n.Tick(now)
			n.Beat(now)
		}
		for range 10 {
			for from := range nodes {
				for _, e := range append([]Envelope(nil), nodes[from].Outbox()...) {
					nodes[e.To].Receive(now, uint8(from), uint64(100+from), &e.Message)
				}
			}
		}
	}
	for _, note := range nodes[0].Notes() {
		if note.Kind == Exhausted {
			t.Error("it has no number left")
		}
	}
	if held := nodes[0].Holds(3*sec-Resend, nil); len(held) != 1 || held[0].Number <= 1000 || held[0].Number > 2000 {
		t.Errorf("node 0 holds %v", held)
	}
}

// A guard started anew, claimed with a number that its own ceiling allows, and was
// killed before anybody had asked for that. The others did not reach the store, and
// had no number left.
func TestANewCeilingIsToldBeforeItIsUsed(t *testing.T) {
	n := New(0, 100)
	n.Configure(three)
	n.Admit(0, 50, 1000, sec)
	told := func(ceiling uint64) []Envelope {
		m := Message{Kind: KindConfig, Version: 1, Voters: 7, Highest: ceiling}
		return []Envelope{{To: 1, Message: m}, {To: 2, Message: m}}
	}
	if diff := cmp.Diff(told(1000), n.Outbox()); diff != "" {
		t.Errorf("admitted: %s", diff)
	}
	n.Admit(sec, 50, 1000, sec)
	if diff := cmp.Diff([]Envelope(nil), n.Outbox(), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("nothing new: %s", diff)
	}
	n.Admit(2*sec, 50, 2000, sec)
	if diff := cmp.Diff(told(2000), n.Outbox()); diff != "" {
		t.Errorf("raised: %s", diff)
	}
}

// A voter that was cut off from the store, and saw others use numbers above the
// ceiling it knows, could not tell it to those who have none left.
func TestVoterThatSeesHigherNumbersLearnsTheirCeiling(t *testing.T) {
	n := voterAt(2 * sec) // its ceiling is 1000
	answers(n, 2*sec, 1, Message{Kind: KindPrepare, ID: 1, Number: 5000})
	asks := answers(n, 2*sec, 1, Message{Kind: KindBeat, Sent: 1})
	if len(asks) != 2 || asks[0].Kind != KindConfig || asks[0].Highest != 1000 {
		t.Fatalf("it says %+v", asks)
	}
	holder := New(1, 7)
	holder.Configure(three)
	holder.Admit(0, 0, 6000, sec)
	holder.Outbox()
	says := answers(holder, 2*sec, 0, asks[0].Message)
	if len(says) != 1 || says[0].Kind != KindConfig || says[0].Highest != 6000 || says[0].Number != 0 {
		t.Fatalf("the other says %+v", says)
	}
	if again := answers(n, 2*sec, 1, says[0].Message); len(again) != 0 {
		t.Errorf("it says more: %+v", again)
	}
	if out := answers(n, 2*sec, 1, Message{Kind: KindBeat, Sent: 2}); len(out) != 1 || out[0].Kind != KindAck {
		t.Errorf("then it says %+v", out)
	}
}

// A service that was deleted and applied again has a new id. Voters that had not
// heard of that one promised any number above their own floors, though the name
// had been held under a higher one.
func TestNumbersGrowWhenAServiceIsAppliedAgainUnderANewID(t *testing.T) {
	const ceiling = 10_000
	var nodes [4]*Node
	for i, floor := range []uint64{1000, 2000, 5000, 4000} { // node 2's guard started last, node 3 has no vote
		nodes[i] = New(uint8(i), uint64(100+i))
		nodes[i].Configure(quorum.Config{Version: 1, Voters: quorum.Of(0, 1, 2)})
		nodes[i].Admit(0, floor, ceiling, sec)
	}
	now := 2 * sec
	pass := func(silent uint8) {
		for end := now + sec/2; now < end; now += Resend {
			for _, n := range nodes {
				n.Tick(now)
				n.Beat(now)
			}
			for again := true; again; {
				again = false
				for from := range nodes {
					for _, e := range append([]Envelope(nil), nodes[from].Outbox()...) {
						if e.To != silent && uint8(from) != silent {
							again = true
							nodes[e.To].Receive(now, uint8(from), uint64(100+from), &e.Message)
						}
					}
				}
			}
		}
	}
	nodes[2].Seek(now, []Seek{{ID: 1, TTL: sec, Claim: true}})
	pass(1) // node 1 hears nothing of it
	first := nodes[2].Holds(now, nil)
	if len(first) != 1 || first[0].Number <= 5000 {
		t.Fatalf("node 2 holds %v", first)
	}
	nodes[2].Release(now, 1, first[0].Number)
	nodes[2].Seek(now, nil)
	pass(1)
	nodes[3].Seek(now, []Seek{{ID: 2, TTL: sec, Claim: true}})
	pass(2) // node 2 is gone, with its floor; node 0 alone remembers
	if second := nodes[3].Holds(now, nil); len(second) != 1 || second[0].Number <= first[0].Number || second[0].Number > ceiling {
		t.Errorf("one-number: the name was held with number %d and is now %v", first[0].Number, second)
	}
}

// A node lost a duel for a lease long ago. When its holder dies, the first answer
// only says which numbers are used up; the claim is not to wait as in that duel.
func TestADuelOfBeforeDoesNotDelayAClaim(t *testing.T) {
	n := New(0, 100)
	n.Configure(three)
	n.Admit(0, 50, 1000, sec)
	seek := func(now Boot, claim bool) { n.Seek(now, []Seek{{ID: 1, TTL: sec, Claim: claim}}) }
	refuse := func(now Boot, highest uint64) {
		for _, e := range append([]Envelope(nil), n.Outbox()...) {
			if e.Kind == KindPrepare && e.To != 0 {
				n.Receive(now, e.To, 7, &Message{Kind: KindNack, Version: 1, ID: 1, Inc: 100, Number: e.Number, Highest: highest, Holder: NoSlot})
			}
		}
	}
	seek(2*sec, true)
	for i := range 4 {
		now := 2*sec + time.Duration(i)*100*time.Millisecond
		n.Tick(now)
		refuse(now, uint64(60+10*i))
	}
	seek(3*sec, false)
	n.Outbox()
	seek(9*sec, true)
	refuse(9*sec, 200)
	n.Tick(9 * sec)
	var asked []uint64
	for _, e := range n.Outbox() {
		if e.Kind == KindPrepare && e.To != 0 {
			asked = append(asked, e.Number)
		}
	}
	if diff := cmp.Diff([]uint64{201, 201}, asked); diff != "" {
		t.Errorf("numbers that the others are asked for at once: %s", diff)
	}
}
