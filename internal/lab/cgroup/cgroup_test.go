package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/lab/wire"
)

func TestParseMounts(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []wire.Cgroup
	}{
		{"a machine with v2 only", "30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n", []wire.Cgroup{
			{Mount: "/sys/fs/cgroup", Unified: true},
		}},
		{
			"a machine with both, the unified one first",
			"33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n" +
				"34 31 0:31 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n" +
				"35 31 0:32 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n" +
				"36 31 0:33 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio\n" +
				"41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
			[]wire.Cgroup{
				{Mount: "/sys/fs/cgroup/unified", Unified: true},
				{Mount: "/sys/fs/cgroup/cpu,cpuacct", Controllers: []string{"cpu"}},
				{Mount: "/sys/fs/cgroup/freezer", Controllers: []string{"freezer"}},
			},
		},
		{"a machine without", "22 27 0:21 / /proc rw - proc proc rw\n", nil},
		{"a hierarchy mounted twice at one place counts once", strings.Repeat("30 25 0:26 / /c rw - cgroup2 c rw\n", 2), []wire.Cgroup{{Mount: "/c", Unified: true}}},
		{"nonsense", "a b c\n - \n1 2 3 4 5 - cgroup\n", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, ParseMounts(c.text)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzParseMounts(f *testing.F) {
	f.Add("30 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, c := range ParseMounts(text) {
			if c.Mount == "" || !c.Unified && len(c.Controllers) == 0 {
				t.Errorf("%+v", c)
			}
		}
	})
}

func TestIDs(t *testing.T) {
	pid, started, ok := ParseID(ID("abc"))
	if !ok || pid != os.Getpid() || started != StartTime(pid) || started == 0 {
		t.Errorf("%d, %d, %v", pid, started, ok)
	}
	for _, id := range []string{"", "keelson-lab-", "keelson-lab-1", "keelson-lab-1-2", "keelson-lab-x-2-a", "keelson-lab-1-x-a", "keelson-lab--1-2-a", "other-1-2-a"} {
		if _, _, ok := ParseID(id); ok {
			t.Errorf("%q names a lab", id)
		}
	}
	if StartTime(1<<30) != 0 {
		t.Error("a process that cannot be has started")
	}
}

// fake is the directory of a host in a pretended hierarchy.
func fake(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func content(t *testing.T, dir, file string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestLimitsAreWrittenAsTheHierarchyWantsThem(t *testing.T) {
	for _, c := range []struct {
		name, file string
		unified    bool
		set        func([]wire.Cgroup) error
		want       string
	}{
		{"v2 cpu", "cpu.max", true, func(g []wire.Cgroup) error { return LimitCPU(g, 50) }, "50000 100000"},
		{"v2 cpu lifted", "cpu.max", true, func(g []wire.Cgroup) error { return LimitCPU(g, 0) }, "max 100000"},
		{"v1 cpu", "cpu.cfs_quota_us", false, func(g []wire.Cgroup) error { return LimitCPU(g, 250) }, "250000"},
		{"v1 cpu lifted", "cpu.cfs_quota_us", false, func(g []wire.Cgroup) error { return LimitCPU(g, 0) }, "-1"},
		{"v2 memory", "memory.max", true, func(g []wire.Cgroup) error { return LimitMemory(g, 1<<20) }, "1048576"},
		{"v2 memory lifted", "memory.max", true, func(g []wire.Cgroup) error { return LimitMemory(g, 0) }, "max"},
		{"v1 memory", "memory.limit_in_bytes", false, func(g []wire.Cgroup) error { return LimitMemory(g, 1<<20) }, "1048576"},
		{"v1 memory lifted", "memory.limit_in_bytes", false, func(g []wire.Cgroup) error { return LimitMemory(g, 0) }, "-1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := fake(t, c.file, "cpu.cfs_period_us")
			g := []wire.Cgroup{{Dir: "/none", Controllers: []string{"pids"}}, {Dir: dir, Unified: c.unified, Controllers: []string{"cpu", "memory"}}}
			if err := c.set(g); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, content(t, dir, c.file)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.file, diff)
			}
			if err := c.set(nil); !errors.Is(err, wire.ErrNoCgroup) {
				t.Errorf("without cgroups: %v", err)
			}
		})
	}
}

func TestFreezeWaitsForTheKernel(t *testing.T) {
	for _, c := range []struct {
		name, file, confirm, said string
		unified                   bool
	}{
		{"v2", "cgroup.freeze", "cgroup.events", "populated 1\nfrozen 1\n", true},
		{"v1", "freezer.state", "freezer.state", "FROZEN", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := fake(t, c.file, c.confirm)
			g := []wire.Cgroup{{Dir: dir, Unified: c.unified, Controllers: []string{"freezer"}}}
			if c.unified {
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				if err := Freeze(ctx, g, true); !errors.Is(err, context.Canceled) {
					t.Errorf("without confirmation: %v", err)
				}
				if err := os.WriteFile(filepath.Join(dir, c.confirm), []byte(c.said), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if err := Freeze(t.Context(), g, true); err != nil {
				t.Error(err)
			}
		})
	}
	if err := Freeze(t.Context(), nil, true); !errors.Is(err, wire.ErrNoCgroup) {
		t.Errorf("without cgroups: %v", err)
	}
}

func TestOnlyDirectoriesOfDeadLabsAreRemoved(t *testing.T) {
	mount := t.TempDir()
	alive := ID("alive")
	dead := fmt.Sprintf("%s%d-%d-dead", Prefix, os.Getpid(), StartTime(os.Getpid())+1)
	for _, d := range []string{alive + "/h1", dead + "/h1/init", "other/h1"} {
		if err := os.MkdirAll(filepath.Join(mount, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := removeStale(t.Context(), mount); err != nil {
		t.Fatal(err)
	}
	for d, want := range map[string]bool{alive: true, dead: false, "other": true} {
		if _, err := os.Stat(filepath.Join(mount, d)); (err == nil) != want {
			t.Errorf("%s: %v", d, err)
		}
	}
	if err := Remove(t.Context(), []wire.Cgroup{{Dir: filepath.Join(mount, "other")}, {Dir: filepath.Join(mount, alive)}}); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(mount)
	if err != nil || len(left) != 1 || left[0].Name() != "other" {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestHostsShareTheLabsRealTime(t *testing.T) {
	for _, c := range []struct {
		name            string
		n               int
		wantLab, wantIt string
	}{
		{"three", 3, "", "100000"},
		{"many, and the machine has that much", 32, "800000", "25000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			lab := fake(t, "cpu.rt_runtime_us")
			host := filepath.Join(lab, "h1")
			if err := os.Mkdir(host, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(host, "cpu.rt_runtime_us"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := AddHost([]wire.Cgroup{{Dir: lab, Controllers: []string{"cpu"}}}, "h1", c.n); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{c.wantLab, c.wantIt}, []string{content(t, lab, "cpu.rt_runtime_us"), content(t, host, "cpu.rt_runtime_us")}); diff != "" {
				t.Errorf("the lab's and the host's (-want +got):\n%s", diff)
			}
		})
	}
}
