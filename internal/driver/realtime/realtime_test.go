package realtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/base/thread"
)

// part is what this program plays if it is started as a process of its own: the
// priority is that of a whole process, and the tests must not run at it.
const part = "KEELSON_REALTIME_TEST"

func TestMain(m *testing.M) {
	if play := plays[os.Getenv(part)]; play != nil {
		if err := play(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var plays = map[string]func() error{
	"policy": func() error {
		fmt.Print(policies())
		return nil
	},
	"enter": func() error {
		for range 4 { // threads that are there before
			go func() { runtime.LockOSThread(); select {} }()
		}
		time.Sleep(20 * time.Millisecond)
		if err := Enter(); err != nil {
			return err
		}
		for range 4 { // and threads that come later
			go func() { runtime.LockOSThread(); select {} }()
		}
		time.Sleep(20 * time.Millisecond)
		inside := policies()
		child := ""
		err := Apart(func() error {
			c := exec.Command(os.Args[0])
			c.Env = append(os.Environ(), part+"=policy")
			out, err := c.Output()
			child = string(out)
			return err
		})
		if err != nil {
			return err
		}
		after := policies()
		if err := Leave(); err != nil {
			return err
		}
		fmt.Printf("inside %s, child %s, after it %s, left %s", inside, child, after, policies())
		return nil
	},
	"spin": func() error {
		runtime.GOMAXPROCS(1)
		k := NewKeeper(clock.System{}, slog.New(slog.DiscardHandler))
		if err := enter(50*time.Millisecond, End); err != nil {
			return err
		}
		go k.Run(context.Background())
		for began := time.Now(); time.Since(began) < 1500*time.Millisecond; {
			if k.Overrun() != "" && policies() == "normal" {
				fmt.Print("gave up")
				return nil
			}
		}
		return errors.New("it spins at " + policies())
	},
	"again": func() error { // what the kernel raised at the first overrun counts from the start again
		runtime.GOMAXPROCS(1)
		k := NewKeeper(clock.System{}, slog.New(slog.DiscardHandler))
		for range 2 {
			if err := enter(50*time.Millisecond, End); err != nil {
				return err
			}
			select {
			case <-k.signals:
			default:
			}
			began := time.Now()
			for len(k.signals) == 0 {
				if time.Since(began) > 800*time.Millisecond {
					return errors.New("the kernel did not warn")
				}
			}
			if err := Leave(); err != nil {
				return err
			}
			time.Sleep(10 * time.Millisecond)
		}
		fmt.Print("warned twice")
		return nil
	},
	"deaf": func() error {
		runtime.GOMAXPROCS(1) // the kernel counts for each thread
		signal.Ignore(unix.SIGXCPU)
		if err := enter(50*time.Millisecond, 300*time.Millisecond); err != nil {
			return err
		}
		for began := time.Now(); time.Since(began) < 5*time.Second; {
		}
		return errors.New("it spun for 5 s at real-time priority")
	},
	"late": late,
	"busy": func() error {
		for began := time.Now(); time.Since(began) < 10*time.Minute; {
		}
		return nil
	},
}

// policies are those of all threads of this process.
func policies() string {
	var all []string
	_ = thread.Each(func(tid int) error {
		a, err := unix.SchedGetAttr(tid, 0)
		switch {
		case err != nil:
		case a.Policy == unix.SCHED_FIFO:
			all = append(all, fmt.Sprintf("FIFO %d", a.Priority))
		case a.Policy == unix.SCHED_NORMAL:
			all = append(all, "normal")
		}
		return nil
	})
	slices.Sort(all)
	return strings.Join(slices.Compact(all), " and ")
}

// run starts this program as something else and returns what it printed.
func run(t testing.TB, play string, env ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, os.Args[0])
	c.Env = append(append(os.Environ(), part+"="+play), env...)
	out, err := c.Output()
	if strings.Contains(string(out), ErrRefused.Error()) {
		t.Skipf("SKIPPED: this needs the right to real-time priority (CAP_SYS_NICE): %s", out)
	}
	return string(out), err
}

func TestAllThreadsAndNoChildrenGetThePriority(t *testing.T) {
	out, err := run(t, "enter")
	const want = "inside FIFO 5, child normal, after it FIFO 5, left normal"
	if err != nil || out != want {
		t.Errorf("%v\n got %s\nwant %s", err, out, want)
	}
}

func TestProcessThatSpinsGivesThePriorityUp(t *testing.T) {
	if out, err := run(t, "spin"); err != nil || out != "gave up" {
		t.Errorf("%v: %s", err, out)
	}
}

func TestProcessIsWarnedAgainWhenItTookThePriorityAgain(t *testing.T) {
	if out, err := run(t, "again"); err != nil || out != "warned twice" {
		t.Errorf("%v: %s", err, out)
	}
}

func TestProcessThatDoesNotListenIsEnded(t *testing.T) {
	out, err := run(t, "deaf")
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != unix.SIGKILL {
		t.Errorf("%v: %s", err, out)
	}
}

// late prints how late the ticks of a loop like the guard's come.
func late() error {
	runtime.GOMAXPROCS(1)
	if os.Getenv("KEELSON_REALTIME_POLICY") == "fifo" {
		if err := Enter(); err != nil {
			return err
		}
	} else if err := Leave(); err != nil { // nice -20
		return err
	}
	span, err := time.ParseDuration(os.Getenv("KEELSON_REALTIME_SPAN"))
	if err != nil {
		return err
	}
	const every = 20 * time.Millisecond
	var all []time.Duration
	timer := time.NewTimer(every)
	began := time.Now()
	for due := began.Add(every); due.Sub(began) < span; {
		<-timer.C
		now := time.Now()
		all = append(all, now.Sub(due))
		for due = due.Add(every); due.Before(now); due = due.Add(every) {
		}
		timer.Reset(time.Until(due))
	}
	slices.Sort(all)
	at := func(share float64) int64 { return all[int(share*float64(len(all)-1))].Microseconds() }
	fmt.Print(at(0.5), " ", at(0.99), " ", at(0.999), " ", at(1))
	return nil
}

// BenchmarkTickLateness measures how late a tick of 20 ms comes while twice as
// many processes as there are processors do nothing but compute, at both
// priorities: docs/decisions has the figures. It takes two minutes:
//
//	go test -run '^$' -bench TickLateness -benchtime 1x ./internal/driver/realtime
func BenchmarkTickLateness(b *testing.B) {
	span := "60s"
	if s := os.Getenv("KEELSON_REALTIME_SPAN"); s != "" {
		span = s
	}
	for range 2 * runtime.NumCPU() {
		c := exec.CommandContext(b.Context(), os.Args[0])
		c.Env = append(os.Environ(), part+"=busy")
		if err := c.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	}
	for _, policy := range []string{"nice", "fifo"} {
		b.Run(policy, func(b *testing.B) {
			out, err := run(b, "late", "KEELSON_REALTIME_POLICY="+policy, "KEELSON_REALTIME_SPAN="+span)
			if err != nil {
				b.Fatalf("%v: %s", err, out)
			}
			for i, text := range strings.Fields(out) {
				us, err := strconv.ParseFloat(text, 64)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(us/1000, []string{"p50-ms", "p99-ms", "p99.9-ms", "max-ms"}[i])
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}
