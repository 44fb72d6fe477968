package lab_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/keelson/keelson/internal/lab"
)

const nobody = 65534

func toolContext() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), syscall.SIGTERM)
}

// elsewhere runs the same test again in a process with other rights or
// namespaces, and returns true in the process that started it.
func elsewhere(t *testing.T, attr *syscall.SysProcAttr) bool {
	t.Helper()
	const again = "LAB_TEST_ELSEWHERE"
	if os.Getenv(again) != "" {
		return false
	}
	if os.Getuid() != 0 {
		t.Skip("only root can become another user or change the mounts")
	}
	cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), again+"=1", "TMPDIR=/tmp")
	cmd.Dir = "/"
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS")) && !bytes.Contains(out, []byte("--- SKIP")) {
		t.Fatalf("elsewhere: %v\n%s", err, out)
	}
	t.Logf("elsewhere:\n%s", out)
	return true
}

func ordinary() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
}

func TestAnOrdinaryUserHasALab(t *testing.T) {
	if elsewhere(t, ordinary()) {
		return
	}
	l := raise(t, lab.Options{Hosts: []string{"h1", "h2", "h3", "client"}})
	if l.Limits() {
		t.Error("an ordinary user has cgroups")
	}
	t.Run("limits are refused", func(t *testing.T) {
		if err := l.Host("h1").MemLimit(within(t), 1<<30); !errors.Is(err, lab.ErrNoCgroup) {
			t.Errorf("a memory limit: %v", err)
		}
	})
	t.Run("a host has its own files", func(t *testing.T) {
		h := l.Host("h1")
		must(t, h.WriteFile(within(t), "/etc/new/file", []byte("x"), 0o644))
		must(t, h.WriteFile(within(t), "/var/lib/new/file", []byte("x"), 0o644))
		must(t, h.DiskFull(within(t), "/var"))
		if err := h.WriteFile(within(t), "/var/more", make([]byte, 64<<10), 0o644); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("writing to a full disk: %v", err)
		}
		must(t, h.DiskFree(within(t), "/var"))
		if got := sh(t, h, "cat /proc/sys/kernel/hostname; id -u; touch /usr/x 2>/dev/null || echo read-only"); got != "h1\n0\nread-only" {
			t.Errorf("the host says %q", got)
		}
		if a, b := sh(t, h, "cat /proc/sys/kernel/random/boot_id"), sh(t, l.Host("h2"), "cat /proc/sys/kernel/random/boot_id"); a == b {
			t.Errorf("two hosts have the boot id %s", a)
		}
	})
	t.Run("a host freezes and dies", func(t *testing.T) { freezing(t, l) })
	t.Run("the network breaks", func(t *testing.T) { networkFaults(t, l) })
	t.Run("the clients see a failover", func(t *testing.T) { failover(t, l) })
}

// unmount takes a cgroup hierarchy away from this process's mounts.
func unmount(t *testing.T, path string) {
	t.Helper()
	if err := syscall.Unmount(path, syscall.MNT_DETACH); err != nil {
		t.Skipf("this machine has no %s to take away: %v", path, err)
	}
}

func TestAMachineWithTheUnifiedHierarchyOnly(t *testing.T) {
	if elsewhere(t, &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}) {
		return
	}
	unmount(t, "/sys/fs/cgroup")
	must(t, syscall.Mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, ""))
	l := raise(t, lab.Options{Hosts: []string{"h1", "h2"}})
	if !l.Limits() {
		t.Fatal("the lab has no cgroups")
	}
	got := sh(t, l.Host("h1"), "cat /proc/self/cgroup | grep ^0; cd /sys/fs/cgroup; ls -d init; mkdir mine; ls -d mine")
	if got != "0::/init\ninit\nmine" {
		t.Errorf("the host sees\n%s", got)
	}
	freezing(t, l)
}

func TestAMachineWithTheOldHierarchiesOnly(t *testing.T) {
	if elsewhere(t, &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}) {
		return
	}
	unmount(t, "/sys/fs/cgroup/unified")
	if _, err := os.Stat("/sys/fs/cgroup/freezer"); err != nil {
		t.Skip("this machine has no freezer of the old kind")
	}
	t.Run("a host freezes, thaws and dies frozen", func(t *testing.T) {
		freezing(t, raise(t, lab.Options{Hosts: []string{"h1", "h2"}}))
	})
	t.Run("a frozen host dies with its stage and with its caller", func(t *testing.T) {
		c := callWith(t, nil)
		must(t, c.cmd.Process.Kill())
		c.cmd.Wait()
		c.nothingLeft(t, true)
	})
}

func TestNothingIsLeftOfAnOrdinaryUsersLab(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become another user")
	}
	c := callWith(t, ordinary())
	must(t, c.cmd.Process.Kill())
	c.cmd.Wait()
	c.nothingLeft(t, true)
	c = callWith(t, ordinary(), "close")
	c.stdin.WriteString("x")
	must(t, c.cmd.Wait())
	c.nothingLeft(t, true)
}

// forbid is a tool: as root of a new user namespace, it forbids further ones
// and tries to make a lab as another user.
func forbid([]string) error {
	if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0); err != nil {
		return err
	}
	if err := syscall.Setgid(1); err != nil {
		return err
	}
	if err := syscall.Setuid(1); err != nil {
		return err
	}
	ctx, cancel := toolContext()
	defer cancel()
	l, err := lab.New(ctx, lab.Options{Hosts: []string{"h1"}})
	if err == nil {
		return errors.Join(errors.New("a lab was made"), l.Close())
	}
	fmt.Println(errors.Is(err, lab.ErrForbidden), err)
	return nil
}

func TestWhereALabIsForbiddenOneSentenceSaysSo(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can make a place where it is forbidden")
	}
	cmd := exec.Command("/proc/self/exe", "forbid")
	cmd.Env = append(os.Environ(), toolVariable+"=1")
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 65536}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got := strings.TrimSpace(string(out))
	const want = "true this machine does not let you make a lab: ordinary users may not make user namespaces here " +
		"(user.max_user_namespaces is 0); run it as root, or allow it with: sudo sysctl -w user.max_user_namespaces=10000"
	if !strings.HasPrefix(got, want) || strings.Contains(got, "\n") {
		t.Errorf("the words are %q\nwant them to begin with %q", got, want)
	}
}
