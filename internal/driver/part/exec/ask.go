package exec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/keelson/keelson/internal/base/command"
	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/driver/cgroup"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/spec"
)

// questions is how many commands may run beside one program at the same time.
const questions = 4

// errBusy means that as many as may run do.
var errBusy = errors.New("too many checks run at once")

// readWait is how long the output of what was killed is still read, if somebody
// else holds it open.
const readWait = 500 * time.Millisecond

// seats are where commands run beside one program: each in a group of its own
// within the program's.
type seats struct {
	taken [questions]bool
	clean [questions]bool // nothing is left there, as far as this process knows
}

// Ask runs a command beside run's program to its end: as its user, in its folder,
// with its environment, within its limits and in its group, where a stop and a cut
// reach it too. A part that is no program asks as the agent's user, without limits.
// So many bytes of the output are returned. When ctx ends, the command is killed.
// Nothing that it started outlives the call, except where programs are tracked by
// session and it hides on purpose.
//
// What it leaves is never taken for the program: that is known by its record. If
// the agent dies meanwhile, the next one kills the command before it asks anything.
//
// The error is ctx's, or a [*Error] if the operator can do something about it; the
// result then holds the output so far.
func (d *Driver) Ask(ctx context.Context, run instance.Run, argv []string, outputBytes int) (command.Result, error) {
	none := command.Result{Code: -1}
	e := &spec.Exec{}
	if run.Part.Exec != nil {
		*e = *run.Part.Exec
	}
	e.Command = argv
	plain := run.Part.Exec == nil
	run.Part.Exec = e
	l, err := d.prepare(run)
	if err != nil {
		return none, err
	}
	seat, err := d.sitDown(ctx, run, l.group)
	if err != nil {
		return none, fmt.Errorf("ask %s: %w", argv[0], err)
	}
	result, err := d.askOn(ctx, run, l, question{seat, plain, outputBytes})
	failed := d.clear(context.WithoutCancel(ctx), l.group, seat)
	if failed != nil {
		d.log.WarnContext(ctx, "processes of a check not killed", logkey.Service, run.Service,
			logkey.Part, run.Part.Name, logkey.Err, failed)
	}
	d.standUp(run, seat, failed == nil)
	return result, err
}

// question is where and how a command is run.
type question struct {
	seat        int
	plain       bool // its part is no program
	outputBytes int
}

// askOn runs the command of l on a seat that is taken.
func (d *Driver) askOn(ctx context.Context, run instance.Run, l launch, q question) (command.Result, error) {
	none := command.Result{Code: -1}
	outer := l.group
	var err error
	if l.group, err = outer.Within(seatName(q.seat)); err != nil {
		return none, err
	}
	l.env = append(l.env, l.group.Env()...)
	r, w, err := os.Pipe()
	if err != nil {
		return none, fmt.Errorf("ask %s: %w", l.command[0], err)
	}
	read := reading(r, q.outputBytes)
	if !q.plain {
		outer = nil // it is there, or the program is not
	}
	pid, err := d.born(ctx, run, l, outer, w)
	_ = w.Close() // the command has it
	if err != nil {
		return none, errors.Join(err, read.end(d.clock.Now().Add(readWait), nil))
	}
	ended, failed := d.await(ctx, pid)
	killed := l.group.Kill(context.WithoutCancel(ctx)) // so that the output ends
	result := none
	_ = read.end(d.clock.Now().Add(readWait), &result) // what was read is kept
	if err := errors.Join(failed, killed); err != nil {
		return result, err
	}
	if ended.status.Signaled() {
		result.Signal = signalName(ended.status.Signal())
	} else {
		result.Code = ended.status.ExitStatus()
	}
	return result, nil
}

// born starts the command in its group, which is made anew, and so is the one around
// it if there is one.
func (d *Driver) born(ctx context.Context, run instance.Run, l launch, outer *cgroup.Group, out *os.File) (pid int, err error) {
	if l.who != nil { // so that it can open its own /dev/stdout; if not, it writes all the same
		_ = out.Chown(int(l.who.Uid), int(l.who.Gid))
	}
	if outer != nil {
		if err := os.MkdirAll(run.RunDir, 0o700); err != nil {
			return 0, fmt.Errorf("ask %s: %w", l.command[0], err)
		}
	}
	for range births {
		if outer != nil {
			err = outer.Create(cgroup.Limits{})
		}
		if err == nil {
			err = l.group.Create(cgroup.Limits{})
		}
		if err == nil {
			pid, err = d.spawnInto(ctx, run, l, out)
		}
		if outer == nil || !errors.Is(err, cgroup.ErrRemoved) {
			break
		}
	}
	var told *Error
	if errors.Is(err, cgroup.ErrRemoved) && !errors.As(err, &told) {
		err = fmt.Errorf("%s runs no more: %w", run.Key(), err)
	}
	return pid, err
}

// sitDown takes a free seat. What is left of earlier commands on any free one, as
// of an agent before this one, is killed first.
func (d *Driver) sitDown(ctx context.Context, run instance.Run, g *cgroup.Group) (seat int, err error) {
	d.mu.Lock()
	s := d.asked[run.Key()]
	if s == nil {
		s = &seats{}
		d.asked[run.Key()] = s
	}
	seat = -1
	var sweep []int
	for i := range questions {
		switch {
		case s.taken[i]:
			continue
		case seat < 0:
			seat = i
		case s.clean[i]:
			continue
		}
		s.taken[i] = true
		if !s.clean[i] {
			sweep = append(sweep, i)
		}
	}
	d.mu.Unlock()
	if seat < 0 {
		return 0, errBusy
	}
	for _, i := range sweep {
		failed := d.clear(ctx, g, i)
		if i != seat || failed != nil {
			d.standUp(run, i, failed == nil)
		}
		if i == seat && failed != nil {
			err = fmt.Errorf("end an earlier check: %w", failed)
		}
	}
	return seat, err
}

// standUp frees a seat.
func (d *Driver) standUp(run instance.Run, seat int, clean bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.asked[run.Key()]
	s.taken[seat], s.clean[seat] = false, clean
}

func seatName(seat int) string { return "check-" + strconv.Itoa(seat+1) }

// clear kills all that is on a seat beside g's program.
func (d *Driver) clear(ctx context.Context, g *cgroup.Group, seat int) error {
	inner, err := g.Within(seatName(seat))
	if err == nil {
		err = inner.Kill(ctx)
	}
	if err == nil {
		err = inner.Remove(ctx)
	}
	return err
}

// reader reads what a command prints, so that it never waits for it.
type reader struct {
	from      *os.File
	kept      []byte
	truncated bool
	done      chan error
}

// reading begins to read from, of which it keeps the first limit bytes; end ends it.
func reading(from *os.File, limit int) *reader {
	r := &reader{from: from, done: make(chan error, 1)}
	go func() {
		kept, err := io.ReadAll(io.LimitReader(from, int64(limit)))
		r.kept = kept
		if err == nil {
			var more int64
			more, err = io.Copy(io.Discard, from)
			r.truncated = more > 0
		}
		r.done <- err
	}()
	return r
}

// end waits until that moment for the end of what is read, and puts it into result, if there is one.
func (r *reader) end(patience time.Time, result *command.Result) error {
	err := r.from.SetReadDeadline(patience)
	failed := <-r.done
	if errors.Is(failed, os.ErrDeadlineExceeded) {
		failed = nil
	}
	if result != nil {
		result.Output, result.Truncated = r.kept, r.truncated
	}
	return errors.Join(err, failed, r.from.Close())
}
