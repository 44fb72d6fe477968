package sim

import (
	"time"

	"github.com/keelson/keelson/internal/core/lease"
	"github.com/keelson/keelson/internal/core/quorum"
)

// scene is a script of faults that aims at one promise of the protocol. Its
// times are drawn anew for every history; who plays which role is found when it
// begins (see cast).
type scene struct {
	dice
	p       *plan
	index   int8
	begin   time.Duration
	service int
	stall   time.Duration // see trials
}

// The roles that every scene has: the holder of its service, and the rest.
const (
	holder = quorum.Set(1)
	second = quorum.Set(2)
	third  = quorum.Set(4)
	others = ^holder
)

const ms = time.Millisecond

// scripts are all scenes. Each names what it is to shake.
var scripts = []func(*scene){
	(*scene).forgetful, (*scene).slowAnswers, (*scene).fastVoters, (*scene).stalledProposal, (*scene).halfKnown,
	(*scene).returning, (*scene).oldWorld, (*scene).tornChange, (*scene).overtaken, (*scene).impatient, (*scene).staleRelease,
	(*scene).shorter, (*scene).lateDouble, (*scene).lonelyAgent, (*scene).sleeper, (*scene).blackout,
	(*scene).otherRate, (*scene).limited, (*scene).midStart, (*scene).hermit, (*scene).unheard,
}

// scenes adds n scenes to a plan, one after the other.
func (d dice) scenes(p *plan, n int) {
	slot := (p.length - 5*time.Second) / time.Duration(n)
	for i := range n {
		s := &scene{dice: d, p: p, index: int8(i), service: d.IntN(len(p.services))}
		s.begin = 5*time.Second + time.Duration(i)*slot
		if room := slot - 20*time.Second; room > 0 {
			s.begin += d.between(0, room)
		}
		scripts[d.IntN(len(scripts))](s)
	}
}

// add plans a fault of the scene.
func (s *scene) add(k kind, at, length time.Duration, from, to quorum.Set) *fault {
	s.p.faults = append(s.p.faults, fault{
		kind: k, at: s.begin + at, length: length, scene: s.index, from: from & s.p.everyone(), to: to & s.p.everyone(), service: s.service,
	})
	return &s.p.faults[len(s.p.faults)-1]
}

// depose lets the plan want the service on the second node, while the holder's
// agent is not there to hear of it: the second's claim waits at the voters, for
// the moment at which they may promise.
func (s *scene) depose(at, length time.Duration) {
	s.add(stopAgent, at, length, holder, 0)
	s.add(move, at+ms, 0, second, 0)
}

func (s *scene) ttl() time.Duration { return s.p.services[s.service].ttl }

// forgetful: voters that have just renewed a lease lose their memory while a
// claim waits (silent-restart).
func (s *scene) forgetful() {
	s.depose(0, 12*time.Second)
	at := s.between(600*ms, 3*time.Second)
	s.add(split, at, s.between(200*ms, 6*time.Second), holder, others)
	for role := range s.p.nodes - 1 {
		if s.IntN(5) > 0 {
			s.add(restart, at+s.between(0, 60*ms), 0, 2<<role, 0)
		}
	}
}

// slowAnswers: the answers to the holder take long, then it is cut off
// (count-from-send).
func (s *scene) slowAnswers() {
	s.depose(0, 10*time.Second)
	at := s.between(time.Second, 2*time.Second)
	length := s.between(time.Second, 3*time.Second)
	s.add(slow, at, length, others, holder).by = s.between(50*ms, 900*ms)
	s.add(cut, at+length-s.between(0, 900*ms), s.between(time.Second, 5*time.Second), holder, others)
}

// fastVoters: the holder's clock is as slow as it may be, those of the others
// as fast, and it is cut off while a claim waits (count-from-send).
func (s *scene) fastVoters() {
	s.add(drift, 0, 15*time.Second, others, 0)
	s.depose(0, 12*time.Second)
	at := s.between(1500*ms, 4*time.Second)
	if s.IntN(2) == 0 {
		s.add(stopGuard, at, s.between(ms, 2*s.ttl()), holder, 0)
		return
	}
	s.add(split, at, s.between(2*time.Second, 6*time.Second), holder, others)
}

// stalledProposal: a claimant that was promised the lease is held up, another
// wins it and gives it back, and then the first one's proposals arrive
// (exact-promise, one-number).
func (s *scene) stalledProposal() {
	s.p.longest = max(s.p.longest, 2*time.Second)
	s.p.services[s.service].ttl = s.p.longest
	s.depose(0, 600*ms)
	wait := s.between(600*ms, s.p.longest/2)
	f := s.add(slow, 0, wait, second, ^second)
	f.by, f.on, f.sayers = wait, lease.Released, holder
	f = s.add(giveBack, 100*ms, 0, 0, 0)
	f.on, f.sayers, f.delay = lease.Won, ^second, s.between(0, 20*ms)
}

// halfKnown: what the holder says of its leases does not fit through to one
// voter, and another is cut off. That takes a crowd of services, of which one
// packet cannot speak; the second one, with the request to renew, is small.
func (s *scene) halfKnown() {
	for len(s.p.services) < lease.PartEntries+24 {
		s.p.services = append(s.p.services, s.p.services[len(s.p.services)%3])
	}
	for i := range s.p.services {
		s.p.services[i].id = 1<<31 + lease.ID(i)
	}
	s.add(large, 0, 15*time.Second, holder, third)
	s.add(giveBack, 100*ms, 0, holder, 0)
	s.depose(2*time.Second, 12*time.Second)
	s.add(split, s.between(2*time.Second, 3*time.Second), s.between(5*time.Second, 10*time.Second), holder, second)
}

// returning: the holder is cut off, its lease lapses, all others forget, and
// it comes back (no-second-life).
func (s *scene) returning() {
	away := s.between(s.ttl(), s.ttl()+4*time.Second)
	s.add(split, 0, away, holder, others)
	s.add(restart, away-s.between(0, 300*ms), 0, others, 0)
	if s.IntN(2) == 0 {
		s.add(stopGuard, 100*ms, away, others, 0)
	}
}

// oldWorld: the holder and some voters do not hear of other voters, and the
// others go on without them (newest-config).
func (s *scene) oldWorld() {
	length := s.between(8*time.Second, 18*time.Second)
	s.depose(0, length)
	s.add(cut, 100*ms, length, holder, others&^second).kind = split
	s.add(voters, 200*ms, 0, third|quorum.Set(s.IntN(4))<<3, 0)
	s.add(move, 300*ms, 0, third, 0)
}

// tornChange: the voters change while half of them cannot hear of it (joint
// majorities).
func (s *scene) tornChange() {
	length := s.between(3*time.Second, 9*time.Second)
	old := holder | second
	s.add(stopAgent, 0, length, old, 0)
	s.add(split, s.between(0, 300*ms), length, old, ^old)
	s.add(voters, 100*ms, 0, ^old, 0)
	s.add(move, 100*ms, 0, third, 0)
}

// overtaken: the holder falls silent for long enough to be missed, not long
// enough to lose its lease (refusals; leases that are not exclusive).
func (s *scene) overtaken() {
	for at := time.Duration(0); at < 8*time.Second; at += s.between(time.Second, 3*time.Second) {
		s.add(burst, at, s.between(200*ms, 1500*ms), holder, 0)
	}
}

// impatient: a claim waits while the holder goes on renewing (promise-kept).
func (s *scene) impatient() {
	s.depose(0, s.between(3*time.Second, 10*time.Second))
	s.add(reorder, s.between(0, 2*time.Second), 3*time.Second, 0, 0).by = s.between(5*ms, 200*ms)
}

// staleRelease: doubles of a release arrive after the lease was won again, while
// a claim waits.
func (s *scene) staleRelease() {
	s.add(late, 0, 400*ms, holder, 0).by = s.between(600*ms, 1500*ms)
	s.add(giveBack, 100*ms, 0, holder, 0)
	f := s.add(stopAgent, 150*ms, 8*time.Second, holder, 0)
	f.on, f.sayers, f.delay = lease.Won, holder, ms
	s.add(move, s.between(700*ms, 900*ms), 0, second, 0)
}

// shorter: a lease becomes shorter, and its holder is cut off right after
// (promise-kept).
func (s *scene) shorter() {
	s.depose(100*ms, 8*time.Second)
	s.add(ttl, 0, 0, 0, 0).by = s.p.longest
	s.add(ttl, 90*ms, 0, 0, 0).by = minTTL
	s.add(split, 90*ms+s.between(20*ms, 300*ms), s.between(time.Second, 5*time.Second), holder, others)
}

// lateDouble: doubles of a proposal arrive after its lease became longer.
func (s *scene) lateDouble() {
	s.add(ttl, 0, 0, 0, 0).by = minTTL
	s.add(late, 400*ms, time.Second, holder, 0).by = s.between(700*ms, 1200*ms)
	s.add(giveBack, 100*ms, 0, holder, 0)
	s.add(ttl, s.between(900*ms, 1300*ms), 0, 0, 0).by = s.p.longest
	at := 4*time.Second + s.p.longest
	s.depose(at, 8*time.Second)
	s.add(split, at+s.between(800*ms, 2*time.Second), s.between(2*time.Second, 5*time.Second), holder, others)
}

// lonelyAgent: the guard is alone for longer than the service lets it be.
func (s *scene) lonelyAgent() {
	s.add(stopAgent, 0, s.between(2*time.Second, 35*time.Second), holder, 0)
	s.add(stopGuard, s.between(time.Second, 6*time.Second), s.between(0, 4*time.Second), holder, 0)
	s.add(crash, s.between(5*time.Second, 12*time.Second), s.between(0, 3*time.Second), second, 0)
}

// sleeper: the holder's host sleeps for about as long as its lease lasts.
func (s *scene) sleeper() {
	s.depose(0, s.between(0, 6*time.Second))
	s.add(suspend, s.between(500*ms, 2*time.Second), s.between(s.ttl()/2, 2*s.ttl()), holder, 0)
	s.add(late, 0, 3*time.Second, holder, 0).by = s.between(100*ms, 2*time.Second)
}

// blackout: all guards lose their memory at about the same time (silent-restart,
// one-number).
func (s *scene) blackout() {
	kind := []kind{restart, crash}[s.IntN(2)]
	for role := range s.p.nodes {
		s.add(kind, s.between(0, 400*ms), s.between(0, 2*time.Second), 1<<role, 0)
	}
	s.add(split, s.between(0, time.Second), s.between(0, 4*time.Second), holder, others)
}

// otherRate: a clock, or some, runs at another rate than the holder's, by more
// than good ones do and by less than leases bear, and the holder is cut off while a
// claim waits (count-from-send, known-rates).
func (s *scene) otherRate() {
	fast := []quorum.Set{others, second, second | third, ^second}[s.IntN(4)]
	s.add(driftFar, 0, s.between(15*time.Second, 50*time.Second), fast, 0).share = leastOff + (mostOff-leastOff)*s.Float64()
	for at := s.between(0, 2*time.Second); at < 25*time.Second; at += s.between(8*time.Second, 14*time.Second) {
		s.depose(at, 6*time.Second)
		s.add(split, at+s.between(time.Second, 3*time.Second), s.between(2*time.Second, 4*time.Second), holder, others)
	}
}

// limited: all leases become short, of which the holder does not hear, and the
// others start anew with that (silent-restart).
func (s *scene) limited() {
	s.p.longest = max(s.p.longest, 2*time.Second)
	s.p.services[s.service].ttl = s.p.longest
	s.add(storeCut, 0, s.between(4*time.Second, 14*time.Second), holder, 0)
	for i := range s.p.services {
		f := s.add(ttl, 100*ms, 0, 0, 0)
		f.service, f.by = i, minTTL
	}
	at := s.between(time.Second, 3*time.Second)
	s.add(split, at, s.between(2*time.Second, 5*time.Second), holder, others)
	for role := range s.p.nodes - 1 {
		s.add(restart, at+s.between(0, 60*ms), 0, 2<<role, 0)
	}
}

// midStart: an agent stands still while it starts what its node has just won, for
// about as long as its guard waits for it; or it hangs for longer, and starts again
// what its guard cuts off (no-late-start).
func (s *scene) midStart() {
	x := &s.p.services[s.service]
	x.agentLoss, x.start = 2*time.Second, 200*ms
	s.add(move, 0, 0, second, 0)
	f := s.add(stopAgent, 0, x.agentLoss+s.between(0, x.ttl+200*ms), second, 0)
	f.on, f.sayers, f.delay = lease.Won, second, s.between(2*ms, 150*ms)
	if s.IntN(2) == 0 {
		f.kind, f.length = hangAgent, x.agentLoss+10*time.Second
	}
}

// hermit: a node is alone for long with what may go on without its lease
// (never-kept, kept-goes-on, kept-ends).
func (s *scene) hermit() {
	for i := range s.p.services {
		s.p.services[i].keep = s.p.services[i].soft
	}
	s.add(split, 0, s.between(s.ttl(), 15*time.Second), holder, others)
	if s.IntN(2) == 0 {
		s.add(storeCut, 0, s.between(time.Second, 20*time.Second), others, 0)
	}
	if s.IntN(3) == 0 {
		s.add(stopAgent, s.between(0, 5*time.Second), s.between(time.Second, 20*time.Second), holder, 0)
	}
}

// unheard: a guard starts anew while the others do not reach the store, and then
// the holder dies: those must take over with numbers that they have not read of
// (one-number).
func (s *scene) unheard() {
	s.add(storeCut, 0, 20*time.Second, ^third, 0)
	for range 1 + s.IntN(2) {
		s.add(restart, s.between(200*ms, 2*time.Second), 0, third, 0)
	}
	s.add(crash, 3*time.Second+s.p.longest, s.between(time.Second, 8*time.Second), holder, 0)
}
