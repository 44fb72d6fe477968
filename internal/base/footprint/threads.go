package footprint

import (
	"context"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/base/thread"
)

// Choosing how many threads run Go code.
const (
	threadsPeriod = 2 * time.Second
	// busyShare of a core makes room for all of them, and a quietTime below it
	// takes it back.
	busyShare = 0.5
	quietTime = 20 * time.Second
	// restSlack is how late a sleep may end while there is next to no work. Each
	// time a process at rest is woken, the runtime's monitor looks after it every
	// 20 µs, which is most of what such a process uses.
	restSlack = time.Millisecond
)

// Threads lets the process use all cores while it has work and one while it has
// next to none: at rest, most of what more threads cost is waking each other. Its
// sleeps may then end a little late too. An operator's GOMAXPROCS is left alone. It
// returns ctx's error when ctx ends. Start programs within [thread.Apart].
func Threads(ctx context.Context, clk clock.Clock) error {
	all, slack := runtime.GOMAXPROCS(0), thread.UsualSlack
	chosen := os.Getenv("GOMAXPROCS") != ""
	used, at := processorTime(), clk.Boot()
	quiet := time.Duration(0)
	for clk.Sleep(ctx, threadsPeriod) == nil {
		now, spent := clk.Boot(), processorTime()
		share := float64(spent-used) / float64(max(now-at, 1))
		quiet += now - at
		if share > busyShare {
			quiet = 0
		}
		used, at = spent, now
		want, lenient := all, thread.UsualSlack
		if quiet >= quietTime {
			want, lenient = 1, restSlack
		}
		if runtime.GOMAXPROCS(0) != want && !chosen {
			runtime.GOMAXPROCS(want)
		}
		if slack != lenient {
			slack = lenient
			// Where it is refused, the process is woken as often as others are.
			_ = thread.Slack(slack)
		}
	}
	return ctx.Err()
}

// processorTime is what this process has used, 0 if the kernel does not say.
func processorTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
