// Package stage is the outer process of a lab: PID 1 of a PID namespace that
// holds all hosts, in a mount namespace with the lab's tmpfs, in the network
// namespace of the switches.
//
// Its one rule: the lab lives and dies with it. Whatever ends the stage ends
// every process of the lab, and with them the namespaces, the links and the
// files; and the stage ends when the connection to its caller does, so a
// caller that crashes leaves nothing behind. It decides nothing: it does what
// the caller asks.
package stage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/lab/cgroup"
	"github.com/keelson/keelson/internal/lab/hostinit"
	"github.com/keelson/keelson/internal/lab/wire"
)

const (
	// root is where the lab's tmpfs is mounted: a directory that every machine
	// has. Only the stage and the hosts see it there.
	root = "/tmp"
	// closeLimit bounds the clean-up after the caller has gone.
	closeLimit = 10 * time.Second
)

// stage is the lab as its outer process knows it.
type stage struct {
	cfg    wire.Lab
	shares []wire.Share // with sources on the lab's tmpfs
	net    *network

	mu    sync.RWMutex // held for writing while the lab is built
	built bool
	hosts map[string]*host
}

// Run is the whole life of the stage: it serves the caller on control until
// the caller is gone or a signal asks it to end, powers off all hosts and
// removes their cgroups. Only PID 1 of new namespaces may call it.
func Run(ctx context.Context, control *os.File) error {
	peer, err := wire.NewPeer(control)
	if err != nil {
		return err
	}
	s := &stage{hosts: map[string]*host{}}
	asked, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(asked, func() { _ = peer.Close() }) // which ends its Run
	err = peer.Run(ctx, s.handle)

	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeLimit)
	defer cancel()
	var off sync.WaitGroup
	for _, h := range s.hosts {
		off.Go(func() { _ = h.off(ctx) }) // the end of the stage does it otherwise
	}
	off.Wait()
	return errors.Join(err, cgroup.Remove(ctx, s.cfg.Cgroups))
}

func (s *stage) handle(ctx context.Context, r wire.Request) (wire.Reply, error) {
	defer func() {
		for _, f := range r.Files {
			_ = f.Close()
		}
	}()
	switch r.Verb {
	case wire.Setup:
		return s.setup(r)
	case wire.Boot, wire.Off:
		var n wire.HostName
		if err := r.Decode(&n); err != nil {
			return wire.Reply{}, err
		}
		h, err := s.host(n.Host)
		if err != nil {
			return wire.Reply{}, err
		}
		if r.Verb == wire.Off {
			return wire.Reply{}, h.off(ctx)
		}
		if len(r.Files) != 1 {
			return wire.Reply{}, errors.New("a boot needs one end of a connection")
		}
		return wire.Reply{}, h.boot(ctx, r.Files[0])
	case wire.Freeze:
		var f wire.Freezing
		if err := r.Decode(&f); err != nil {
			return wire.Reply{}, err
		}
		h, err := s.host(f.Host)
		if err != nil {
			return wire.Reply{}, err
		}
		return wire.Reply{}, h.freeze(ctx, f)
	case wire.Limit:
		var l wire.Limits
		if err := r.Decode(&l); err != nil {
			return wire.Reply{}, err
		}
		h, err := s.host(l.Host)
		if err != nil {
			return wire.Reply{}, err
		}
		return wire.Reply{}, h.limit(l)
	case wire.Fault:
		var f wire.NetFault
		if err := r.Decode(&f); err != nil {
			return wire.Reply{}, err
		}
		s.mu.RLock()
		defer s.mu.RUnlock()
		if s.net == nil {
			return wire.Reply{}, errors.New("the lab does not stand yet")
		}
		return wire.Reply{}, s.net.change(f)
	case wire.State:
		return wire.Reply{Body: s.state()}, nil
	default:
		return wire.Reply{}, fmt.Errorf("the stage does not know %q", r.Verb)
	}
}

func (s *stage) host(name string) (*host, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	h, ok := s.hosts[name]
	if !ok {
		return nil, fmt.Errorf("%q: %w", name, wire.ErrNoHost)
	}
	return h, nil
}

func (s *stage) state() []wire.HostState {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []wire.HostState
	for _, h := range s.cfg.Hosts {
		out = append(out, s.net.describe(h, s.hosts[h.Name].describe()))
	}
	return out
}

// setup builds the lab around the stage, once.
func (s *stage) setup(r wire.Request) (wire.Reply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.built {
		return wire.Reply{}, errors.New("the lab stands already")
	}
	s.built = true
	if err := r.Decode(&s.cfg); err != nil {
		return wire.Reply{}, err
	}
	sources, err := openShares(s.cfg.Shares)
	if err != nil {
		return wire.Reply{}, err
	}
	defer func() {
		for _, fd := range sources {
			_ = unix.Close(fd)
		}
	}()
	err = s.build(sources)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return wire.Reply{}, wire.Mark(err, wire.ErrForbidden)
	}
	return wire.Reply{}, err
}

// build makes the lab's mounts, switches and disks. What the kernel forbids
// here, it forbids to this user at all.
func (s *stage) build(sources []int) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := s.mountShares(sources); err != nil {
		return err
	}
	var err error
	if s.net, err = newNetwork(s.cfg); err != nil {
		return err
	}
	hostsFile := hostsFile(s.cfg.Hosts)
	for _, h := range s.cfg.Hosts {
		dir := filepath.Join(root, "hosts", h.Name)
		if err := mountDisk(dir, s.cfg.DiskBytes); err != nil {
			return err
		}
		cgroups, err := cgroup.AddHost(s.cfg.Cgroups, h.Name, len(s.cfg.Hosts))
		if err != nil {
			return err
		}
		s.hosts[h.Name] = &host{
			net: s.net,
			cfg: wire.InitConfig{
				Host: h, Dir: dir, Shares: s.shares, HostsFile: hostsFile,
				Cgroups: cgroups, DiskBytes: s.cfg.DiskBytes,
			},
		}
	}
	return nil
}

func mountDisk(dir string, bytes int64) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make a disk: %w", err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("mode=0755,size=%d", bytes)); err != nil {
		return fmt.Errorf("mount a disk: %w", err)
	}
	return nil
}

// openShares opens what the hosts share, before the lab's tmpfs may hide it.
func openShares(shares []wire.Share) ([]int, error) {
	var out []int
	for _, s := range shares {
		fd, err := unix.Open(s.Source, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			for _, fd := range out {
				_ = unix.Close(fd)
			}
			return nil, fmt.Errorf("share %s with the hosts: %w", s.Source, err)
		}
		out = append(out, fd)
	}
	return out, nil
}

// mountShares mounts the lab's tmpfs and binds what the hosts share below it.
func (s *stage) mountShares(sources []int) error {
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mount the lab's tmpfs: %w", err)
	}
	if err := os.Mkdir(filepath.Join(root, "shares"), 0o755); err != nil {
		return fmt.Errorf("make the shares: %w", err)
	}
	for i, sh := range s.cfg.Shares {
		path := filepath.Join(root, "shares", strconv.Itoa(i))
		if err := hostinit.BindFD(sources[i], path); err != nil {
			return fmt.Errorf("share %s with the hosts: %w", sh.Source, err)
		}
		s.shares = append(s.shares, wire.Share{Source: path, Target: sh.Target})
	}
	self := filepath.Join(root, "shares", "self")
	if err := copySelf(self); err != nil {
		return fmt.Errorf("share the lab's own binary with the hosts: %w", err)
	}
	s.shares = append(s.shares, wire.Share{Source: self, Target: hostinit.Self})
	return nil
}

// copySelf copies the running binary. It cannot be bound: it was opened in the
// caller's mount namespace, and its path may be out of this user's reach.
func copySelf(path string) error {
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

// stop ends a process by SIGKILL and waits until it is reaped.
func stop(ctx context.Context, p *os.Process, ended <-chan struct{}) error {
	if err := p.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill process %d: %w", p.Pid, err)
	}
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the end of process %d: %w", p.Pid, ctx.Err())
	}
}

// read reads at most limit bytes, or until ctx ends.
func read(ctx context.Context, f *os.File, limit int64) (string, error) {
	undo := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) }) // a pipe takes deadlines
	defer undo()
	text, err := io.ReadAll(io.LimitReader(f, limit))
	if ctx.Err() != nil {
		return string(text), ctx.Err()
	}
	return string(text), err
}
