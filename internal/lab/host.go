package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/keelson/keelson/internal/lab/wire"
)

// Host is one host of a lab. It is safe for concurrent use; all verbs are
// idempotent, bounded by their context and, beside it, by 20 s. They return
// [ErrNoHost] if the lab has no such host, [ErrOff] if it would have to be on,
// and [ErrClosed] if the lab has ended.
type Host struct {
	lab    *Lab
	cfg    wire.Host
	number int // from 1; 0 if there is no such host

	powering sync.Mutex // held while the host is booted, stopped or frozen

	mu        sync.Mutex
	init      *wire.Peer // nil: off
	gone      chan struct{}
	processes map[uint64]*Process
	serial    uint64
}

func newHost(l *Lab, cfg wire.Host, number int) *Host {
	return &Host{lab: l, cfg: cfg, number: number, processes: map[uint64]*Process{}}
}

// Name returns the host's name.
func (h *Host) Name() string { return h.cfg.Name }

// Address returns the host's IPv4 address on a network, without prefix length,
// or "" if the lab has no such network.
func (h *Host) Address(n Network) string { return h.address(n, 0) }

// Address6 returns the host's IPv6 address on a network.
func (h *Host) Address6(n Network) string { return h.address(n, 1) }

func (h *Host) address(n Network, family int) string {
	if n < 1 || int(n) > len(h.cfg.Links) {
		return ""
	}
	ip, _, _ := strings.Cut(h.cfg.Links[n-1].Addresses[family], "/")
	return ip
}

// MAC returns the host's hardware address on a network, which never changes,
// or "" if the lab has no such network.
func (h *Host) MAC(n Network) string {
	if n < 1 || int(n) > len(h.cfg.Links) {
		return ""
	}
	return h.cfg.Links[n-1].MAC
}

// Boot switches the host on and returns when it stands: an empty /run and
// /tmp, the old /etc, /var and /srv, a new boot id, its links up unless cut.
func (h *Host) Boot(ctx context.Context) error {
	h.powering.Lock()
	defer h.powering.Unlock()
	return h.boot(ctx)
}

func (h *Host) boot(ctx context.Context) error {
	if h.number == 0 {
		return h.unknown()
	}
	if p, _ := h.peer(); p != nil {
		return nil
	}
	ours, theirs, err := wire.Pair()
	if err != nil {
		return err
	}
	peer, err := wire.NewPeer(ours)
	if err != nil {
		_ = theirs.Close()
		return err
	}
	err = h.lab.call(ctx, wire.Boot, wire.HostName{Host: h.cfg.Name}, nil, theirs)
	_ = theirs.Close()
	if err != nil {
		return errors.Join(fmt.Errorf("switch on %s: %w", h.cfg.Name, err), peer.Close())
	}
	gone := make(chan struct{})
	h.mu.Lock()
	h.init, h.gone = peer, gone
	h.mu.Unlock()
	h.lab.served.Go(func() {
		// It ends with the host, and that is all there is to know.
		_ = peer.Run(h.lab.life, h.hear)
		h.lost(peer)
		close(gone)
	})
	h.lab.log.DebugContext(ctx, "host booted", "host", h.cfg.Name)
	return nil
}

// Kill cuts the power: the links go dark, then every process dies at once. It
// returns when nothing of the host runs.
func (h *Host) Kill(ctx context.Context) error {
	h.powering.Lock()
	defer h.powering.Unlock()
	return h.kill(ctx)
}

func (h *Host) kill(ctx context.Context) error {
	_, gone := h.peer()
	if err := h.lab.call(ctx, wire.Off, wire.HostName{Host: h.cfg.Name}, nil); err != nil {
		return fmt.Errorf("switch off %s: %w", h.cfg.Name, err)
	}
	h.lab.log.DebugContext(ctx, "host killed", "host", h.cfg.Name)
	if gone == nil {
		return nil
	}
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the end of %s: %w", h.cfg.Name, ctx.Err())
	}
}

// Reboot is Kill and Boot.
func (h *Host) Reboot(ctx context.Context) error {
	h.powering.Lock()
	defer h.powering.Unlock()
	if err := h.kill(ctx); err != nil {
		return err
	}
	return h.boot(ctx)
}

// Freeze stops every process of the host. Its kernel goes on: it answers ARP
// and ping and accepts connections. With cgroups the processes cannot tell
// that they were stopped; for an ordinary user they get SIGSTOP.
func (h *Host) Freeze(ctx context.Context) error { return h.freeze(ctx, true) }

// Thaw lets a frozen host go on.
func (h *Host) Thaw(ctx context.Context) error { return h.freeze(ctx, false) }

func (h *Host) freeze(ctx context.Context, frozen bool) error {
	h.powering.Lock()
	defer h.powering.Unlock()
	f := wire.Freezing{Host: h.cfg.Name, Frozen: frozen}
	err := h.lab.call(ctx, wire.Freeze, f, nil)
	if errors.Is(err, ErrNoCgroup) {
		err = h.signalAll(ctx, f)
	}
	if err != nil {
		return err
	}
	h.lab.log.DebugContext(ctx, "host frozen or thawed", "host", h.cfg.Name, "frozen", frozen)
	return nil
}

// signalAll freezes by signals: init stops the others and is then stopped
// itself, and the other way round to thaw.
func (h *Host) signalAll(ctx context.Context, f wire.Freezing) error {
	f.InitOnly = true
	others := func() error {
		_, err := h.ask(ctx, wire.Halt, f.Frozen, nil)
		return err
	}
	self := func() error { return h.lab.call(ctx, wire.Freeze, f, nil) }
	first, second := others, self
	if !f.Frozen {
		first, second = self, others
	}
	if f.Frozen && h.stopped(ctx) {
		return nil
	}
	if err := first(); err != nil {
		return err
	}
	return second()
}

func (h *Host) stopped(ctx context.Context) bool {
	states, err := h.lab.State(ctx)
	if err != nil {
		return false
	}
	for _, s := range states {
		if s.Name == h.cfg.Name {
			return s.Frozen
		}
	}
	return false
}

// Cut takes the host's links down at the switch: it loses the carrier. No
// networks means all. A reboot does not mend it.
func (h *Host) Cut(ctx context.Context, networks ...Network) error {
	return h.lab.fault(ctx, wire.NetFault{Kind: wire.Cut, A: []string{h.cfg.Name}}, networks)
}

// Isolate drops every frame from and to the host; it keeps the carrier, so
// nothing tells it.
func (h *Host) Isolate(ctx context.Context, networks ...Network) error {
	return h.lab.fault(ctx, wire.NetFault{Kind: wire.Isolate, A: []string{h.cfg.Name}}, networks)
}

// Loss drops percent of the frames, each way, by chance; 0 drops none. The
// range is 0 to 100, in steps of a tenth.
func (h *Host) Loss(ctx context.Context, percent float64, networks ...Network) error {
	if !(percent >= 0 && percent <= 100) {
		return fmt.Errorf("a loss of %v percent cannot be", percent)
	}
	return h.lab.fault(ctx, wire.NetFault{Kind: wire.Loss, A: []string{h.cfg.Name}, Percent: percent}, networks)
}

// Heal undoes all network faults of the host, also those with a partner.
func (h *Host) Heal(ctx context.Context, networks ...Network) error {
	return h.lab.fault(ctx, wire.NetFault{Kind: wire.Heal, A: []string{h.cfg.Name}}, networks)
}

// CPUQuota lets the host use percent of one core, at least 1; 0 lifts the
// limit. It returns [ErrNoCgroup] where there are no limits.
func (h *Host) CPUQuota(ctx context.Context, percent float64) error {
	if !(percent == 0 || percent >= 1 && percent <= 100_000) {
		return fmt.Errorf("a CPU quota of %v percent cannot be: it is 1 or more, or 0 for none", percent)
	}
	return h.limit(ctx, wire.Limits{Host: h.cfg.Name, CPUPercent: &percent})
}

// MemLimit lets the host use this many bytes, at least 1 MiB; 0 lifts the
// limit. Beyond it the kernel kills the largest process of the host. It
// returns [ErrNoCgroup] where there are no limits.
func (h *Host) MemLimit(ctx context.Context, bytes int64) error {
	if bytes != 0 && bytes < 1<<20 {
		return fmt.Errorf("a memory limit of %d bytes cannot be: it is 1 MiB or more, or 0 for none", bytes)
	}
	return h.limit(ctx, wire.Limits{Host: h.cfg.Name, MemoryBytes: &bytes})
}

func (h *Host) limit(ctx context.Context, l wire.Limits) error {
	return h.lab.call(ctx, wire.Limit, l, nil)
}

// SmallDisk mounts an empty disk of its own at path, until the host is off.
func (h *Host) SmallDisk(ctx context.Context, path string, bytes int64) error {
	if bytes < 1<<12 {
		return fmt.Errorf("a disk of %d bytes cannot be", bytes)
	}
	return h.disk(ctx, wire.DiskChange{Path: path, Mount: true, Bytes: bytes})
}

// DiskFull takes all free space from the disk mounted at path: /var (which
// /srv shares), /run, /tmp, or one made by SmallDisk.
func (h *Host) DiskFull(ctx context.Context, path string) error {
	return h.disk(ctx, wire.DiskChange{Path: path, Full: true})
}

// DiskFree gives the space back that DiskFull took.
func (h *Host) DiskFree(ctx context.Context, path string) error {
	return h.disk(ctx, wire.DiskChange{Path: path})
}

func (h *Host) disk(ctx context.Context, d wire.DiskChange) error {
	if _, err := h.ask(ctx, wire.Disk, d, nil); err != nil {
		return fmt.Errorf("change the disk at %s: %w", d.Path, err)
	}
	return nil
}

// Open opens a file of the host as os.OpenFile does. With os.O_CREATE the
// directories above it are made. The file belongs to the caller and outlives
// the host.
func (h *Host) Open(ctx context.Context, path string, flags int, mode os.FileMode) (*os.File, error) {
	o := wire.OpenFile{Path: path, Flags: flags, Mode: uint32(mode.Perm()), Parents: flags&os.O_CREATE != 0}
	files, err := h.ask(ctx, wire.Open, o, nil)
	if err != nil {
		return nil, fmt.Errorf("open on %s: %w", h.cfg.Name, err)
	}
	if len(files) != 1 {
		return nil, fmt.Errorf("open %s on %s: %d files came back", path, h.cfg.Name, len(files))
	}
	return files[0], nil
}

// ReadFile returns the content of a file of the host.
func (h *Host) ReadFile(ctx context.Context, path string) ([]byte, error) {
	f, err := h.Open(ctx, path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("read %s on %s: %w", path, h.cfg.Name, err)
	}
	return data, nil
}

// WriteFile replaces a file of the host, and makes the directories above it.
func (h *Host) WriteFile(ctx context.Context, path string, data []byte, mode os.FileMode) error {
	f, err := h.Open(ctx, path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s on %s: %w", path, h.cfg.Name, err)
	}
	return nil
}

// ask sends a request to the host's init.
func (h *Host) ask(ctx context.Context, verb wire.Verb, body, reply any, files ...*os.File) ([]*os.File, error) {
	if h.number == 0 {
		return nil, h.unknown()
	}
	peer, _ := h.peer()
	if peer == nil {
		return nil, fmt.Errorf("%s: %w", h.cfg.Name, ErrOff)
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	back, err := peer.Call(ctx, verb, body, reply, files...)
	if errors.Is(err, wire.ErrClosed) {
		return nil, fmt.Errorf("%s: %w", h.cfg.Name, ErrOff)
	}
	return back, err
}

func (h *Host) unknown() error { return fmt.Errorf("%q: %w", h.cfg.Name, ErrNoHost) }

func (h *Host) peer() (*wire.Peer, chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.init, h.gone
}

// lost marks all that ran on the host as ended with it.
func (h *Host) lost(peer *wire.Peer) {
	_ = peer.Close() // it is at its end already
	h.mu.Lock()
	defer h.mu.Unlock()
	h.init = nil
	for id, p := range h.processes {
		delete(h.processes, id)
		p.end(Exit{Code: -1, HostGone: true})
	}
}

func (h *Host) hangUp() {
	if peer, _ := h.peer(); peer != nil {
		_ = peer.Close() // the lab ends, and with it the other side
	}
}

// drainLimit is how long the output of an ended process is still read: others
// that it started may hold it open.
const drainLimit = 2 * time.Second
