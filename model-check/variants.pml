/* The places where a protocol bug can be planted, and the things that must be
 * reachable. One of the names given with -D; without any, the protocol as it is. */

/* exact-promise */
#if defined(NO_PREPARE) || defined(ANY_PROMISE)
#define exact_promise(v, c, m) true
#else
#define exact_promise(v, c, m) again(v, c, m)
#endif
#ifdef NO_PREPARE
inline first_step(c) { phase[c] = PROPOSING; age[c] = 0; send_propose(c) }
#else
inline first_step(c) { phase[c] = PREPARING; send_prepare(c) }
#endif

/* promise-kept */
#ifdef SAME_NODE /* another incarnation of the holder passes for the holder */
#define same_peer(v, c, m) (by[v] == (c))
#else
#define same_peer(v, c, m) (by[v] == (c) && (number[v] > born[c]) == ((m) > born[c]))
#endif
#ifdef PROMISE_BROKEN
#define binds(v, c, m) false
#else
#define binds(v, c, m) (by[v] != NOBODY && expiry[v] > 0 && !same_peer(v, c, m))
#endif
#ifdef QUEUE_FIRST /* what a voter acknowledged does not bind it any longer */
#define prolongs(v, c) false
#else
#define prolongs(v, c) (by[v] == (c) && in_set[v])
#endif
#ifdef NO_REFUSALS
#define may_beat(v, c)     (phase[c] == HOLDING)
#define acknowledges(v, c) (phase[c] == HOLDING)
#else
#define may_beat(v, c)     beat_sent(c, v)
#define acknowledges(v, c) (phase[c] == HOLDING && keeps(v, c, own[c]) && in_set[v])
#endif
#ifdef ANY_RELEASE
#define may_free(v, c, m) (has(released[c], m) && by[v] == (c))
#else
#define may_free(v, c, m) (has(released[c], m) && keeps(v, c, m))
#endif
#ifdef TAKE_BACK_AT_ONCE /* what was accepted since is taken from its holder */
#define expired(v) true
#else
#define expired(v) (by[v] == NOBODY || expiry[v] == 0)
#endif
#ifdef ANY_SET /* a set replaces what was accepted, whatever its number */
#define newer(v, c, m) true
#else
#define newer(v, c, m) ((m) > number[v] || number[v] == (m) && by[v] == NOBODY && takes_back(c, m) || \
  number[v] > (m) && expired(v) && takes_back(c, m))
#endif

/* silent-restart */
#ifdef NO_FLOOR
#define floor_of_restart 0
#else
#define floor_of_restart top
#endif
#ifdef NO_SILENCE
#define silence_of_restart 0
#elif defined(SHORT_SILENCE) /* one tick less */
#define silence_of_restart (TTL - 1)
#else
#define silence_of_restart TTL
#endif

/* count-from-send */
#ifdef COUNT_FROM_ARRIVAL
#define in_time(c) true
#define counted(c) 0
#define may_arrive(c, v) (phase[c] == HOLDING && yes(c, v))
inline arrive(c, v) { said[at(c, v)] = 0; alone(c) }
#else
#define in_time(c) (age[c] < VALID)
#define counted(c) age[c]
#define may_arrive(c, v) false
inline arrive(c, v) { skip }
#endif

/* no-second-life */
#ifdef SECOND_LIFE
#define lapses(c) false
#else
#define lapses(c) (!majority(c))
#endif

/* one-number: of two checks each holds what the other lets pass, so both go */
#ifdef TWICE_PROMISED
#define fresh(v, m)        ((m) >= promised[v] && (m) >= number[v])
#define not_ended(v, c, m) true
#else
#define fresh(v, m)        ((m) > promised[v] && (m) > number[v])
#define not_ended(v, c, m) (number[v] != (m) || by[v] == (c))
#endif
#ifdef FORGET_NUMBER /* a claimant begins again at the floor of its incarnation */
#define newest(c) born[c]
#else
#define newest(c) own[c]
#endif

#if defined(NO_PREPARE) || defined(ANY_PROMISE) || defined(SAME_NODE) || defined(PROMISE_BROKEN) || \
  defined(QUEUE_FIRST) || defined(NO_REFUSALS) || defined(ANY_RELEASE) || defined(ANY_SET) || defined(NO_FLOOR) || \
  defined(NO_SILENCE) || defined(SHORT_SILENCE) || defined(COUNT_FROM_ARRIVAL) || defined(NO_DRIFT_BOUND) || defined(SECOND_LIFE) || \
  defined(TWICE_PROMISED) || defined(FORGET_NUMBER)
#define LATE
#endif

/* What must be reachable: the assertion must fail. */
#if defined(REACH_WON) || defined(REACH_RENEWED) || defined(REACH_TAKEOVER) || defined(REACH_HANDOVER) || \
  defined(REACH_RETURN) || defined(REACH_VOTE_AFTER_RESTART) || defined(REACH_WIN_AFTER_RESTART)
#ifndef PLAIN
#define PLAIN
#endif
byte last = NOBODY;  /* who won last */
byte since;          /* ticks since then, at most 2 * TTL */
byte changes;        /* how often the lease went to the other claimant */
byte back = NOBODY;  /* the voter that started anew last */
inline reach_tick() {
  if
  :: since < 2 * TTL -> since++
  :: else
  fi
}
inline reach_won(c) {
  if
  :: last == 1 - c -> changes++
  :: else
  fi;
#ifdef REACH_WON
  assert(false);
#endif
#ifdef REACH_TAKEOVER /* by the other claimant, nothing having been given back */
  assert(changes == 0 || released[1 - c] != 0);
#endif
#ifdef REACH_HANDOVER /* sooner than a lease can end by itself */
  assert(changes == 0 || since > 0);
#endif
#ifdef REACH_RETURN /* and back again */
  assert(changes < 2);
#endif
#ifdef REACH_VOTE_AFTER_RESTART /* with the needed vote of a voter that forgot all */
  assert(back == NOBODY || !yes(c, back) || yes(c, 0) + yes(c, 1) + yes(c, 2) > 2);
#endif
#ifdef REACH_WIN_AFTER_RESTART /* by a claimant that forgot all */
  assert(born[c] == 0);
#endif
  last = c; since = 0
}
inline reach_renewed(c) {
#ifdef REACH_RENEWED /* held for longer than the voters' first promise */
  assert(since <= TTL);
#endif
  skip
}
inline reach_back(v) { back = v }
#else
inline reach_tick()     { skip }
inline reach_won(c)     { skip }
inline reach_renewed(c) { skip }
inline reach_back(v)    { skip }
#endif
