// Package lab makes real hosts on one machine: each with its own network,
// mounts, processes, name and clock of uptime, joined by switches, and breaks
// them on request. The demo, drills and integration tests all drive the same.
//
// Its one rule: nothing is left behind. All processes, namespaces, links and
// files of a lab live inside one outer process, the stage, and end with it;
// the stage ends when its caller does, however that ends. Only cgroup
// directories outlive a lab whose caller and stage are both killed, and the
// next lab removes them.
//
// It works as root and, through a user namespace, as an ordinary user; CPU and
// memory limits need root. It runs no external program and needs Linux 5.12.
// It is a test bench, not a fence: programs in the hosts share the machine's
// kernel, and they see its files, read-only.
package lab

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/lab/cgroup"
	"github.com/keelson/keelson/internal/lab/hostinit"
	"github.com/keelson/keelson/internal/lab/wire"
)

const (
	// callLimit bounds every request to the lab, besides the caller's context.
	callLimit = 20 * time.Second
	// closeLimit bounds the wait for a stage that was told to end.
	closeLimit = 15 * time.Second
	// bootsAtOnce is how many hosts boot side by side when a lab starts.
	bootsAtOnce = 16
)

// Errors that a caller may decide on.
var (
	// ErrForbidden means this machine does not let this user make a lab. Its
	// text says why and what to do.
	ErrForbidden = wire.ErrForbidden
	// ErrNoHost means the lab has no host of that name; nothing was done.
	ErrNoHost = wire.ErrNoHost
	// ErrOff means the host is powered off; nothing was done.
	ErrOff = wire.ErrOff
	// ErrNoCgroup means CPU and memory limits are not to be had here, since
	// the lab was not started as root; nothing was done.
	ErrNoCgroup = wire.ErrNoCgroup
	// ErrClosed means the lab has ended.
	ErrClosed = wire.ErrClosed
)

// Lab is a set of hosts. It is safe for concurrent use. [Lab.Close] ends it.
type Lab struct {
	cfg     wire.Lab
	life    context.Context // New's, without its end
	log     *slog.Logger
	hosts   map[string]*Host
	stage   *wire.Peer
	process *os.Process
	ended   chan struct{} // closed when the stage is reaped
	said    *tail         // what the stage and the inits said on stderr
	served  sync.WaitGroup
	closing sync.Once
	closed  error
}

// New makes a lab and boots its hosts. ctx bounds the start only; the caller
// closes the lab. Errors: [ErrForbidden], ctx's, and those of bad options.
//
// The program must call [MaybeRunInner] first thing in main.
func New(ctx context.Context, o Options) (*Lab, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	cfg, err := o.config(cgroup.ID(rand.Text()[:6]))
	if err != nil {
		return nil, err
	}
	if cfg.Cgroups, err = cgroup.Create(ctx, cfg.ID); err != nil {
		return nil, errors.Join(err, cgroup.Remove(ctx, cfg.Cgroups))
	}
	l := &Lab{
		cfg: cfg, life: context.WithoutCancel(ctx), log: o.logger(), hosts: map[string]*Host{}, ended: make(chan struct{}), said: &tail{},
	}
	for i, h := range cfg.Hosts {
		l.hosts[h.Name] = newHost(l, h, i+1)
	}
	if err := l.startStage(); err != nil {
		return nil, errors.Join(err, cgroup.Remove(ctx, cfg.Cgroups))
	}
	if err := l.raise(ctx); err != nil {
		if said := l.said.String(); said != "" && !errors.Is(err, ErrForbidden) {
			err = fmt.Errorf("%w (the lab said: %s)", err, said)
		}
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// raise sets up the stage and boots all hosts.
func (l *Lab) raise(ctx context.Context) error {
	start := clock.System{}.Now()
	if _, err := l.stage.Call(ctx, wire.Setup, l.cfg, nil); err != nil {
		err = fmt.Errorf("set up the lab: %w", err)
		if errors.Is(err, ErrForbidden) {
			return forbidden(err)
		}
		return err
	}
	slots := make(chan struct{}, bootsAtOnce)
	failed := make(chan error, len(l.cfg.Hosts))
	for _, h := range l.Hosts() {
		go func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			failed <- h.Boot(ctx)
		}()
	}
	var all []error
	for range l.cfg.Hosts {
		all = append(all, <-failed)
	}
	if err := errors.Join(all...); err != nil {
		return err
	}
	l.log.InfoContext(ctx, "lab raised", "lab", l.cfg.ID, "hosts", len(l.cfg.Hosts),
		"took", clock.System{}.Now().Sub(start), "cgroups", len(l.cfg.Cgroups))
	return nil
}

func (l *Lab) startStage() error {
	if os.Getenv(RoleVariable) != "" {
		return errors.New("this program does not call lab.MaybeRunInner first thing in main")
	}
	ours, theirs, err := wire.Pair()
	if err != nil {
		return err
	}
	defer func() { _ = theirs.Close() }()
	cmd := stageCommand(l.cfg.ID, theirs, l.said)
	if err := cmd.Start(); err != nil {
		_ = ours.Close()
		return forbidden(fmt.Errorf("start the lab's stage: %w", err))
	}
	l.process = cmd.Process
	go func() {
		_ = cmd.Wait() // how it ended is told by what it said
		close(l.ended)
	}()
	if l.stage, err = wire.NewPeer(ours); err != nil {
		return errors.Join(err, cmd.Process.Kill())
	}
	l.served.Go(func() {
		// It ends with the stage; what the stage had to say is in said.
		_ = l.stage.Run(l.life, nil)
	})
	return nil
}

// stageCommand returns the command that starts the stage, for root without and
// for others with a user namespace. It asks for no signal at the caller's
// death: the kernel closes the connection then, and the stage cleans up.
func stageCommand(id string, control *os.File, said *tail) *exec.Cmd {
	attr := &syscall.SysProcAttr{
		Setsid: true, // so that Ctrl-C in the caller's terminal is the caller's
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS |
			syscall.CLONE_NEWIPC | syscall.CLONE_NEWNET,
	}
	if os.Geteuid() != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{id}, Dir: "/",
		Env:         hostinit.InnerEnvironment(string(roleStage)),
		Stderr:      said,
		ExtraFiles:  []*os.File{control},
		SysProcAttr: attr,
	}
}

// Close ends the lab and waits until nothing of it is left. Closing twice
// returns what the first time did.
func (l *Lab) Close() error {
	l.closing.Do(func() { l.closed = l.close() })
	return l.closed
}

func (l *Lab) close() error {
	start := clock.System{}.Now()
	ctx, cancel := context.WithTimeout(l.life, closeLimit)
	defer cancel()
	var failed []error
	failed = append(failed, l.stage.Close())
	select {
	case <-l.ended:
	case <-ctx.Done():
		failed = append(failed, fmt.Errorf("the lab's stage did not end within %s and was killed", closeLimit))
		failed = append(failed, l.process.Kill())
	}
	for _, h := range l.hosts {
		h.hangUp()
	}
	l.served.Wait()
	// The stage has done it already, unless it was killed.
	ctx, cancel = context.WithTimeout(l.life, closeLimit)
	defer cancel()
	failed = append(failed, cgroup.Remove(ctx, l.cfg.Cgroups))
	<-l.ended
	l.log.InfoContext(ctx, "lab removed", "lab", l.cfg.ID, "took", clock.System{}.Now().Sub(start))
	return errors.Join(failed...)
}

// Ended is closed when the lab is gone, by Close or because its stage died.
func (l *Lab) Ended() <-chan struct{} { return l.ended }

// ID names the lab; no two labs on a machine have the same.
func (l *Lab) ID() string { return l.cfg.ID }

// Limits reports whether hosts can be given CPU and memory limits.
func (l *Lab) Limits() bool { return len(l.cfg.Cgroups) > 0 }

// Hosts returns the hosts in the order of the options.
func (l *Lab) Hosts() []*Host {
	var out []*Host
	for _, h := range l.cfg.Hosts {
		out = append(out, l.hosts[h.Name])
	}
	return out
}

// Host returns the host of that name. If there is none, every verb of the
// result returns [ErrNoHost].
func (l *Lab) Host(name string) *Host {
	if h, ok := l.hosts[name]; ok {
		return h
	}
	return newHost(l, wire.Host{Name: name}, 0)
}

// HostByMAC returns the host that owns a hardware address, written as
// "02:77:..", or nil.
func (l *Lab) HostByMAC(mac string) *Host {
	for _, h := range l.cfg.Hosts {
		if slices.ContainsFunc(h.Links, func(k wire.Link) bool { return k.MAC == mac }) {
			return l.hosts[h.Name]
		}
	}
	return nil
}

// State says how each host is.
func (l *Lab) State(ctx context.Context) ([]HostState, error) {
	var wired []wire.HostState
	if err := l.call(ctx, wire.State, nil, &wired); err != nil {
		return nil, fmt.Errorf("ask for the hosts' state: %w", err)
	}
	var out []HostState
	for _, s := range wired {
		out = append(out, HostState{
			Name: s.Name, On: s.On, Frozen: s.Frozen, LossPercent: s.LossPercent,
			Cut: len(s.Cut) > 0, Isolated: len(s.Isolated) > 0,
		})
	}
	return out, nil
}

// HostState says how a host is. Cut and Isolated mean on at least one network.
type HostState struct {
	Name        string
	On          bool
	Frozen      bool
	Cut         bool
	Isolated    bool
	LossPercent float64
}

// OneWay drops every frame from a to b; those from b to a pass. No networks
// means all.
func (l *Lab) OneWay(ctx context.Context, a, b string, networks ...Network) error {
	return l.fault(ctx, wire.NetFault{Kind: wire.OneWay, A: []string{a}, B: []string{b}}, networks)
}

// Partition drops every frame between the hosts of a and those of b.
func (l *Lab) Partition(ctx context.Context, a, b []string, networks ...Network) error {
	return errors.Join(
		l.fault(ctx, wire.NetFault{Kind: wire.OneWay, A: a, B: b}, networks),
		l.fault(ctx, wire.NetFault{Kind: wire.OneWay, A: b, B: a}, networks))
}

// LossBetween drops percent of the frames from one of the hosts to another, by
// chance, each way; those from and to other hosts pass. 0 drops none. The range
// is 0 to 100, in steps of a tenth. No networks means all.
func (l *Lab) LossBetween(ctx context.Context, percent float64, hosts []string, networks ...Network) error {
	if !(percent >= 0 && percent <= 100) {
		return fmt.Errorf("a loss of %v percent cannot be", percent)
	}
	return l.fault(ctx, wire.NetFault{Kind: wire.Between, A: hosts, Percent: percent}, networks)
}

// HealAll undoes all network faults. Hosts that are off or frozen stay so.
func (l *Lab) HealAll(ctx context.Context) error {
	return l.fault(ctx, wire.NetFault{Kind: wire.Heal}, nil)
}

func (l *Lab) fault(ctx context.Context, f wire.NetFault, networks []Network) error {
	for _, n := range networks {
		if n < 1 || int(n) > len(l.cfg.Bridges) {
			return fmt.Errorf("the lab has no network %d", n)
		}
		f.Bridges = append(f.Bridges, n.bridge())
	}
	if err := l.call(ctx, wire.Fault, f, nil); err != nil {
		return fmt.Errorf("set network fault %s: %w", f.Kind, err)
	}
	l.log.DebugContext(ctx, "network changed", "fault", f.Kind, "from", f.A, "to", f.B)
	return nil
}

func (l *Lab) call(ctx context.Context, verb wire.Verb, body, reply any, files ...*os.File) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	_, err := l.stage.Call(ctx, verb, body, reply, files...) // the stage sends no files
	return err
}

// tail keeps the last bytes written to it.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

const tailBytes = 4096

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	t.kept = t.kept[max(0, len(t.kept)-tailBytes):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.kept)
}
