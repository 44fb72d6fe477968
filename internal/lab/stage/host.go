package stage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"

	"github.com/keelson/keelson/internal/lab/cgroup"
	"github.com/keelson/keelson/internal/lab/hostinit"
	"github.com/keelson/keelson/internal/lab/wire"
)

// host is one host, on or off.
type host struct {
	cfg wire.InitConfig
	net *network

	changing sync.Mutex // held while the host is booted, stopped or frozen

	mu     sync.Mutex
	init   *os.Process   // nil: off
	ended  chan struct{} // closed when init is reaped
	frozen bool
}

func (h *host) describe() wire.HostState {
	h.mu.Lock()
	defer h.mu.Unlock()
	return wire.HostState{Name: h.cfg.Host.Name, On: h.init != nil, Frozen: h.frozen}
}

func (h *host) running() (*os.Process, chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.init, h.ended
}

// boot starts the host's init, waits until the host stands, and plugs it in.
// Booting a host that runs changes nothing.
func (h *host) boot(ctx context.Context, control *os.File) error {
	h.changing.Lock()
	defer h.changing.Unlock()
	if init, _ := h.running(); init != nil {
		return nil
	}
	init, ended, err := h.startInit(ctx, control)
	if err == nil {
		err = h.net.plug(h.cfg.Host, init.Pid)
	}
	if err != nil {
		if init != nil {
			err = errors.Join(err, stop(ctx, init, ended))
		}
		return fmt.Errorf("boot %s: %w", h.cfg.Host.Name, err)
	}
	return nil
}

func (h *host) startInit(ctx context.Context, control *os.File) (*os.Process, chan struct{}, error) {
	cfg, err := json.Marshal(h.cfg)
	if err != nil {
		return nil, nil, fmt.Errorf("write the host's configuration: %w", err)
	}
	readyOut, readyIn, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("make a pipe: %w", err)
	}
	defer func() { _ = readyOut.Close() }()
	cmd := exec.Cmd{
		Path: "/proc/self/exe",
		Args: []string{"keelson-lab-init " + h.cfg.Host.Name},
		Env:  hostinit.InnerEnvironment("init"),
		Dir:  "/", Stdin: strings.NewReader(string(cfg)), Stdout: readyIn, Stderr: os.Stderr,
		ExtraFiles: []*os.File{control},
		SysProcAttr: &syscall.SysProcAttr{
			Setsid: true,
			Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS |
				syscall.CLONE_NEWIPC | syscall.CLONE_NEWNET,
		},
	}
	err = cmd.Start()
	_ = readyIn.Close()
	if err != nil {
		return nil, nil, fmt.Errorf("start its init: %w", err)
	}
	ended := make(chan struct{})
	h.mu.Lock()
	h.init, h.ended, h.frozen = cmd.Process, ended, false
	h.mu.Unlock()
	go h.wait(&cmd, ended)

	text, err := read(ctx, readyOut, 4096)
	if err == nil && text != hostinit.ReadyLine {
		err = fmt.Errorf("its init gave up: %q", text)
	}
	return cmd.Process, ended, err
}

// wait reaps init and unplugs the host, whatever ended it.
func (h *host) wait(cmd *exec.Cmd, ended chan struct{}) {
	_ = cmd.Wait() // how it ended is of no interest
	h.net.unplug(h.cfg.Host)
	h.mu.Lock()
	h.init, h.frozen = nil, false
	h.mu.Unlock()
	close(ended)
}

// off cuts the power: first the links, so that no dying socket says goodbye,
// then every process. Switching off a host that is off changes nothing.
func (h *host) off(ctx context.Context) error {
	h.changing.Lock()
	defer h.changing.Unlock()
	init, ended := h.running()
	if init == nil {
		return nil
	}
	h.net.darken(h.cfg.Host)
	if h.describe().Frozen {
		// A frozen v1 cgroup does not die before it is thawed; pending
		// signals see to it that it does nothing else.
		for _, pid := range cgroup.Processes(h.cfg.Cgroups) {
			_ = syscall.Kill(pid, syscall.SIGKILL) // gone already is fine
		}
		if err := cgroup.Freeze(ctx, h.cfg.Cgroups, false); err != nil && !errors.Is(err, wire.ErrNoCgroup) {
			return fmt.Errorf("thaw %s for its end: %w", h.cfg.Host.Name, err)
		}
	}
	if err := stop(ctx, init, ended); err != nil {
		return fmt.Errorf("switch off %s: %w", h.cfg.Host.Name, err)
	}
	return nil
}

// freeze stops or continues all processes of the host. Its kernel goes on: it
// answers ARP and ping, and accepts connections.
func (h *host) freeze(ctx context.Context, f wire.Freezing) error {
	h.changing.Lock()
	defer h.changing.Unlock()
	init, _ := h.running()
	if init == nil {
		return fmt.Errorf("freeze %s: %w", h.cfg.Host.Name, wire.ErrOff)
	}
	var err error
	switch {
	case !f.InitOnly:
		err = cgroup.Freeze(ctx, h.cfg.Cgroups, f.Frozen)
	case f.Frozen:
		err = init.Signal(syscall.SIGSTOP)
	default:
		err = init.Signal(syscall.SIGCONT)
	}
	if err != nil {
		return fmt.Errorf("freeze %s: %w", h.cfg.Host.Name, err)
	}
	h.mu.Lock()
	h.frozen = f.Frozen
	h.mu.Unlock()
	return nil
}

func (h *host) limit(l wire.Limits) error {
	if l.CPUPercent != nil {
		if err := cgroup.LimitCPU(h.cfg.Cgroups, *l.CPUPercent); err != nil {
			return fmt.Errorf("limit the CPU of %s: %w", l.Host, err)
		}
	}
	if l.MemoryBytes != nil {
		if err := cgroup.LimitMemory(h.cfg.Cgroups, *l.MemoryBytes); err != nil {
			return fmt.Errorf("limit the memory of %s: %w", l.Host, err)
		}
	}
	return nil
}
