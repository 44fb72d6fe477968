/* The lease protocol of internal/core/lease, for one exclusive service, three
 * voters and two claimants. README.md says what is modelled, what is not, and
 * which Go function each part stands for. ./run.sh runs all of it.
 *
 * Bounds, to be set with -D:
 *   N                  ballot numbers 1 .. N (at most 5)
 *   TTL                length of a lease in ticks of the voters' clocks
 *   VOTER_RESTARTS     how often voters lose their memory; ANY for no bound
 *   CLAIMANT_RESTARTS  how often claimants lose theirs; ANY for no bound
 * LATE keeps every message for ever, instead of only those of the newest attempt.
 * PLAIN switches off canonical(), for traces that people read.
 */
#define ANY 255
#ifndef N
#define N 3
#endif
#ifndef TTL
#define TTL 3
#endif
#ifndef VOTER_RESTARTS
#define VOTER_RESTARTS 1
#endif
#ifndef CLAIMANT_RESTARTS
#define CLAIMANT_RESTARTS 1
#endif

/* count-from-send: a holder counts one tick less than the voters (holder.go,
 * valid). That tick is the drift bound: once in TTL ticks, a claimant's clock
 * may miss one. */
#ifdef NO_DRIFT_BOUND
#define VALID TTL
#else
#define VALID (TTL - 1)
#endif
#define NEVER VALID /* an age of which nothing is valid any more */

#define NOBODY 2

/* Phases of a claimant. Holding is the holder's entry in holder.go. */
#define RESTING   0
#define PREPARING 1
#define PROPOSING 2
#define HOLDING   3

#define at(c, v)    ((c) * 3 + (v))
#define only(m)     (1 << (m))
#define has(set, m) (((set) >> (m)) & 1)
#define top         (own[0] > own[1] -> own[0] : own[1])
#define yes(c, v)   (said[at(c, v)] < NEVER)
#define majority(c) (yes(c, 0) + yes(c, 1) + yes(c, 2) >= 2)
#define valid(c)    (phase[c] == HOLDING && majority(c))
#define voting(v)   (silent[v] == 0)

#include "variants.pml"

/* Voters: voteRecord in voter.go. The floor is a promise to nobody. */
byte promised[3];
byte promised_to[3] = NOBODY;
byte by[3] = NOBODY;
byte number[3];
byte expiry[3]; /* ticks until the record binds no more */
byte in_set[3];
byte silent[3]; /* ticks until the voter votes */

/* Claimants: claim in claimant.go, heldEntry in holder.go. */
byte phase[2];
byte own[2];   /* the newest number */
byte born[2];  /* numbers up to here belong to an incarnation that is gone */
byte age[2];   /* ticks since the proposal was sent, on the claimant's clock */
byte slow[2];  /* ticks until the clock may miss one again */
byte ghost[2]; /* ticks for which the lease of the incarnation before counts */

/* What voter v said to claimant c about c's number: at said[c * 3 + v].
 * NEVER: nothing. Preparing: promised. Proposing: accepted. Holding: the age,
 * on the claimant's clock, of the newest heartbeat that it acknowledged. */
byte said[6] = NEVER;

/* Messages to the voters, as sets of numbers. They are never used up: a message
 * may arrive at any time, in any order, many times, or not at all. */
#ifdef LATE
byte prepared[2];
byte proposed[2];
#endif
byte won[2]; /* KindSet */
byte released[2];

byte epoch; /* the highest number won */
byte voter_restarts = VOTER_RESTARTS;
byte claimant_restarts = CLAIMANT_RESTARTS;

#ifdef LATE
#define prepare_sent(c, m) has(prepared[c], m)
#define propose_sent(c, m) has(proposed[c], m)
#define beat_sent(c, v)    (by[v] == (c) && in_set[v])
#define takes_back(c, m)   true
inline send_prepare(c)     { prepared[c] = prepared[c] | only(own[c]) }
inline send_propose(c)     { proposed[c] = proposed[c] | only(own[c]) }
#else
#define prepare_sent(c, m) (own[c] == (m) && (phase[c] == PREPARING || phase[c] == PROPOSING))
#define propose_sent(c, m) (own[c] == (m) && phase[c] == PROPOSING)
#define beat_sent(c, v)    (phase[c] == HOLDING && keeps(v, c, own[c]) && in_set[v])
#define takes_back(c, m)   (phase[c] == HOLDING && own[c] == (m))
inline send_prepare(c)     { skip }
inline send_propose(c)     { skip }
#endif

#define again(v, c, m) (promised[v] == (m) && promised_to[v] == (c))
#define keeps(v, c, m) (by[v] == (c) && number[v] == (m))

#include "canonical.pml"

inline forget_answers(c) { said[at(c, 0)] = NEVER; said[at(c, 1)] = NEVER; said[at(c, 2)] = NEVER }
inline drop(v)           { by[v] = NOBODY; in_set[v] = 0; expiry[v] = 0 }
inline rest(c)           { phase[c] = RESTING; age[c] = 0; forget_answers(c) }

inline less(left)        { if :: left < ANY -> left-- :: else fi }

/* One holder. Asked wherever a lease becomes valid or goes on to be. */
inline alone(c) {
  assert(!valid(1 - c) && ghost[0] == 0 && ghost[1] == 0);
  assert(own[c] == epoch)
}

/* ---- voters ---- */

/* voter.prepare, serve, promise. A claim that waits is a prepare that comes later. */
#define may_promise(v, c, m) (prepare_sent(c, m) && voting(v) && !binds(v, c, m) && \
  (fresh(v, m) || again(v, c, m) && number[v] != m))
inline promise(v, c, m) {
  if
  :: same_peer(v, c, m) -> in_set[v] = 0
  :: else -> drop(v)
  fi;
  promised[v] = m; promised_to[v] = c;
  if
  :: phase[c] == PREPARING && own[c] == m -> said[at(c, v)] = 0
  :: else
  fi;
  canonical()
}

/* voter.propose */
#define may_accept(v, c, m) (propose_sent(c, m) && voting(v) && exact_promise(v, c, m) && !binds(v, c, m) && \
  not_ended(v, c, m))
inline accept(v, c, m) {
  if
  :: keeps(v, c, m) && in_set[v]
  :: keeps(v, c, m) && !in_set[v] -> expiry[v] = TTL
  :: else -> by[v] = c; number[v] = m; in_set[v] = 0; expiry[v] = TTL
  fi;
  if
  :: phase[c] == PROPOSING && own[c] == m -> said[at(c, v)] = 0
  :: else
  fi;
  canonical()
}

/* voter.part, install. voter.takeBack is the same once more, if the record is nobody's, or what
 * was accepted under a higher number has expired. */
#define may_install(v, c, m) (has(won[c], m) && !(keeps(v, c, m) && in_set[v]) && (newer(v, c, m) || keeps(v, c, m)))
inline install(v, c, m) {
  if
  :: keeps(v, c, m)
  :: else ->
     if
     :: number[v] > m && promised[v] == number[v] -> promised_to[v] = NOBODY
     :: else
     fi;
     by[v] = c; number[v] = m; expiry[v] = TTL;
     if
     :: m > promised[v] -> promised[v] = m; promised_to[v] = c
     :: else
     fi
  fi;
  in_set[v] = 1;
  canonical()
}

/* voter.beat, and holder.acked of what it answers. While a lease is held there
 * is always a heartbeat just sent; an older one does no more than that one. */
inline beat(v, c) {
  if
  :: prolongs(v, c) -> expiry[v] = TTL
  :: else
  fi;
  if
  :: voting(v) && acknowledges(v, c) ->
     said[at(c, v)] = 0;
     if
     :: majority(c) -> alone(c); reach_renewed(c)
     :: else
     fi
  :: else
  fi;
  canonical()
}

/* voter.receive, KindRelease */
inline free(v, c, m) { drop(v); canonical() }

/* What a voter forgets, and what keeps that from doing harm: silent-restart. */
inline restart_voter(v) {
  less(voter_restarts);
  drop(v); number[v] = 0;
  promised[v] = floor_of_restart; promised_to[v] = NOBODY;
  silent[v] = silence_of_restart;
  reach_back(v);
  canonical()
}

/* For traces. Voter 3, claimant 2 and number 0 stand for none. */
#ifdef PLAIN
#define tell(what, v, c, m) printf(what); printf(" voter %d, claimant %d, number %d\n", v, c, m)
#else
#define tell(what, v, c, m) skip
#endif
#define FOR_ONE(may, do, a, c, m) :: d_step { may(a, c, m) -> tell(#do, a, c, m); do(a, c, m) }
#if N == 2
#define FOR_EACH(may, do, a, c) FOR_ONE(may, do, a, c, 1) FOR_ONE(may, do, a, c, 2)
#elif N == 3
#define FOR_EACH(may, do, a, c) FOR_ONE(may, do, a, c, 1) FOR_ONE(may, do, a, c, 2) FOR_ONE(may, do, a, c, 3)
#elif N == 4
#define FOR_EACH(may, do, a, c) FOR_ONE(may, do, a, c, 1) FOR_ONE(may, do, a, c, 2) FOR_ONE(may, do, a, c, 3) \
  FOR_ONE(may, do, a, c, 4)
#elif N == 5
#define FOR_EACH(may, do, a, c) FOR_ONE(may, do, a, c, 1) FOR_ONE(may, do, a, c, 2) FOR_ONE(may, do, a, c, 3) \
  FOR_ONE(may, do, a, c, 4) FOR_ONE(may, do, a, c, 5)
#endif

#define VOTER(v) \
  FOR_EACH(may_promise, promise, v, 0) FOR_EACH(may_promise, promise, v, 1) \
  FOR_EACH(may_accept, accept, v, 0) FOR_EACH(may_accept, accept, v, 1) \
  FOR_EACH(may_install, install, v, 0) FOR_EACH(may_install, install, v, 1) \
  FOR_EACH(may_free, free, v, 0) FOR_EACH(may_free, free, v, 1) \
  :: d_step { may_beat(v, 0) -> tell("beat", v, 0, own[0]); beat(v, 0) } \
  :: d_step { may_beat(v, 1) -> tell("beat", v, 1, own[1]); beat(v, 1) } \
  :: d_step { voter_restarts > 0 && top > 0 -> tell("restart", v, NOBODY, 0); restart_voter(v) }

/* ---- claimants ---- */

/* claimant.start: a number above all that this claimant used or heard of. It
 * may have heard of any. */
#define may_start(none, c, m) (phase[c] <= PREPARING && m > newest(c) && m <= top + 1)
inline start(none, c, m) {
  own[c] = m; forget_answers(c);
  first_step(c);
  canonical()
}

/* claimant.promised: a majority promised. */
inline open(c) {
  phase[c] = PROPOSING; age[c] = 0;
  send_propose(c);
  forget_answers(c);
  canonical()
}

/* claimant.accepted: a majority accepted, and it is not too late. */
inline win(c) {
  phase[c] = HOLDING;
  if :: yes(c, 0) -> said[at(c, 0)] = counted(c) :: else fi;
  if :: yes(c, 1) -> said[at(c, 1)] = counted(c) :: else fi;
  if :: yes(c, 2) -> said[at(c, 2)] = counted(c) :: else fi;
  age[c] = 0;
    assert(own[c] > epoch); /* epochs strictly grow */
  epoch = own[c];
  alone(c);
  reach_won(c);
  won[c] = won[c] | only(own[c]);
  canonical()
}

/* claimant.abandon of a proposal, holder.release of a lease. */
inline release(c) { released[c] = released[c] | only(own[c]); rest(c); canonical() }

/* The holder's lease lapses although voters acknowledged more: their newest
 * answers did not arrive. */
inline lose_answers(c) { rest(c); canonical() }

/* The node of claimant c starts anew. What ran under its lease may run on until
 * the lease ends, so the lease still counts: ghost. */
#define middle(a, b, c) (a <= b -> (b <= c -> b : (a <= c -> c : a)) : (a <= c -> a : (b <= c -> c : b)))
inline restart_claimant(c) {
  less(claimant_restarts);
  if
  :: valid(c) -> ghost[c] = VALID - middle(said[at(c, 0)], said[at(c, 1)], said[at(c, 2)])
  :: else
  fi;
  rest(c);
  born[c] = top; own[c] = top;
  canonical()
}

#define CLAIMANT(c) \
  FOR_EACH(may_start, start, 3, c) \
  :: d_step { phase[c] == PREPARING && majority(c) -> tell("propose", 3, c, own[c]); open(c) } \
  :: d_step { phase[c] == PROPOSING && majority(c) && in_time(c) -> tell("win", 3, c, own[c]); win(c) } \
  :: d_step { phase[c] >= PROPOSING -> tell("release", 3, c, own[c]); release(c) } \
  :: d_step { phase[c] == HOLDING -> tell("lapse", 3, c, own[c]); lose_answers(c) } \
  :: d_step { claimant_restarts > 0 && own[c] > 0 && ghost[c] == 0 -> tell("restart", 3, c, own[c]); restart_claimant(c) } \
  :: d_step { may_arrive(c, 0) -> tell("arrive", 0, c, own[c]); arrive(c, 0) } \
  :: d_step { may_arrive(c, 1) -> tell("arrive", 1, c, own[c]); arrive(c, 1) } \
  :: d_step { may_arrive(c, 2) -> tell("arrive", 2, c, own[c]); arrive(c, 2) }

/* ---- time ---- */

inline older(x)   { if :: x < NEVER -> x++ :: else fi }
inline sooner(x)  { if :: x > 0 -> x-- :: else fi }

#define counts(c)   (phase[c] >= PROPOSING || ghost[c] > 0)
#define may_miss(c) (counts(c) && slow[c] == 0)

/* One tick on the clock of claimant c; holder.expire (no-second-life). */
inline pass(c) {
  sooner(slow[c]); sooner(ghost[c]);
  if
  :: phase[c] == PROPOSING -> older(age[c])
  :: phase[c] == HOLDING ->
     older(said[at(c, 0)]); older(said[at(c, 1)]); older(said[at(c, 2)]);
     if
     :: lapses(c) -> rest(c)
     :: else
     fi
  :: else
  fi;
  if
  :: !counts(c) -> slow[c] = 0
  :: else
  fi
}
/* The tick that the clock of claimant c misses. */
inline miss(c) { slow[c] = TTL - 1 }

inline voters_pass() {
  sooner(expiry[0]); sooner(expiry[1]); sooner(expiry[2]);
  sooner(silent[0]); sooner(silent[1]); sooner(silent[2]);
  reach_tick()
}

#define CLOCK \
  :: d_step { true -> tell("tick", 3, 2, 0); voters_pass(); pass(0); pass(1); canonical() } \
  :: d_step { may_miss(0) -> tell("tick, a clock misses it:", 3, 0, 0); voters_pass(); miss(0); pass(1); canonical() } \
  :: d_step { may_miss(1) -> tell("tick, a clock misses it:", 3, 1, 0); voters_pass(); pass(0); miss(1); canonical() } \
  :: d_step { may_miss(0) && may_miss(1) -> tell("tick, a clock misses it:", 3, 2, 0); voters_pass(); miss(0); miss(1); canonical() }

/* One process does every step, so that a state is what stands above and no more. */
active proctype cell() {
  do
  VOTER(0) VOTER(1) VOTER(2)
  CLAIMANT(0) CLAIMANT(1)
  CLOCK
  od
}
