package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/lab/wire"
)

// MaxOutput is how many bytes of a program's output [Host.Run] and [Host.Exec]
// keep of each stream; the rest is dropped.
const MaxOutput = 4 << 20

// RunLimit is how long [Host.Run] and [Host.Exec] let a program go on where the
// context has no deadline: longer than any command of ours waits by itself.
const RunLimit = 3 * time.Minute

// Command is a program to run in a host, in a session of its own.
type Command struct {
	// Args is the program and its arguments. The program is looked up in the
	// host's PATH if its name has no slash.
	Args []string
	// Role, if set, starts the lab's own binary in that role, with Args as
	// arguments only.
	Role Role
	// Env is added to the host's PATH, HOME, LANG and HOSTNAME.
	Env []string
	// Dir is the working directory, default "/".
	Dir string
	// Stdin is read to its end, by a goroutine that ends when the reader or
	// the process does; nil is empty.
	Stdin io.Reader
	// Stdout and Stderr get the output, from one goroutine each; nil drops it.
	Stdout, Stderr io.Writer
	// LogPath is a file on the machine, not in the host, that gets both
	// outputs appended instead.
	LogPath string

	joined bool // Stderr goes where Stdout goes, in one stream
}

// Exit says how a process ended.
type Exit struct {
	Code     int            // exit status; -1 if it did not end by itself
	Signal   syscall.Signal // what killed it, 0 if nothing did
	HostGone bool           // the host was switched off under it
}

// Process is a program that runs in a host. It is safe for concurrent use.
type Process struct {
	host *Host
	id   uint64
	pid  int
	exit Exit
	done chan struct{}

	copying sync.WaitGroup
	ours    []*os.File
}

// PID returns the process id within the host.
func (p *Process) PID() int { return p.pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the end of the process and of its output, and says how it
// ended. It returns ctx's error if that comes first; the process goes on.
func (p *Process) Wait(ctx context.Context) (Exit, error) {
	select {
	case <-p.done:
		p.drain(ctx)
		return p.exit, nil
	case <-ctx.Done():
		return Exit{}, fmt.Errorf("wait for process %d on %s: %w", p.pid, p.host.Name(), ctx.Err())
	}
}

// drain waits for the rest of the output, but not for ever: a daemon that the
// process left behind may hold it open.
func (p *Process) drain(ctx context.Context) {
	deadline := clock.System{}.Now().Add(drainLimit)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	for _, f := range p.ours {
		_ = f.SetDeadline(deadline) // closed already is fine
	}
	p.copying.Wait()
}

// Signal sends a signal to the process alone. One that has ended is fine.
func (p *Process) Signal(ctx context.Context, s syscall.Signal) error {
	return p.signal(ctx, wire.SignalTo{ID: p.id, Signal: s})
}

// Kill ends the process and its group by SIGKILL.
func (p *Process) Kill(ctx context.Context) error {
	return p.signal(ctx, wire.SignalTo{ID: p.id, Signal: syscall.SIGKILL, Group: true})
}

func (p *Process) signal(ctx context.Context, s wire.SignalTo) error {
	select {
	case <-p.done:
		return nil
	default:
	}
	_, err := p.host.ask(ctx, wire.Signal, s, nil)
	return err
}

// end is called once, with the host's lock held.
func (p *Process) end(e Exit) {
	p.exit = e
	close(p.done)
}

// Start starts a program and returns at once. It goes on until it ends by
// itself, is killed, or its host is switched off.
func (h *Host) Start(ctx context.Context, c Command) (*Process, error) {
	p := &Process{host: h, done: make(chan struct{})}
	theirs, copies, err := p.plumb(c)
	defer closeAll(theirs)
	if err != nil {
		closeAll(p.ours)
		return nil, err
	}
	h.mu.Lock()
	h.serial++
	p.id = h.serial
	h.processes[p.id] = p // before it runs: it may end before the answer comes
	h.mu.Unlock()
	var started wire.Started
	w := wire.Process{ID: p.id, Args: c.Args, Env: c.Env, Dir: c.Dir, Role: string(c.Role)}
	if _, err := h.ask(ctx, wire.Start, w, &started, theirs...); err != nil {
		h.mu.Lock()
		delete(h.processes, p.id)
		h.mu.Unlock()
		closeAll(p.ours)
		return nil, fmt.Errorf("start on %s: %w", h.cfg.Name, err)
	}
	p.pid = started.PID
	if c.Stdin != nil {
		go feed(p.ours[0], c.Stdin)
	}
	for _, f := range copies {
		p.copying.Go(f)
	}
	return p, nil
}

// plumb makes the process's three standard files and what has to be copied
// between our ends of them and the command's readers and writers.
func (p *Process) plumb(c Command) (theirs []*os.File, copies []func(), err error) {
	pipe := func(read bool) (ours *os.File, err error) {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, fmt.Errorf("make a pipe: %w", err)
		}
		if !read {
			r, w = w, r
		}
		theirs, p.ours = append(theirs, w), append(p.ours, r)
		return r, nil
	}
	open := func(path string, flags int) error {
		f, err := os.OpenFile(path, flags, 0o644)
		if err == nil {
			theirs = append(theirs, f)
		}
		return err
	}
	if c.Stdin == nil {
		err = open(os.DevNull, os.O_RDONLY)
	} else {
		_, err = pipe(false)
	}
	for _, to := range []io.Writer{c.Stdout, c.Stderr} {
		switch {
		case err != nil:
		case c.joined && len(theirs) == 2:
			theirs = append(theirs, theirs[1])
		case c.LogPath != "":
			err = open(c.LogPath, os.O_WRONLY|os.O_CREATE|os.O_APPEND)
		case to == nil:
			err = open(os.DevNull, os.O_WRONLY)
		default:
			var r *os.File
			if r, err = pipe(true); err == nil {
				copies = append(copies, func() { drainInto(to, r) })
			}
		}
	}
	return theirs, copies, err
}

// feed copies the input and closes the pipe. The process may stop reading at
// any time.
func feed(w *os.File, from io.Reader) {
	_, _ = io.Copy(w, from)
	_ = w.Close()
}

// drainInto copies the output to its end. A writer that fails loses the rest,
// but never blocks the process.
func drainInto(to io.Writer, r *os.File) {
	if _, err := io.Copy(to, r); err != nil {
		_, _ = io.Copy(io.Discard, r)
	}
	_ = r.Close()
}

// hear takes the notes of the host's init.
func (h *Host) hear(_ context.Context, r wire.Request) (wire.Reply, error) {
	var e wire.Exit
	if r.Verb != wire.Exited {
		return wire.Reply{}, fmt.Errorf("unknown note %q", r.Verb)
	}
	if err := r.Decode(&e); err != nil {
		return wire.Reply{}, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if p, ok := h.processes[e.ID]; ok {
		delete(h.processes, e.ID)
		p.end(Exit{Code: e.Code, Signal: e.Signal})
	}
	return wire.Reply{}, nil
}

// Result is what a program that ended had to say.
type Result struct {
	Stdout, Stderr []byte
	Exit           Exit
}

// Exec runs a program to its end. If ctx or [RunLimit] ends first, the program is
// killed and an error returned that names it, with what it said so far. The
// command's own Stdout, Stderr and LogPath are not used.
func (h *Host) Exec(ctx context.Context, c Command) (Result, error) {
	var out, errs limited
	c.Stdout, c.Stderr, c.LogPath = &out, &errs, ""
	exit, err := h.toEnd(ctx, c)
	return Result{Stdout: out.bytes(), Stderr: errs.bytes(), Exit: exit}, err
}

// Run runs a program to its end and returns its output, both streams as they
// came, and its exit status. A status other than 0 is no error.
func (h *Host) Run(ctx context.Context, args ...string) (output []byte, code int, err error) {
	var both limited
	exit, err := h.toEnd(ctx, Command{Args: args, Stdout: &both, joined: true})
	return both.bytes(), exit.Code, err
}

func (h *Host) toEnd(ctx context.Context, c Command) (Exit, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, RunLimit)
		defer cancel()
	}
	p, err := h.Start(ctx, c)
	if err != nil {
		return Exit{Code: -1}, err
	}
	exit, err := p.Wait(ctx)
	if err != nil {
		err = fmt.Errorf("run %q: %w", c.Args, err)
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		return Exit{Code: -1}, errors.Join(err, p.Kill(late))
	}
	if exit.HostGone {
		return exit, fmt.Errorf("%s was switched off meanwhile: %w", h.cfg.Name, ErrOff)
	}
	return exit, nil
}

// limited keeps the first [MaxOutput] bytes written to it.
type limited struct {
	mu   sync.Mutex
	kept bytes.Buffer
}

func (l *limited) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept.Write(p[:min(len(p), MaxOutput-l.kept.Len())])
	return len(p), nil
}

func (l *limited) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.kept.Bytes())
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
