#!/bin/sh
# Checks the model: what must hold has to hold in every state, every planted bug
# has to be found, and every good thing has to be reachable. One core, at most
# 3 GB. Needs Debian's packages spin and gcc. Leaves nothing behind.
#
#   ./run.sh             everything
#   ./run.sh proofs      only what must hold; or: mutants, reach
#   ./run.sh trace NAME  the way to a planted bug or a good thing, step by step
set -u

here=$(cd "$(dirname "$0")" && pwd)
limit=${MODEL_TIMEOUT:-2400} # seconds for one search
memory=3072                  # MB for one search
passed=0 failed=0

for tool in spin gcc; do
  command -v $tool >/dev/null || { echo "SKIPPED: the model needs $tool (apt-get install spin gcc libc6-dev)"; exit 0; }
done
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
cp "$here"/*.pml "$work" && cd "$work" || exit 1

# One line each: name, ballot numbers, TTL, restarts of voters, of claimants.
proofs='
DEEP       3 3 1   1
RESTARTS   2 3 ANY ANY
LATE       2 3 1   0
LATE       3 2 0   0
'
mutants='
NO_PREPARE         2 3 0 0
ANY_PROMISE        2 3 0 0
PROMISE_BROKEN     3 3 0 0
QUEUE_FIRST        3 3 0 0
NO_REFUSALS        3 3 0 0
ANY_RELEASE        3 3 0 0
ANY_SET            3 3 0 0
TAKE_BACK_AT_ONCE  3 3 0 0
SAME_NODE          3 3 0 1
NO_SILENCE         2 3 1 0
SHORT_SILENCE      2 3 1 0
NO_FLOOR           2 3 1 0
COUNT_FROM_ARRIVAL 3 3 0 0
NO_DRIFT_BOUND     3 3 0 0
SECOND_LIFE        2 3 1 0
TWICE_PROMISED     2 3 0 0
FORGET_NUMBER      2 3 0 0
'
reach='
REACH_WON                2 3 0 0
REACH_RENEWED            2 3 0 0
REACH_TAKEOVER           2 3 0 0
REACH_HANDOVER           2 3 0 0
REACH_RETURN             3 2 0 0
REACH_VOTE_AFTER_RESTART 2 3 1 0
REACH_WIN_AFTER_RESTART  2 3 0 1
'

# search NAME N TTL VOTER_RESTARTS CLAIMANT_RESTARTS [DEFINE]: result in $said.
search() {
  flags="-D$1 -DN=$2 -DTTL=$3 -DVOTER_RESTARTS=$4 -DCLAIMANT_RESTARTS=$5 ${6:-}"
  rm -f pan.* lease.pml.trail
  # shellcheck disable=SC2086
  spin -a $flags lease.pml >spin.out 2>&1 || { cat spin.out; return 1; }
  # NOREDUCE: one process does every step, there is no order to reduce. The rest
  # makes a state smaller and keeps the hash table at its size.
  gcc -O2 -DSAFETY -DNOREDUCE -DNOFAIR -DNOBOUNDCHECK -DNO_RESIZE -DMEMLIM=$memory -o pan pan.c >gcc.out 2>&1 || { cat gcc.out; return 1; }
  timeout "$limit" nice -n 10 ./pan -m200000 -w24 >pan.out 2>&1
  errors=$(sed -n 's/.*errors: \([0-9]*\).*/\1/p' pan.out)
  said=$(awk '/depth reached/ { sub(/.*depth reached /, ""); sub(/,.*/, ""); depth = $0 }
    /states, stored/ { states = $1 } /total actual memory/ { mb = $1 } /elapsed time/ { s = $4 }
    END { printf "%s states, depth %s, %.0f MB, %s s", states, depth, mb, s }' pan.out)
}

verdict() {
  if [ "$1" = "$2" ]; then passed=$((passed + 1)); word=ok; else failed=$((failed + 1)); word=FAILED; fi
  printf '%-6s %-25s N=%s TTL=%s restarts=%s,%s: %s: %s\n' $word "$4" "$5" "$6" "$7" "$8" "$3" "$said"
}

# proved: no violation, and nothing left out for want of depth, memory or time.
prove() {
  search "$@" && [ "$errors" = 0 ] && ! grep -qE 'max search depth too small|out of memory|Search not completed|reached -DMEMLIM' pan.out
  verdict $? 0 "holds in every state" "$@"
  [ $word = ok ] || tail -n 20 pan.out
}

find() {
  search "$@" && [ "$errors" = 1 ] && grep -q 'assertion violated' pan.out
  verdict $? 0 "$what" "$@"
  [ $word = ok ] || tail -n 20 pan.out
}

each() {
  echo "$2" | while read -r line; do [ -z "$line" ] || echo "$line"; done >list
  while read -r name n ttl voters claimants; do $1 "$name" "$n" "$ttl" "$voters" "$claimants"; done <list
}

trace() {
  line=$(echo "$mutants $reach" | grep "^ *$1 ") || { echo "there is no $1"; exit 2; }
  # shellcheck disable=SC2086
  search $line -DPLAIN
  [ "$errors" = 1 ] || { echo "not found: $said"; exit 1; }
  # shellcheck disable=SC2086
  spin -t -g $flags lease.pml
}

case ${1:-all} in
all) each prove "$proofs"; what="found" each find "$mutants"; what="reachable" each find "$reach" ;;
proofs) each prove "$proofs" ;;
mutants) what="found" each find "$mutants" ;;
reach) what="reachable" each find "$reach" ;;
trace) trace "${2:-}"; exit ;;
*) sed -n '2,8s/^# \{0,1\}//p' "$here/run.sh"; exit 2 ;;
esac
echo "$passed passed, $failed failed"
[ $failed = 0 ]
