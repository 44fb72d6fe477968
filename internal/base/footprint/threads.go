package footprint

import (
	"context"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/clock"
)

// Choosing how many threads run Go code.
const (
	threadsPeriod = 2 * time.Second
	// busyShare of a core makes room for all of them, and a quietTime below it
	// takes it back.
	busyShare = 0.5
	quietTime = 20 * time.Second
)

// Threads lets the process use all cores while it has work and one while it has
// next to none: at rest, most of what more threads cost is waking each other. An
// operator's GOMAXPROCS is left alone. It returns ctx's error when ctx ends.
func Threads(ctx context.Context, clk clock.Clock) error {
	all := runtime.GOMAXPROCS(0)
	if os.Getenv("GOMAXPROCS") != "" || all == 1 {
		<-ctx.Done()
		return ctx.Err()
	}
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
		want := all
		if quiet >= quietTime {
			want = 1
		}
		if runtime.GOMAXPROCS(0) != want {
			runtime.GOMAXPROCS(want)
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
