/* canonical() maps a state to one that stands for it, so that fewer states have
 * to be visited. PLAIN switches it off. README.md says why each step is sound.
 */
#ifdef PLAIN
inline canonical() { skip }
#else
inline canonical() { c_code { canonical_form(); } }

c_code {
/* The numbers of the voters and of the claimants mean nothing: a state stands
 * for all that differ from it by their order only. */

static int voter_key(int v) {
  return ((((((((now.promised[v] * 4 + now.promised_to[v]) * 4 + now.by[v]) * 8 + now.number[v]) * 8 + now.expiry[v]) * 2 +
    now.in_set[v]) * 8 + now.silent[v]) * 8 + now.said[v]) * 8) + now.said[3 + v];
}

static int claimant_key(int c) {
  return ((((((now.own[c] * 4 + now.phase[c]) * 8 + now.age[c]) * 8 + now.slow[c]) * 8 + now.ghost[c]) * 8 + now.born[c]) * 64 +
    now.won[c]) * 64 + now.released[c];
}

static void exchange(unsigned char *a, unsigned char *b) {
  unsigned char was = *a;
  *a = *b; *b = was;
}

static void exchange_voters(int v, int w) {
  if (voter_key(v) <= voter_key(w)) return;
  exchange(&now.promised[v], &now.promised[w]);
  exchange(&now.promised_to[v], &now.promised_to[w]);
  exchange(&now.by[v], &now.by[w]);
  exchange(&now.number[v], &now.number[w]);
  exchange(&now.expiry[v], &now.expiry[w]);
  exchange(&now.in_set[v], &now.in_set[w]);
  exchange(&now.silent[v], &now.silent[w]);
  exchange(&now.said[v], &now.said[w]);
  exchange(&now.said[3 + v], &now.said[3 + w]);
}

static void exchange_claimants(void) {
  int v;
  if (claimant_key(0) >= claimant_key(1)) return;
  exchange(&now.phase[0], &now.phase[1]);
  exchange(&now.own[0], &now.own[1]);
  exchange(&now.born[0], &now.born[1]);
  exchange(&now.age[0], &now.age[1]);
  exchange(&now.slow[0], &now.slow[1]);
  exchange(&now.ghost[0], &now.ghost[1]);
  exchange(&now.won[0], &now.won[1]);
  exchange(&now.released[0], &now.released[1]);
#ifdef LATE
  exchange(&now.prepared[0], &now.prepared[1]);
  exchange(&now.proposed[0], &now.proposed[1]);
#endif
  for (v = 0; v < 3; v++) {
    exchange(&now.said[v], &now.said[3 + v]);
    if (now.by[v] != NOBODY) now.by[v] = 1 - now.by[v];
    if (now.promised_to[v] != NOBODY) now.promised_to[v] = 1 - now.promised_to[v];
  }
}

static void order(void) {
  exchange_claimants();
  exchange_voters(0, 1); exchange_voters(1, 2); exchange_voters(0, 1);
}

#ifndef LATE
/* What can make no difference any more, or only that less is allowed. */

static int claims(int c) { return now.phase[c] == PREPARING || now.phase[c] == PROPOSING; }

/* over says whether no answer about number m of c counts any more. */
static int over(int c, int m) { return now.own[c] != m || now.phase[c] == RESTING; }

static int kept(int c, int m) {
  int v;
  for (v = 0; v < 3; v++) if (now.by[v] == c && now.number[v] == m) return 1;
  return 0;
}

/* A promise to an attempt that is over is a promise to nobody. A record of a
 * lease that is over binds until it expires and is renewed no more. */
static void bury(int v) {
  int c = now.promised_to[v];
  if (c != NOBODY && (!claims(c) || now.own[c] != now.promised[v])) now.promised_to[v] = NOBODY;
  c = now.by[v];
  if (c == NOBODY) return;
  if ((now.phase[c] != PROPOSING && now.phase[c] != HOLDING) || now.own[c] != now.number[v]) {
    now.in_set[v] = 0;
    if (now.expiry[v] == 0) now.by[v] = NOBODY;
  }
}

/* Messages that no voter will take, or that would only bind it. */
static void collect(int c, int m) {
  if ((now.won[c] >> m & 1) && (now.phase[c] != HOLDING || now.own[c] != m) &&
      now.promised[0] >= m && now.promised[1] >= m && now.promised[2] >= m) now.won[c] &= ~(1 << m);
  if ((now.released[c] >> m & 1) && !(now.won[c] >> m & 1) && !kept(c, m) && over(c, m)) now.released[c] &= ~(1 << m);
}

/* matters says whether it makes a difference if a voter accepted just this number. */
static int matters(int m) {
  return ((now.won[0] | now.won[1]) >> m & 1) || !over(0, m) || !over(1, m);
}

/* Numbers that bar nothing, and equal ones that bar the same. */
static void level(void) {
  int bar = N, c, v, m, old;
  for (c = 0; c < 2; c++) {
    m = claims(c) ? now.own[c] - 1 : now.own[c];
    if (m < bar) bar = m;
  }
  if (now.epoch < bar) now.epoch = bar;
  for (v = 0; v < 3; v++) {
    if (now.promised[v] < bar) now.promised[v] = bar;
    if (now.by[v] != NOBODY || matters(now.number[v])) continue;
    while (now.number[v] < now.promised[v] && !matters(now.number[v] + 1)) now.number[v]++;
  }
  for (c = 0; c < 2; c++) {
    for (m = 1, old = 0; m <= now.born[c]; m++) old |= kept(c, m) || (now.won[c] >> m & 1);
    if (!old) now.born[c] = 0;
  }
}

static void canonical_form(void) {
  int c, v, m;
  for (v = 0; v < 3; v++) bury(v);
  for (c = 0; c < 2; c++) for (m = 1; m <= N; m++) collect(c, m);
  level();
  order();
}
#else
static void canonical_form(void) { order(); }
#endif
}
#endif
