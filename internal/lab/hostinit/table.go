package hostinit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/lab/wire"
)

// RoleVariable is the environment variable that starts the lab's own binary in
// an inner role.
const RoleVariable = "LAB_OF_KEELSON_ROLE"

// InnerEnvironment returns the environment of an inner process of the lab. A
// binary that checks for races would sleep for a second when it ends.
func InnerEnvironment(role string) []string {
	return []string{RoleVariable + "=" + role, "GORACE=atexit_sleep_ms=0"}
}

// table knows the processes that the lab started, and starts more. Orphans of
// others are reaped without being known.
type table struct {
	cfg      wire.InitConfig
	lab      *wire.Peer
	onThread func(func())

	// starting is held while a process is made and entered, so that its end
	// cannot be reaped before it is known.
	starting sync.Mutex
	byPID    map[int]uint64
	byID     map[uint64]int

	resizing sync.Mutex
	disks    map[string]int64 // sizes in bytes of the disks mounted later
}

func newTable(cfg wire.InitConfig, lab *wire.Peer, onThread func(func())) *table {
	return &table{
		cfg: cfg, lab: lab, onThread: onThread,
		byPID: map[int]uint64{}, byID: map[uint64]int{}, disks: map[string]int64{},
	}
}

func (t *table) handle(_ context.Context, r wire.Request) (wire.Reply, error) {
	defer closeAll(r.Files)
	switch r.Verb {
	case wire.Start:
		var p wire.Process
		if err := r.Decode(&p); err != nil {
			return wire.Reply{}, err
		}
		pid, err := t.start(p, r.Files)
		return wire.Reply{Body: wire.Started{PID: pid}}, err
	case wire.Signal:
		var s wire.SignalTo
		if err := r.Decode(&s); err != nil {
			return wire.Reply{}, err
		}
		return wire.Reply{}, t.signal(s)
	case wire.Open:
		var o wire.OpenFile
		if err := r.Decode(&o); err != nil {
			return wire.Reply{}, err
		}
		f, err := open(o)
		if err != nil {
			return wire.Reply{}, err
		}
		return wire.Reply{Files: []*os.File{f}}, nil
	case wire.Halt:
		var stop bool
		if err := r.Decode(&stop); err != nil {
			return wire.Reply{}, err
		}
		return wire.Reply{}, halt(stop)
	case wire.Disk:
		var d wire.DiskChange
		if err := r.Decode(&d); err != nil {
			return wire.Reply{}, err
		}
		return wire.Reply{}, t.changeDisk(d)
	default:
		return wire.Reply{}, fmt.Errorf("a host's init does not know %q", r.Verb)
	}
}

func (t *table) start(p wire.Process, stdio []*os.File) (int, error) {
	if len(stdio) != 3 {
		return 0, fmt.Errorf("a process needs 3 open files, not %d", len(stdio))
	}
	env := t.environment(p)
	path, args := "/proc/self/exe", append([]string{"keelson-lab-" + p.Role}, p.Args...)
	if p.Role == "" {
		if len(p.Args) == 0 {
			return 0, errors.New("no program given")
		}
		var err error
		if path, err = find(p.Args[0], env, p.Dir); err != nil {
			return 0, err
		}
		args = p.Args
	}
	attr := &syscall.ProcAttr{
		Dir: p.Dir, Env: env, Sys: &syscall.SysProcAttr{Setsid: true},
		Files: []uintptr{stdio[0].Fd(), stdio[1].Fd(), stdio[2].Fd()},
	}
	t.starting.Lock()
	defer t.starting.Unlock()
	var pid int
	var err error
	t.onThread(func() { pid, err = syscall.ForkExec(path, args, attr) })
	if err != nil {
		return 0, fmt.Errorf("start %s: %w", args[0], err)
	}
	t.byPID[pid], t.byID[p.ID] = p.ID, pid
	return pid, nil
}

func (t *table) environment(p wire.Process) []string {
	env := []string{
		"PATH=" + BinDir + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/var/home", "LANG=C.UTF-8", "HOSTNAME=" + t.cfg.Host.Name,
	}
	if p.Role != "" {
		env = append(env, InnerEnvironment(p.Role)...)
	}
	return append(env, p.Env...)
}

// find looks a program up as a shell in the host would.
func find(name string, env []string, dir string) (string, error) {
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join("/", dir, name)
		}
		return name, nil
	}
	var path string
	for _, e := range env { // the last one counts
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			path = v
		}
	}
	for d := range strings.SplitSeq(path, ":") {
		full := filepath.Join(d, name)
		if st, err := os.Stat(full); err == nil && !st.IsDir() && st.Mode()&0o111 != 0 {
			return full, nil
		}
	}
	return "", fmt.Errorf("look for %s in the host's PATH: %w", name, syscall.ENOENT)
}

func (t *table) signal(s wire.SignalTo) error {
	t.starting.Lock()
	defer t.starting.Unlock()
	pid, ok := t.byID[s.ID]
	if !ok {
		return nil // it ended before the signal came
	}
	if s.Group {
		pid = -pid
	}
	if err := syscall.Kill(pid, s.Signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("send %s: %w", unix.SignalName(s.Signal), err)
	}
	return nil
}

// reap waits for every child of init, known or orphaned. Signals by which a
// program of the host might mean to end init are taken and dropped: a host is
// switched off from outside.
func (t *table) reap() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP,
		syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	for {
		for t.reapOne() {
		}
		<-ended
	}
}

func (t *table) reapOne() bool {
	t.starting.Lock()
	defer t.starting.Unlock()
	var status syscall.WaitStatus
	pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
	if errors.Is(err, syscall.EINTR) {
		return true
	}
	if err != nil || pid <= 0 {
		return false
	}
	id, ok := t.byPID[pid]
	if !ok {
		return true
	}
	delete(t.byPID, pid)
	delete(t.byID, id)
	exit := wire.Exit{ID: id, Code: status.ExitStatus()}
	if status.Signaled() {
		exit.Signal = status.Signal()
	}
	// Should the lab be gone, nobody is left to be told.
	_ = t.lab.Note(wire.Exited, exit)
	return true
}

func open(o wire.OpenFile) (*os.File, error) {
	if o.Parents {
		if err := os.MkdirAll(filepath.Dir(o.Path), 0o755); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(o.Path, o.Flags, os.FileMode(o.Mode))
}

// halt stops or continues every process of the host but init, in one system
// call that no fork can slip through. Source: kill(2), pid -1.
func halt(stop bool) error {
	sig := syscall.SIGCONT
	if stop {
		sig = syscall.SIGSTOP
	}
	if err := syscall.Kill(-1, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal all processes: %w", err)
	}
	return nil
}

// changeDisk mounts a small tmpfs, or sets the limit of a mounted one to what
// it holds right now: the next write finds no space, and no memory is spent to
// fill it.
func (t *table) changeDisk(d wire.DiskChange) error {
	t.resizing.Lock()
	defer t.resizing.Unlock()
	path := filepath.Clean(d.Path)
	if d.Mount {
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		t.disks[path] = d.Bytes
		return mountNew("tmpfs", path, fmt.Sprintf("mode=0755,size=%d", d.Bytes))
	}
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return fmt.Errorf("look at the file system of %s: %w", path, err)
	}
	if st.Type != unix.TMPFS_MAGIC {
		return fmt.Errorf("%s is not on a disk of the lab", path)
	}
	size := t.firstSize(path)
	if d.Full {
		size = max(1, int64(st.Blocks-st.Bfree)) * st.Bsize
	}
	if err := unix.Mount("", path, "", unix.MS_REMOUNT, fmt.Sprintf("size=%d", size)); err != nil {
		return fmt.Errorf("resize %s (it must be a mount point): %w", path, err)
	}
	return nil
}

// firstSize returns how large the disk at path was made.
func (t *table) firstSize(path string) int64 {
	if size, ok := t.disks[path]; ok {
		return size
	}
	if slices.Contains([]string{"/run", "/tmp", "/dev/shm"}, path) {
		return volatileBytes
	}
	return t.cfg.DiskBytes
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
