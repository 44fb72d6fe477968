package hostinit

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/lab/cgroup"
	"github.com/keelson/keelson/internal/lab/wire"
)

const (
	procSys = "/proc/sys"
	// volatileBytes bounds each of /run, /tmp and /dev/shm.
	volatileBytes = 256 << 20
	// waiting is where the shares are until their targets exist.
	waiting = "/run/lab/waiting"
)

// build makes the host's view. It runs on one locked thread, in fresh mount,
// PID, UTS, IPC and network namespaces.
func build(cfg wire.InitConfig) error {
	steps := []struct {
		what string
		do   func(wire.InitConfig) error
	}{
		{"enter the host's cgroups", enterCgroups},
		{"make the machine's files read-only", readOnly},
		{"set the host's name", func(c wire.InitConfig) error { return unix.Sethostname([]byte(c.Host.Name)) }},
		{"mount /proc", mountProc},
		{"mount /sys", mountSys},
		{"mount /dev", mountDev},
		{"make /etc", mountEtc},
		{"mount the disk", mountDisk},
		{"mount /run and /tmp", mountVolatile},
		{"give the host a boot id", bootID},
		{"set the network's defaults", networkDefaults},
	}
	for _, s := range steps {
		if err := s.do(cfg); err != nil {
			return fmt.Errorf("%s: %w", s.what, err)
		}
	}
	return nil
}

func enterCgroups(cfg wire.InitConfig) error {
	if len(cfg.Cgroups) == 0 {
		return nil
	}
	if err := cgroup.Enter(cfg.Cgroups); err != nil {
		return err
	}
	return unix.Unshare(unix.CLONE_NEWCGROUP)
}

// readOnly makes every mount read-only except the host's own directory.
func readOnly(cfg wire.InitConfig) error {
	set := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &set); err != nil {
		if errors.Is(err, unix.ENOSYS) {
			return errors.New("the lab needs Linux 5.12 or newer")
		}
		return err
	}
	clr := unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}
	return unix.MountSetattr(unix.AT_FDCWD, cfg.Dir, 0, &clr)
}

func mountProc(wire.InitConfig) error {
	detach("/proc")
	return mountNew("proc", "/proc", "")
}

// detach takes away what is mounted at dir, so that nothing shows through in
// the host's list of mounts. In a user namespace the machine's own mounts are
// locked, and stay below the host's.
func detach(dir string) { _ = unix.Unmount(dir, unix.MNT_DETACH) }

// mountSys shows the host's own interfaces and cgroups. Where the kernel
// refuses a new sysfs (some containers), the machine's stays, read-only.
func mountSys(cfg wire.InitConfig) error {
	if len(cfg.Cgroups) > 0 {
		detach("/sys")
	}
	if err := mountNew("sysfs", "/sys", ""); err != nil {
		return nil //nolint:nilerr // the host works without
	}
	if len(cfg.Cgroups) == 0 {
		return nil
	}
	top := "/sys/fs/cgroup"
	if len(cfg.Cgroups) > 1 || !cfg.Cgroups[0].Unified || cfg.Cgroups[0].Mount != top {
		if err := mountNew("tmpfs", top, "mode=0755"); err != nil {
			return err
		}
	}
	for _, c := range cfg.Cgroups {
		if !strings.HasPrefix(c.Mount, top) {
			continue
		}
		if err := os.MkdirAll(c.Mount, 0o755); err != nil {
			return err
		}
		if err := mountCgroup(c); err != nil {
			return fmt.Errorf("mount %s: %w", c.Mount, err)
		}
	}
	return nil
}

func mountCgroup(c wire.Cgroup) error {
	if c.Unified {
		if err := mountNew("cgroup2", c.Mount, ""); err != nil {
			return err
		}
		return cgroup.Settle(c.Mount)
	}
	if err := unix.Mount("cgroup", c.Mount, "cgroup", 0, strings.Join(c.Controllers, ",")); err != nil {
		return err
	}
	for _, name := range c.Controllers {
		link := filepath.Join(filepath.Dir(c.Mount), name)
		if err := os.Symlink(filepath.Base(c.Mount), link); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

// mountDev makes a small /dev: the machine's watchdog, disks and consoles have
// no business in a host.
func mountDev(wire.InitConfig) error {
	nodes := []string{"null", "zero", "full", "random", "urandom", "tty"}
	from := map[string]int{}
	for _, n := range nodes {
		fd, err := unix.Open("/dev/"+n, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open /dev/%s: %w", n, err)
		}
		defer func() { _ = unix.Close(fd) }()
		from[n] = fd
	}
	if err := mountNew("tmpfs", "/dev", "mode=0755,size=1m"); err != nil {
		return err
	}
	for _, n := range nodes {
		if err := BindFD(from[n], "/dev/"+n); err != nil {
			return err
		}
	}
	for link, target := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1",
		"stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx",
	} {
		if err := os.Symlink(target, "/dev/"+link); err != nil {
			return err
		}
	}
	for _, m := range []struct{ kind, dir, options string }{
		{"devpts", "/dev/pts", "newinstance,ptmxmode=0666,mode=0620"},
		{"tmpfs", "/dev/shm", fmt.Sprintf("mode=1777,size=%d", volatileBytes)},
		{"mqueue", "/dev/mqueue", ""},
	} {
		if err := os.Mkdir(m.dir, 0o755); err != nil {
			return err
		}
		if err := mountNew(m.kind, m.dir, m.options); err != nil && m.kind == "tmpfs" {
			return err // the others are optional in a kernel
		}
	}
	return nil
}

// mountEtc lays the host's own files over the machine's /etc; they are kept
// over a reboot. Where the kernel refuses an overlay, only the host's name and
// the table of hosts are its own.
func mountEtc(cfg wire.InitConfig) error {
	upper, work := filepath.Join(cfg.Dir, "etc"), filepath.Join(cfg.Dir, "work")
	for _, d := range []string{upper, work} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	own := map[string]string{
		"hostname":   cfg.Host.Name + "\n",
		"hosts":      cfg.HostsFile,
		"machine-id": fmt.Sprintf("%x\n", sha256.Sum256([]byte(cfg.Host.Name)))[:32] + "\n",
	}
	for name, text := range own {
		path := filepath.Join(upper, name)
		if _, err := os.Lstat(path); err == nil {
			continue // from an earlier boot, perhaps changed since
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	options := fmt.Sprintf("lowerdir=/etc,upperdir=%s,workdir=%s", upper, work)
	if mountNew("overlay", "/etc", options) == nil {
		return nil
	}
	for name := range own {
		target := filepath.Join("/etc", name)
		if err := unix.Mount(filepath.Join(upper, name), target, "", unix.MS_BIND, ""); err != nil && name == "hosts" {
			return err
		}
	}
	return nil
}

// mountDisk mounts what a host keeps over a reboot: /var and /srv.
func mountDisk(cfg wire.InitConfig) error {
	for _, d := range []string{
		"var/lib", "var/log", "var/cache", "var/spool", "var/home", "srv",
	} {
		if err := os.MkdirAll(filepath.Join(cfg.Dir, d), 0o755); err != nil {
			return err
		}
	}
	tmp := filepath.Join(cfg.Dir, "var/tmp")
	if err := os.MkdirAll(tmp, 0o777); err != nil {
		return err
	}
	if err := os.Chmod(tmp, 0o777|os.ModeSticky); err != nil {
		return err
	}
	for link, target := range map[string]string{"var/run": "/run", "var/lock": "/run/lock"} {
		if err := os.Symlink(target, filepath.Join(cfg.Dir, link)); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	for _, d := range []string{"/var", "/srv"} {
		err := unix.Mount(filepath.Join(cfg.Dir, d), d, "", unix.MS_BIND, "")
		if err != nil && d == "/var" { // a machine may do without /srv
			return err
		}
	}
	return nil
}

// mountVolatile mounts what a host loses at a reboot, and the shares. The lab's
// tmpfs goes away from under /tmp, and with it the other hosts' directories;
// the shares wait in /run until all their targets are there.
func mountVolatile(cfg wire.InitConfig) error {
	size := fmt.Sprintf("size=%d,", volatileBytes)
	if err := mountNew("tmpfs", "/run", size+"mode=0755"); err != nil {
		return err
	}
	for _, d := range []string{"/run/lock", BinDir, waiting} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	var parked []string
	for i, s := range cfg.Shares {
		parked = append(parked, filepath.Join(waiting, strconv.Itoa(i)))
		if err := BindPath(s.Source, parked[i]); err != nil {
			return err
		}
	}
	detach("/tmp")
	if err := mountNew("tmpfs", "/tmp", size+"mode=1777"); err != nil {
		return err
	}
	for i, s := range cfg.Shares {
		if err := BindPath(parked[i], s.Target); err != nil {
			return err
		}
		detach(parked[i])
	}
	return os.RemoveAll(waiting)
}

// bootID gives the host a boot id of its own, as every reboot of a real one
// does.
func bootID(wire.InitConfig) error {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	id := fmt.Sprintf("%x-%x-%x-%x-%x\n", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
	const file = "/run/lab/boot_id"
	if err := os.WriteFile(file, []byte(id), 0o444); err != nil {
		return err
	}
	return unix.Mount(file, procSys+"/kernel/random/boot_id", "", unix.MS_BIND, "")
}

// networkDefaults lets IPv6 addresses be used at once: the lab gives each out
// only once, so looking for a duplicate would only cost a second or two.
func networkDefaults(wire.InitConfig) error {
	for name, value := range map[string]string{"accept_dad": "0", "accept_ra": "0"} {
		err := os.WriteFile(procSys+"/net/ipv6/conf/default/"+name, []byte(value), 0)
		if err != nil && !errors.Is(err, os.ErrNotExist) { // no IPv6 in this kernel
			return err
		}
	}
	return nil
}

func mountNew(kind, dir, options string) error {
	if err := unix.Mount(kind, dir, kind, 0, options); err != nil {
		return fmt.Errorf("mount %s on %s: %w", kind, dir, err)
	}
	return nil
}

// BindPath makes a file or directory visible at target too, which is made if
// it does not exist.
func BindPath(source, target string) error {
	st, err := os.Stat(source)
	if err != nil {
		return fmt.Errorf("look at what to bind to %s: %w", target, err)
	}
	if err := touch(target, st.IsDir()); err != nil {
		return fmt.Errorf("make %s: %w", target, err)
	}
	flags := uintptr(unix.MS_BIND)
	if st.IsDir() {
		flags |= unix.MS_REC
	}
	if err := unix.Mount(source, target, "", flags, ""); err != nil {
		return fmt.Errorf("bind to %s: %w", target, err)
	}
	return nil
}

// BindFD is BindPath for what an open file descriptor stands for.
func BindFD(fd int, target string) error {
	return BindPath(fmt.Sprintf("/proc/self/fd/%d", fd), target)
}

func touch(target string, dir bool) error {
	if _, err := os.Stat(target); err == nil {
		return nil
	}
	if dir {
		return os.MkdirAll(target, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(target, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}
