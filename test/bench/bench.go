package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/lab"
	"github.com/keelson/keelson/internal/lab/probe"
	"github.com/keelson/keelson/internal/lab/rival"
	"github.com/keelson/keelson/test/bench/journal"
)

// passes is how often the whole plan is gone through: what failed the first
// time is tried once more.
const passes = 2

// bench is one run.
type bench struct {
	options
	journal *journal.Journal
	out     io.Writer
	clock   clock.System
	missing map[string]bool // contestants that cannot start here
	planned int
}

// say prints a line of progress. Whether anybody reads it is no concern of ours.
func (b *bench) say(format string, args ...any) {
	_, _ = fmt.Fprintf(b.out, "%s  %s\n", b.clock.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

// measure measures all that is missing. What could not be measured is said, and
// does not end the run.
func (b *bench) measure(ctx context.Context) error {
	b.missing = map[string]bool{}
	if err := b.note(ctx); err != nil {
		return err
	}
	b.planned = len(b.left())
	b.say("%d things are to be measured, %d are measured already, in %s", b.planned, len(b.plan())-b.planned, b.dir)
	for range passes {
		if err := b.rounds(ctx); err != nil {
			return err
		}
		if err := b.steadies(ctx); err != nil {
			return err
		}
		if err := b.scales(ctx); err != nil {
			return err
		}
	}
	if left := b.left(); len(left) > 0 {
		return fmt.Errorf("%d things could not be measured: %s", len(left), strings.Join(left, "; "))
	}
	return nil
}

// plan lists the keys of all that is asked for.
func (b *bench) plan() []string {
	var out []string
	for _, c := range b.chosen() {
		for _, f := range b.of(c, trials()) {
			for r := range b.trials {
				out = append(out, journal.TrialKey(c.name, f, r+1))
			}
		}
		for _, s := range b.of(c, conditions()) {
			out = append(out, journal.SteadyKey(c.name, s))
		}
	}
	if slices.Contains(b.faults, scale) {
		for _, n := range b.nodes {
			out = append(out, journal.ScaleKey(n))
		}
	}
	return out
}

// left lists the keys of what is asked for and missing.
func (b *bench) left() []string {
	return slices.DeleteFunc(b.plan(), b.journal.Done)
}

// chosen are the contestants that take part and can.
func (b *bench) chosen() []contestant {
	return slices.DeleteFunc(contestants(), func(c contestant) bool {
		return !slices.Contains(b.contestants, c.name) || b.missing[c.name]
	})
}

// of returns which of these things are measured of a contestant.
func (b *bench) of(c contestant, all []string) []string {
	return slices.DeleteFunc(all, func(f string) bool { return slices.Contains(c.not, f) || !slices.Contains(b.faults, f) })
}

// rounds tries all faults on all contestants, one round after the other. Each
// round begins with the next contestant.
func (b *bench) rounds(ctx context.Context) error {
	for r := range b.trials {
		turn := b.chosen()
		for i := range turn {
			c := turn[(i+r)%len(turn)]
			missing := slices.DeleteFunc(b.of(c, trials()), func(f string) bool { return b.journal.Done(journal.TrialKey(c.name, f, r+1)) })
			if len(missing) == 0 {
				continue
			}
			if err := b.with(ctx, c, func(a *arena) error { return b.turn(ctx, a, missing, r+1) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// turn tries some faults on a contestant. It ends at the first that could not
// be measured, since the cluster is then in an unknown state.
func (b *bench) turn(ctx context.Context, a *arena, faults []string, round int) error {
	for _, f := range faults {
		t := a.trial(ctx, f, round)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := b.journal.Add(journal.Entry{Trial: &t}); err != nil {
			return err
		}
		b.say("%s  %s", b.progress(), describe(a.title, t))
		if t.Error != "" {
			return nil
		}
	}
	return nil
}

// progress is how much of what was missing is done.
func (b *bench) progress() string {
	return fmt.Sprintf("%d/%d", b.planned-len(b.left()), b.planned)
}

func describe(title string, t journal.Trial) string {
	line := fmt.Sprintf("round %d, %s, %s: ", t.Round, title, t.Fault)
	if t.Error != "" {
		return line + "not measured: " + t.Error
	}
	line += fmt.Sprintf("%.0f ms, %s -> %s, after the repair %.0f ms", t.OutageMS, t.From, t.To, t.AfterMS)
	if t.Lost {
		line += ", not back before the repair"
	}
	if f := t.Frozen; f != nil {
		line += fmt.Sprintf("; two holders %.0f ms frozen, %.0f ms thawed; old one answered for %.0f ms (%d times)",
			f.TwoFrozenMS, f.TwoThawedMS, f.OldMS, f.OldAnswers)
	}
	return line + fmt.Sprintf(" (asker stalled %.0f ms, load %.1f)", t.StallMS, t.Load)
}

// with raises a contestant, does something with it, and takes it down. One that
// cannot start is said and passed over.
func (b *bench) with(ctx context.Context, c contestant, do func(*arena) error) error {
	began := b.clock.Boot()
	a, err := raise(ctx, b.options, c, hostsEach)
	if ctx.Err() != nil {
		return errors.Join(ctx.Err(), err)
	}
	switch {
	case errors.Is(err, rival.ErrMissing):
		b.missing[c.name] = true
		b.say("SKIPPED: %v", err)
		return nil
	case errors.Is(err, lab.ErrForbidden):
		return err
	case err != nil:
		b.say("%s did not start: %v", c.title, err)
		return nil
	}
	b.say("%s stands after %.1f s", c.title, (b.clock.Boot() - began).Seconds())
	return errors.Join(do(a), a.lab.Close())
}

// steadies watches the contestants under each condition, some of them side by side.
func (b *bench) steadies(ctx context.Context) error {
	for _, condition := range conditions() {
		missing := slices.DeleteFunc(b.chosen(), func(c contestant) bool {
			return !slices.Contains(b.of(c, conditions()), condition) || b.journal.Done(journal.SteadyKey(c.name, condition))
		})
		for some := range slices.Chunk(missing, b.together) {
			if err := b.sideBySide(ctx, condition, some, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// sideBySide raises contestants one after the other, each in a lab of its own, and
// watches them all at once.
func (b *bench) sideBySide(ctx context.Context, condition string, left []contestant, up []*arena) error {
	if len(left) > 0 {
		risen := false
		err := b.with(ctx, left[0], func(a *arena) error {
			risen = true
			return b.sideBySide(ctx, condition, left[1:], append(up, a))
		})
		if err != nil || risen {
			return err
		}
		return b.sideBySide(ctx, condition, left[1:], up)
	}
	shared := &imposed{condition: condition}
	saw := make([]journal.Steady, len(up))
	var all sync.WaitGroup
	for i, a := range up {
		all.Go(func() { saw[i] = a.steady(ctx, shared, b.steady) })
	}
	all.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for i, s := range saw {
		if err := b.journal.Add(journal.Entry{Steady: &s}); err != nil {
			return err
		}
		b.say("%s  %s, %s for %.0f s: %d changes, %.3f s unserved (longest %.0f ms), two holders %.3f s, %d alarms %s%s",
			b.progress(), up[i].title, condition, s.Seconds, s.Changes, s.UnservedS, s.LongestMS, s.TwoS, s.Alarms, s.Bound, s.Error)
	}
	return nil
}

func (b *bench) scales(ctx context.Context) error {
	if !slices.Contains(b.faults, scale) {
		return nil
	}
	for _, n := range b.nodes {
		if b.journal.Done(journal.ScaleKey(n)) {
			continue
		}
		b.say("a cell of %d nodes", n)
		s := b.scale(ctx, n)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := b.journal.Add(journal.Entry{Scale: &s}); err != nil {
			return err
		}
		b.say("%s  %d nodes: formed in %.1f s, %d lost and %d changes in %.0f s, failover %.0f ms, %.0f packets/s, %.2f %% of a core a node %s",
			b.progress(), n, s.FormedMS/1000, s.Alarms, s.Changes, s.Seconds, s.OutageMS, s.Packets, s.CPUPercent, s.Error)
	}
	return nil
}

// note writes down what the run is made with.
func (b *bench) note(ctx context.Context) error {
	version, err := exec.CommandContext(ctx, b.binary, "version").Output()
	if err != nil {
		return fmt.Errorf("ask %s for its version: %w (make build makes it)", b.binary, err)
	}
	start, err := b.programStart(ctx)
	if err != nil {
		return err
	}
	s := journal.Setup{
		At: b.clock.Now().UTC().Truncate(time.Second), CPU: fileField("/proc/cpuinfo", "model name", ":"), Cores: runtime.NumCPU(),
		System: strings.Trim(fileField("/etc/os-release", "PRETTY_NAME", "="), `"`), Versions: rival.Versions(ctx),
		Keelson: strings.TrimSpace(string(bytes.SplitN(version, []byte("\n"), 2)[0])), Spec: b.spec, StartMS: start,
	}
	if kb, err := strconv.Atoi(strings.TrimSuffix(fileField("/proc/meminfo", "MemTotal", ":"), " kB")); err == nil {
		s.MemoryMB = kb / 1024
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		s.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	return b.journal.Add(journal.Entry{Setup: &s})
}

// fileField returns the value of the first line of a file that has a key before
// a separator, or "".
func fileField(path, key, separator string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if k, v, ok := strings.Cut(line, separator); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// starts is how often the start of the web program is timed.
const starts = 9

// programStart returns how long the web program takes from its start to its
// first answer, in milliseconds: what no contestant can save that has to start
// it.
func (b *bench) programStart(ctx context.Context) (float64, error) {
	l, err := lab.New(ctx, lab.Options{Hosts: []string{"h1", client}})
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }() // it holds nothing that is needed
	asked, err := l.Host(client).ProbeHTTP(ctx, probe.HTTP{URL: "http://" + l.Host("h1").Address(1) + "/", Every: 2 * time.Millisecond})
	if err != nil {
		return 0, err
	}
	var took []float64
	for range starts {
		from := b.clock.Boot()
		p, err := l.Host("h1").Start(ctx, lab.Command{Role: lab.RoleWeb, Args: []string{":80"}})
		if err != nil {
			return 0, err
		}
		wait, cancel := context.WithTimeout(ctx, stopLimit)
		first, err := asked.Await(wait, func(r probe.HTTPResult) bool { return r.OK && r.Sent > from })
		if err == nil {
			took = append(took, ms(first.Done-from))
			err = p.Kill(wait)
		}
		if err == nil {
			_, err = p.Wait(wait)
		}
		cancel()
		if err != nil {
			return 0, fmt.Errorf("time the start of the web program: %w", err)
		}
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}
