package reasons

const whyHelp = `Say where a service is and why, why it is on no other node, who takes over, and
what would move it.

Usage:
    keelson why SERVICE [-o FORMAT]

    -o, --output FORMAT  table, json or yaml

It is worked out anew on the cell as it is now. What would move the service was
tried, one thing at a time. The decision that put it there is named, too: see
` + "`keelson replay --help`" + `.

Exit status: 0 shown, 1 there is no such service, 2 wrong usage, 3 the cell
cannot be reached.

Example:
    $ keelson why shop
`

const planHelp = `Say what an apply would do, before it does. Nothing is changed.

Usage:
    keelson plan -f FILE [-f FILE ...] [--exit-code] [-o FORMAT]

    -f, --file FILE      as for ` + "`keelson apply`" + `: a file, several, or a folder; -
                         reads standard input
    --exit-code          say by the exit status what would happen
    -o, --output FORMAT  table, json or yaml

It shows which services start, move, restart or stop, which would lose their home
and why, what has to be done in which order, who would have no successor, and how
much capacity would be left. A file that apply would refuse is refused.

Exit status: 0 shown, 1 refused, 2 wrong usage, 3 the cell cannot be reached.
With --exit-code also: 5 something would change, 6 a service would lose its home;
then 0 means that nothing would change.

Example:
    $ keelson plan -f shop.yaml
`

const whatIfHelp = `Say what would happen if nodes were lost, or drained. Nothing is changed.

Usage:
    keelson whatif [--fail NODE|LABEL=VALUE ...] [--drain NODE|LABEL=VALUE ...]
                   [--exit-code] [-o FORMAT]

    --fail NODE          the node is lost; with a label, all nodes that have it;
                         may be given more than once: all are lost at once
    --drain NODE         the node is drained; may be given more than once
    --exit-code          say by the exit status what would happen
    -o, --output FORMAT  table, json or yaml

Without --fail and --drain it shows the capacity that is left, and which services
have no successor.

Exit status: 0 shown, 1 refused, 2 wrong usage, 3 the cell cannot be reached.
With --exit-code also: 5 something would move, 6 a service would be lost; then 0
means that nothing would happen.

Example:
    $ keelson whatif --fail rack=r1
`

const replayHelp = `Take a past decision again, on what was known then, and compare.

Usage:
    keelson replay EVENT [--show] [--save FILE] [-o FORMAT]
    keelson replay --list [-o FORMAT]
    keelson replay --file FILE [--show] [-o FORMAT]

EVENT is the number of an event (` + "`keelson events -o json`" + ` has it as seq) or the
id of a decision, or its beginning, as ` + "`keelson events`" + ` shows it under PLAN.

    --list               the decisions that are recorded, the newest last
    --show               what was decided for each service, and why
    --save FILE          write what was known, and the decision, to a file
    --file FILE          take the decision of such a file again, here, without a
                         cell; a snapshot alone is decided on
    -o, --output FORMAT  table, json or yaml

The cell records each decision that changes a placement: the newest 200, at most
8 MiB of them.

Exit status: 0 the same to the byte (or shown), 1 not the same, or not recorded,
2 wrong usage, 3 the cell cannot be reached.

Example:
    $ keelson replay 3f2a91c0
    decision 3f2a91c0d2e4b871 of 2026-11-23 03:12:44 by a: the same to the byte
`

const confirmHelp = "Keep a change that was applied with `--confirm-within`.\n" + `
Usage:
    keelson confirm [CHANGE] [-o FORMAT]

    -o, --output FORMAT  table, json or yaml

CHANGE is what apply printed, and what ` + "`keelson status`" + ` shows; without it, the
only change that waits. It keeps the change for all services that it is about.
` + "`keelson revert`" + ` takes it back at once instead.

Exit status: 0 confirmed, 1 there is no such change (it may have been taken back
already), 2 wrong usage, 3 the cell cannot be reached.

Example:
    $ keelson confirm
    change 5c0fd1a2 stays: shop
`

const revertHelp = "Take a change that was applied with `--confirm-within` back at once.\n" + `
Usage:
    keelson revert [CHANGE] [-o FORMAT]

    -o, --output FORMAT  table, json or yaml

CHANGE is what apply printed, and what ` + "`keelson status`" + ` shows; without it, the
only change that waits. Services get the spec that they had before; those that
were new are deleted.

Exit status: 0 taken back, 1 there is no such change, 2 wrong usage, 3 the cell
cannot be reached.

Example:
    $ keelson revert
    change 5c0fd1a2 is taken back: shop
`

// ApplyHelp is the help text of `keelson apply`.
const ApplyHelp = `Create or change services from files: all of them, or none if one is wrong.

Usage:
    keelson apply -f FILE [-f FILE ...] [--dry-run] [--confirm-within DURATION]
                  [--wait] [--timeout DURATION] [-o FORMAT]

A service in the cell that the files do not name is left alone. Applying the same
file twice changes nothing.

    -f, --file FILE      YAML with one or more documents; may be given more than
                         once; a folder means its .yaml and .yml files; - reads
                         standard input
    --dry-run            check only, and say what would change; see also
                         ` + "`keelson plan`" + `
    --confirm-within DURATION
                         take it all back by itself unless
                         ` + "`keelson confirm`" + ` comes within this time (1s to 24h);
                         until then the services take no other change
    --wait               wait until all of it runs and is ready
    --timeout DURATION   with --wait: wait no longer than this (default 2m)
    -o, --output FORMAT  table, json or yaml

Exit status: 0 applied, 1 refused, 2 wrong usage, 3 the cell cannot be reached,
4 not ready in time, 7 applied, and it failed for good: a person has to look.

Example:
    $ keelson apply -f shop.yaml --wait
    shop created (generation 1)
    shop runs on a
`
