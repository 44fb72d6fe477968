package lease

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/core/quorum"
)

var three = quorum.Config{Version: 1, Voters: 7}

// voterAt returns node 0 of three, admitted so that it votes from at on; what it said
// then is gone.
func voterAt(at Boot) *Node {
	n := New(0, 100)
	n.Configure(three)
	n.Admit(at-sec-sec/DriftBound-time.Millisecond, 50, 1000, time.Second)
	n.Outbox()
	return n
}

// answers returns what n sends back for m.
func answers(n *Node, now Boot, from uint8, m Message) []Envelope {
	m.Version = max(m.Version, 1)
	n.Receive(now, from, 7, &m)
	return append([]Envelope(nil), n.Outbox()...)
}

func kinds(out []Envelope) []Kind {
	var ks []Kind
	for _, e := range out {
		ks = append(ks, e.Kind)
	}
	return ks
}

const sec = time.Second

func TestVoter(t *testing.T) {
	prepare := func(number uint64) Message { return Message{Kind: KindPrepare, ID: 1, Number: number} }
	propose := func(number uint64) Message {
		return Message{Kind: KindPropose, ID: 1, Number: number, TTL: sec, Sent: 3}
	}
	for _, tt := range []struct {
		name  string
		steps []struct {
			at   Boot
			from uint8
			m    Message
			want []Kind
		}
	}{
		{"silent-restart: a voter that starts answers nobody for the longest TTL", steps{
			{900 * time.Millisecond, 1, prepare(60), nil},
			{2 * sec, 1, prepare(60), []Kind{KindPromise}},
		}},
		{"one-number: numbers up to the floor are refused, and the ceiling is told", steps{
			{2 * sec, 1, prepare(50), []Kind{KindConfig, KindNack}},
			{2 * sec, 1, prepare(51), []Kind{KindPromise}},
		}},
		{"one-number: a number is promised to one node only", steps{
			{2 * sec, 1, prepare(60), []Kind{KindPromise}},
			{2 * sec, 2, prepare(60), []Kind{KindConfig, KindNack}},
		}},
		{"exact-promise: a proposal without a promise is refused", steps{
			{2 * sec, 1, propose(60), []Kind{KindNack}},
		}},
		{"exact-promise: a proposal after a higher promise is refused", steps{
			{2 * sec, 1, prepare(60), []Kind{KindPromise}},
			{2*sec + PromiseHold, 2, prepare(61), []Kind{KindPromise}},
			{2*sec + PromiseHold, 1, propose(60), []Kind{KindNack}},
			{2*sec + PromiseHold, 2, propose(61), []Kind{KindAccept}},
		}},
		{"promise-kept: a claim under an accepted lease waits", steps{
			{2 * sec, 1, prepare(60), []Kind{KindPromise}},
			{2 * sec, 1, propose(60), []Kind{KindAccept}},
			{2*sec + 900*time.Millisecond, 2, prepare(61), []Kind{KindNack}},
			{3*sec + time.Millisecond, 2, prepare(61), []Kind{KindPromise}},
		}},
		{"a claimant that was just promised is not overtaken by one of the same rank", steps{
			{2 * sec, 1, prepare(60), []Kind{KindPromise}},
			{2*sec + PromiseHold/2, 2, prepare(61), []Kind{KindNack}},
		}},
		{"a proposal that comes twice is accepted twice", steps{
			{2 * sec, 1, prepare(60), []Kind{KindPromise}},
			{2 * sec, 1, propose(60), []Kind{KindAccept}},
			{2 * sec, 1, propose(60), []Kind{KindAccept}},
		}},
		{"a late double of the prepare does not shake the lease", steps{
			{2 * sec, 1, prepare(60), []Kind{KindPromise}},
			{2 * sec, 1, propose(60), []Kind{KindAccept}},
			{2 * sec, 1, prepare(60), nil},
		}},
		{"a release lets a waiting claim in at once", steps{
			{2 * sec, 1, prepare(60), []Kind{KindPromise}},
			{2 * sec, 1, propose(60), []Kind{KindAccept}},
			{2*sec + 500*time.Millisecond, 2, prepare(61), []Kind{KindNack}},
			{2*sec + 600*time.Millisecond, 1, Message{Kind: KindRelease, ID: 1, Number: 60}, []Kind{KindPromise}},
		}},
		{"a release of another number changes nothing", steps{
			{2 * sec, 1, prepare(60), []Kind{KindPromise}},
			{2 * sec, 1, propose(60), []Kind{KindAccept}},
			{2 * sec, 1, Message{Kind: KindRelease, ID: 1, Number: 59}, nil},
			{2*sec + 500*time.Millisecond, 2, prepare(61), []Kind{KindNack}},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := voterAt(2 * sec)
			for i, s := range tt.steps {
				n.Tick(s.at)
				n.Outbox()
				if diff := cmp.Diff(s.want, kinds(answers(n, s.at, s.from, s.m))); diff != "" {
					t.Fatalf("step %d (-want +got):\n%s", i+1, diff)
				}
			}
		})
	}
}

type steps = []struct {
	at   Boot
	from uint8
	m    Message
	want []Kind
}

func TestNewestConfigIsSentToWhoUsesAnOlderOne(t *testing.T) {
	n := voterAt(2 * sec)
	n.Configure(quorum.Config{Version: 5, Voters: 11, Prior: 7})
	out := answers(n, 2*sec, 1, Message{Kind: KindPrepare, Version: 4, ID: 1, Number: 60})
	want := []Envelope{{To: 1, Message: Message{Kind: KindConfig, Version: 5, Voters: 11, Prior: 7, Number: 50, Highest: 1000}}}
	if diff := cmp.Diff(want, out); diff != "" {
		t.Error(diff)
	}
}

// alone is a cell of one node: it answers itself.
func alone(t *testing.T) *Node {
	t.Helper()
	n := New(0, 100)
	n.Configure(quorum.Config{Version: 1, Voters: 1})
	n.Admit(0, 50, 1000, sec)
	n.Tick(2 * sec)
	return n
}

func settle(n *Node, now Boot) {
	for out := n.Outbox(); len(out) > 0; out = n.Outbox() {
		for i := range out {
			n.Receive(now, 0, 100, &out[i].Message)
		}
	}
}

func TestHolderCountsFromTheMomentOfSending(t *testing.T) {
	n := alone(t)
	n.Seek(2*sec, []Seek{{ID: 1, TTL: sec, Claim: true}})
	settle(n, 2*sec)
	want := []Hold{{ID: 1, Number: 51, Until: 3*sec - sec/DriftBound}}
	if diff := cmp.Diff(want, n.Holds(2*sec, nil)); diff != "" {
		t.Fatalf("after the claim: %s", diff)
	}
	// A beat sent now is answered 300 ms later: the lease counts from now.
	n.Beat(2500 * time.Millisecond)
	out := n.Outbox()
	for i := range out {
		n.Receive(2800*time.Millisecond, 0, 100, &out[i].Message)
	}
	settle(n, 2800*time.Millisecond)
	if got, want := n.Holds(2800*time.Millisecond, nil)[0].Until, 3500*time.Millisecond-sec/DriftBound; got != want {
		t.Errorf("count-from-send: the lease lasts until %s, want %s", got, want)
	}
}

func TestLapsedLeaseHasNoSecondLife(t *testing.T) {
	n := alone(t)
	n.Seek(2*sec, []Seek{{ID: 1, TTL: sec, Claim: true}})
	settle(n, 2*sec)
	n.Beat(2100 * time.Millisecond)
	late := append([]Envelope(nil), n.Outbox()...)
	n.Seek(2200*time.Millisecond, []Seek{{ID: 1, TTL: sec}}) // hold on, but claim no more
	n.Tick(4 * sec)
	for i := range late {
		n.Receive(4*sec, 0, 100, &late[i].Message)
	}
	settle(n, 4*sec)
	if held := n.Holds(4*sec, nil); len(held) > 0 {
		t.Errorf("no-second-life: %v is held although it had lapsed", held)
	}
}

func TestNoNumberAboveTheCeilingIsUsed(t *testing.T) {
	n := New(0, 100)
	n.Configure(quorum.Config{Version: 1, Voters: 1})
	n.Admit(0, 50, 50, sec)
	n.Seek(2*sec, []Seek{{ID: 1, TTL: sec, Claim: true}})
	settle(n, 2*sec)
	if held := n.Holds(2*sec, nil); len(held) > 0 {
		t.Fatalf("%v is held, with no number left", held)
	}
	n.Admit(3*sec, 0, 1000, sec)
	n.Tick(4 * sec)
	settle(n, 4*sec)
	if held := n.Holds(4*sec, nil); len(held) != 1 {
		t.Error("the claim was not made after the ceiling was raised")
	}
}

func TestShorterTTLDoesNotShortenWhatWasPromised(t *testing.T) {
	n := voterAt(2 * sec)
	set := func(number uint64, ttl time.Duration) Message {
		return Message{Kind: KindSet, Set: number, Parts: 1, Entries: []Entry{{ID: 1, Number: 60, TTL: ttl}}}
	}
	answers(n, 2*sec, 1, set(1, sec))
	answers(n, 2*sec, 1, Message{Kind: KindBeat, Sent: 1, Set: 1})
	answers(n, 2*sec, 1, set(2, 300*time.Millisecond))
	if diff := cmp.Diff([]Kind{KindNack}, kinds(answers(n, 2*sec+900*time.Millisecond, 2, Message{Kind: KindPrepare, ID: 1, Number: 61}))); diff != "" {
		t.Errorf("promise-kept: %s", diff)
	}
}

func TestPromiseOfANumberDoesNotKeepAWonLeaseOut(t *testing.T) {
	n := voterAt(2 * sec)
	set := Message{Kind: KindSet, Set: 1, Parts: 1, Entries: []Entry{{ID: 1, Number: 61, TTL: sec}}}
	beat := Message{Kind: KindBeat, Sent: 1, Set: 1}
	prepare := Message{Kind: KindPrepare, ID: 1, Number: 63}
	propose := Message{Kind: KindPropose, ID: 1, Number: 63, TTL: sec, Sent: 3}
	// The voter was cut off with node 2 and promised it what node 2 could not
	// win. Node 1 has won a lease with the others meanwhile.
	if diff := cmp.Diff([]Kind{KindPromise}, kinds(answers(n, 2*sec, 2, prepare))); diff != "" {
		t.Fatalf("a claim: %s", diff)
	}
	answers(n, 2*sec, 1, set)
	want := []Envelope{{To: 1, Message: Message{Kind: KindAck, Version: 1, Inc: 7, Sent: 1, Set: 1}}}
	if diff := cmp.Diff(want, answers(n, 2*sec, 1, beat)); diff != "" {
		t.Errorf("the won lease is not renewed: %s", diff)
	}
	if out := answers(n, 2*sec+500*time.Millisecond, 2, propose); len(out) > 0 {
		t.Errorf("promise-kept: a proposal under an accepted lease was answered: %v", out)
	}
	if diff := cmp.Diff([]Kind{KindAccept}, kinds(answers(n, 3*sec+time.Millisecond, 2, propose))); diff != "" {
		t.Errorf("exact-promise: the proposal after the lease's end: %s", diff)
	}
}

func TestClaimThatOneRefusesDoesNotWaitForTheDead(t *testing.T) {
	n := voterAt(2 * sec)
	n.Seek(2*sec, []Seek{{ID: 1, TTL: sec, Claim: true}})
	settleOnly := func(now Boot) (highest uint64) {
		for out := n.Outbox(); len(out) > 0; out = n.Outbox() {
			for i := range out {
				if m := out[i].Message; out[i].To == 0 {
					n.Receive(now, 0, 100, &m)
				} else if m.Kind == KindPrepare {
					highest = max(highest, m.Number)
				}
			}
		}
		return highest
	}
	first := settleOnly(2 * sec)
	if first == 0 {
		t.Fatal("nothing was claimed")
	}
	// Node 1 is further ahead; node 2 is dead and never answers.
	n.Receive(2*sec, 1, 7, &Message{Kind: KindNack, Version: 1, ID: 1, Number: first, Inc: 100, Highest: 700, Holder: NoSlot})
	for now := 2 * sec; now <= 2*sec+5*Resend; now += Resend / 4 {
		n.Tick(now)
		if second := settleOnly(now); second > 700 {
			return
		}
	}
	t.Errorf("no number above 700 was tried, although node 1 would promise it")
}

// trio is three nodes whose messages the test carries by hand.
type trio struct {
	t   *testing.T
	n   [3]*Node
	now Boot
}

func newTrio(t *testing.T) *trio {
	x := &trio{t: t, now: 2 * sec}
	for i := range x.n {
		x.n[i] = New(uint8(i), uint64(100+i))
		x.n[i].Configure(three)
		x.n[i].Admit(0, 0, 10_000, sec)
	}
	return x
}

// carry delivers until nothing is under way; what keep refuses is lost.
func (x *trio) carry(keep func(from, to uint8, m *Message) bool) {
	for again := true; again; {
		again = false
		for i := range x.n {
			for _, e := range append([]Envelope(nil), x.n[i].Outbox()...) {
				if keep(uint8(i), e.To, &e.Message) {
					again = true
					x.n[e.To].Receive(x.now, uint8(i), uint64(100+i), &e.Message)
				}
			}
		}
	}
}

// live lets d go by in steps of 50 ms; node 0 sends heartbeats.
func (x *trio) live(d time.Duration, keep func(from, to uint8, m *Message) bool) {
	for end := x.now + d; x.now < end; {
		x.carry(keep)
		x.now += 50 * time.Millisecond
		for _, n := range x.n {
			n.Tick(x.now)
		}
		x.n[0].Beat(x.now)
	}
	x.carry(keep)
}

func (x *trio) notTwo() {
	x.t.Helper()
	if a, b := x.n[0].Holds(x.now, nil), x.n[1].Holds(x.now, nil); len(a) > 0 && len(b) > 0 {
		x.t.Errorf("one-holder: node 0 holds %v and node 1 holds %v at %s", a, b, x.now)
	}
}

func without(away uint8) func(from, to uint8, m *Message) bool {
	return func(from, to uint8, _ *Message) bool { return from == to || from != away && to != away }
}

func TestTTLThatGrowsDuringAProposalCountsOnlyOnceItIsAccepted(t *testing.T) {
	x := newTrio(t)
	x.n[0].Seek(x.now, []Seek{{ID: 7, TTL: sec, Claim: true}})
	var accepts []Message
	x.carry(func(_, to uint8, m *Message) bool {
		if m.Kind == KindAccept && to == 0 {
			accepts = append(accepts, *m)
			return false
		}
		return true
	})
	x.n[0].Seek(x.now, []Seek{{ID: 7, TTL: 30 * sec, Claim: true}})
	for i := range accepts {
		x.n[0].Receive(x.now, uint8(i), uint64(100+i), &accepts[i])
	}
	if held := x.n[0].Holds(x.now, nil); len(held) != 1 || held[0].Until > x.now+sec {
		t.Fatalf("node 0 holds %v at %s, the voters accepted one second", held, x.now)
	}
	x.n[1].Seek(x.now, []Seek{{ID: 7, TTL: sec, Claim: true, Rank: 1}})
	x.live(3*sec, without(0))
	x.notTwo()
	if len(x.n[1].Holds(x.now, nil)) != 1 {
		t.Error("node 1 did not get the lease that node 0 lost")
	}
}

func TestLateDoubleOfAProposalShortensNothing(t *testing.T) {
	x := newTrio(t)
	var late *Message
	x.n[0].Seek(x.now, []Seek{{ID: 7, TTL: sec, Claim: true}})
	x.carry(func(from, to uint8, m *Message) bool {
		if m.Kind == KindPropose && to == 1 {
			c := *m
			late = &c
		}
		return without(2)(from, to, m)
	})
	x.n[0].Seek(x.now, []Seek{{ID: 7, TTL: 30 * sec, Claim: true}})
	x.live(500*time.Millisecond, without(2))
	if late == nil {
		t.Fatal("no proposal was seen")
	}
	x.n[1].Receive(x.now, 0, 100, late)
	x.n[1].Seek(x.now, []Seek{{ID: 7, TTL: sec, Claim: true, Rank: 1}})
	x.live(4*sec, without(0))
	if len(x.n[0].Holds(x.now, nil)) != 1 {
		t.Fatal("node 0 does not hold what 30 s were promised for")
	}
	x.notTwo()
}

func TestDeafClaimantDoesNotKeepOthersOut(t *testing.T) {
	x := newTrio(t)
	x.n[2].Seek(x.now, []Seek{{ID: 7, TTL: sec, Claim: true}})
	x.n[1].Seek(x.now, []Seek{{ID: 7, TTL: sec, Claim: true, Rank: 1}})
	x.live(5*sec, func(from, to uint8, _ *Message) bool { return to != 2 || from == 2 })
	if len(x.n[1].Holds(x.now, nil)) != 1 && !x.n[1].holder.holds(7) {
		t.Error("node 1 does not win although node 2 hears no answer")
	}
}

// A voter that was cut off promised the lease to itself. When it came back, it
// refused to renew it for ever, so that the next voter's death cost the lease.
func TestVoterThatComesBackRenewsAgain(t *testing.T) {
	x := newTrio(t)
	x.n[0].Seek(x.now, []Seek{{ID: 7, TTL: sec, Claim: true}})
	x.live(500*time.Millisecond, without(9))
	x.n[2].Seek(x.now, []Seek{{ID: 7, TTL: sec, Claim: true, Rank: 1}})
	x.live(3*sec, without(2))
	x.n[2].Seek(x.now, []Seek{{ID: 7, TTL: sec, Rank: 1}})
	x.live(sec, without(9))
	number := x.n[0].Holds(x.now, nil)
	x.live(4*sec, without(1))
	if diff := cmp.Diff(1, len(x.n[0].Holds(x.now, nil))); diff != "" || x.n[0].Holds(x.now, nil)[0].Number != number[0].Number {
		t.Errorf("node 0 holds %v, it held %v when node 1 died", x.n[0].Holds(x.now, nil), number)
	}
	x.n[0].Seek(x.now, nil)
	x.n[0].Release(x.now, 7, number[0].Number)
	x.live(sec, without(9))
	for i, n := range x.n {
		if got := n.HolderOf(x.now, 7); got != NoSlot {
			t.Errorf("voter %d holds node %d for the holder of a lease that was given back", i, got)
		}
	}
}

// A voter that was cut off accepted a lease from somebody who never won it, and
// refused the holder for ever after: the holder was lost with the next change of
// the voters.
func TestVoterTakesBackAHolderThatWasNeverDeposed(t *testing.T) {
	set := Message{Kind: KindSet, Set: 1, Parts: 1, Entries: []Entry{{ID: 1, Number: 60, TTL: sec}}}
	beat := func(sent Boot) Message { return Message{Kind: KindBeat, Sent: sent, Set: 1} }
	claim := func(n *Node, at Boot) {
		answers(n, at, 2, Message{Kind: KindPrepare, ID: 1, Number: 61})
		answers(n, at, 2, Message{Kind: KindPropose, ID: 1, Number: 61, TTL: sec, Sent: 9})
	}
	refused := func(n *Node, at Boot, m Message) int {
		out := answers(n, at, 1, m)
		if len(out) == 0 || out[len(out)-1].Kind != KindAck {
			t.Fatalf("at %s it answers %+v", at, out)
		}
		return len(out[len(out)-1].Refused)
	}
	n := voterAt(2 * sec)
	answers(n, 2*sec, 1, set)
	if refused(n, 2*sec, beat(1)) != 0 {
		t.Fatal("it does not renew what it knows")
	}
	claim(n, 4*sec) // nothing was heard of the holder for more than a lease
	if refused(n, 4*sec+sec/2, beat(2)) != 1 {
		t.Error("promise-kept: it renews the older lease while it is bound to the newer")
	}
	if other := beat(3); refused(n, 5*sec, Message{Kind: KindBeat, Sent: other.Sent, Set: 2}) != 1 {
		t.Error("it takes back what the holder's newest set, which it does not know, need not hold")
	}
	if refused(n, 5*sec, beat(4)) != 0 {
		t.Error("it refuses the holder although it is bound to nobody else")
	}
	if got := n.HolderOf(5*sec+sec/2, 1); got != 1 {
		t.Errorf("it knows slot %d for the holder", got)
	}
	late := answers(n, 7*sec, 2, Message{Kind: KindPropose, ID: 1, Number: 61, TTL: sec, Sent: 9})
	if diff := cmp.Diff([]Kind{KindNack}, kinds(late)); diff != "" {
		t.Errorf("exact-promise: a late double of the proposal: %s", diff)
	}
	again := answers(n, 7*sec, 2, Message{Kind: KindPrepare, ID: 1, Number: 61})
	if diff := cmp.Diff([]Kind{KindConfig, KindNack}, kinds(again)); diff != "" {
		t.Errorf("one-number: a prepare with the number that was promised: %s", diff)
	}
}

// What is soft may be given to another before it expires here. Until it has, its
// holder may count on it.
func TestVoterTakesNobodyBackWhileASoftLeaseMayBeValid(t *testing.T) {
	n := voterAt(2 * sec)
	set := Message{Kind: KindSet, Set: 1, Parts: 1, Entries: []Entry{{ID: 1, Number: 60, TTL: sec, Soft: true}}}
	answers(n, 2*sec, 1, set)
	n.SetLost(quorum.Of(1))
	answers(n, 2*sec, 2, Message{Kind: KindPrepare, ID: 1, Number: 61, Soft: true})
	answers(n, 2*sec, 2, Message{Kind: KindPropose, ID: 1, Number: 61, TTL: sec, Soft: true, Sent: 9})
	n.SetLost(quorum.Of(2))
	answers(n, 2*sec+PromiseHold, 0, Message{Kind: KindPrepare, ID: 1, Number: 62, Soft: true})
	n.SetLost(0)
	for at, want := range map[Boot]int{2*sec + sec/2: 1, 3*sec - 1: 1, 3 * sec: 0} {
		m := n.State()
		again := New(0, 100)
		if err := again.Restore(m); err != nil {
			t.Fatal(err)
		}
		out := answers(again, at, 1, Message{Kind: KindBeat, Sent: 1, Set: 1})
		if ack := out[len(out)-1]; ack.Kind != KindAck || len(ack.Refused) != want {
			t.Errorf("at %s it answers %+v, want %d refused", at, ack, want)
		}
	}
}

// Node 1 held number 60 and lapsed, and node 2 has won 70 and goes on by the other
// voters while this one does not hear it. A late heartbeat of node 1 has this voter
// renew 60 again; node 2 is not refused for that once it is heard again.
func TestLateHeartbeatTakesAVoterFromNobodyForGood(t *testing.T) {
	n, at := voterAt(2*sec), 2*sec
	set := func(number uint64) Message {
		return Message{Kind: KindSet, Set: 1, Parts: 1, Entries: []Entry{{ID: 1, Number: number, TTL: sec}}}
	}
	renewed := func(from uint8, sent Boot) bool {
		t.Helper()
		out := answers(n, at, from, Message{Kind: KindBeat, Set: 1, Sent: sent})
		if len(out) == 0 || out[len(out)-1].Kind != KindAck {
			t.Fatalf("at %s it answers %+v", at, out)
		}
		return len(out[len(out)-1].Refused) == 0
	}
	win := func(from uint8, number uint64, sent Boot) {
		t.Helper()
		answers(n, at, from, Message{Kind: KindPrepare, ID: 1, Number: number})
		answers(n, at, from, Message{Kind: KindPropose, ID: 1, Number: number, TTL: sec, Sent: sent})
		answers(n, at, from, set(number))
		if !renewed(from, sent+1) {
			t.Fatalf("number %d is not renewed", number)
		}
	}
	win(1, 60, 3)
	at += sec + sec/10
	win(2, 70, 9)
	if renewed(1, 5) {
		t.Error("promise-kept: a late heartbeat renews what has lapsed while the voter is bound")
	}
	at += sec + sec/10
	if !renewed(1, 5) {
		t.Fatal("the late heartbeat is refused: this test shows nothing")
	}
	if !renewed(2, 11) {
		t.Error("the holder is refused for a late heartbeat of the one before")
	}
	if got := n.HolderOf(at, 1); got != 2 {
		t.Errorf("it knows slot %d for the holder", got)
	}
	if renewed(1, 6) {
		t.Error("promise-kept: another late heartbeat renews what has lapsed")
	}
	if diff := cmp.Diff([]Kind{KindConfig, KindNack}, kinds(answers(n, at, 1, Message{Kind: KindPrepare, ID: 1, Number: 70}))); diff != "" {
		t.Errorf("one-number: a prepare with the number that is held: %s", diff)
	}
}

// The cell's next node in a slot may have a wall clock that is behind.
func TestNextNodeInASlotIsAnsweredThoughItsIncarnationIsLower(t *testing.T) {
	n, at := voterAt(2*sec), 2*sec
	say := func(inc uint64, m Message) []Kind {
		m.Version = 1
		n.Receive(at, 1, inc, &m)
		return kinds(n.Outbox())
	}
	set := Message{Kind: KindSet, Set: 1, Parts: 1, Entries: []Entry{{ID: 1, Number: 60, TTL: sec}}}
	beat := Message{Kind: KindBeat, Set: 1, Sent: 4}
	say(100, set)
	say(100, beat)
	at += sec / 2
	n.Forget(quorum.Of(1))
	if got := n.HolderOf(at, 1); got != 1 {
		t.Errorf("promise-kept: what the node held that is gone is with slot %d", got)
	}
	say(50, Message{Kind: KindSet, Set: 1, Parts: 1, Entries: []Entry{{ID: 2, Number: 61, TTL: sec}}})
	if diff := cmp.Diff([]Kind{KindAck}, say(50, beat)); diff != "" {
		t.Errorf("a heartbeat of the next node: %s", diff)
	}
	if got := n.HolderOf(at, 2); got != 1 {
		t.Errorf("what the next node holds is with slot %d", got)
	}
	at += sec / 2
	if got := n.HolderOf(at, 1); got != NoSlot {
		t.Errorf("the heartbeats of the next node renew what the one before it held: slot %d", got)
	}
}

// A voter that has met as many services as it can remember forgets what its holder
// let lapse, and nothing that binds it.
func TestVoterForgetsWhatHasLapsedBeforeItIsFull(t *testing.T) {
	n, at := voterAt(2*sec), 2*sec
	n.Admit(at, 50, 100_000, sec)
	propose := func(id ID, number uint64, ttl time.Duration) []Kind {
		answers(n, at, 1, Message{Kind: KindPrepare, ID: id, Number: number})
		return kinds(answers(n, at, 1, Message{Kind: KindPropose, ID: id, Number: number, TTL: ttl, Sent: 3}))
	}
	// It promises each service only what is above all that it has accepted.
	for id := range ID(MaxServices) {
		ttl := sec
		if id == 5 {
			ttl = 10 * sec
		}
		if diff := cmp.Diff([]Kind{KindAccept}, propose(id+1, 60+uint64(id), ttl)); diff != "" {
			t.Fatalf("service %d: %s", id+1, diff)
		}
	}
	full := 60 + uint64(MaxServices)
	if got := propose(MaxServices+1, full, sec); got != nil {
		t.Errorf("it forgot what binds it: %v", got)
	}
	at += sec
	if diff := cmp.Diff([]Kind{KindAccept}, propose(MaxServices+1, full, sec)); diff != "" {
		t.Errorf("all but one have lapsed: %s", diff)
	}
	if got := n.HolderOf(at, 6); got != 1 {
		t.Error("it forgot what binds it")
	}
	if diff := cmp.Diff([]Kind{KindConfig, KindNack}, kinds(answers(n, at, 2, Message{Kind: KindPrepare, ID: 1, Number: 60}))); diff != "" {
		t.Errorf("one-number: the number of what was forgotten: %s", diff)
	}
}
