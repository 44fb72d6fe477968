package usage

// ExitTopic is what `keelson help` calls [ExitCodes].
const ExitTopic = "exit-codes"

// ExitCodes is the help text of all exit statuses.
const ExitCodes = `Exit statuses, the same for every command. Scripts can rely on them.

    0   done, or shown. A cell with problems is shown with 0, too: look at
        .problems in the JSON of ` + "`keelson status`" + `
    1   the cell said no, or it failed; what was done in part is said
    2   wrong usage: a command, a flag or its value was not understood, or
        --yes is missing where nobody can be asked; nothing was done
    3   the cell cannot be reached: no agent, no network, or no node of a cell
        at that address
    4   the time was up while waiting (--timeout); the cell goes on with it
    5   plan and whatif with --exit-code: something would change
    6   plan and whatif with --exit-code: a service would be lost
    7   accepted, and failed for good while waiting: no node may run it, it is
        stopped for a person, or it does not stop

What looks on until Ctrl-C (status --watch, events --follow, logs -f) then ends
with 0, and what was waiting for something with 1. With -o json or yaml the
error's object has the status as "exit".
`
