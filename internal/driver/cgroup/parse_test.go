package cgroup

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// hybridMounts is a host with v1 controllers and a v2 hierarchy beside them.
const hybridMounts = `31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`

func TestLocate(t *testing.T) {
	const v2 = "50 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
	tests := []struct {
		name                          string
		mounts, own, controller, base string
		want                          hierarchy
		ok                            bool
	}{
		{
			"an agent at the top has a folder of its own there", v2, "0::/\n", "", "",
			hierarchy{base: "/sys/fs/cgroup/keelson", top: "/sys/fs/cgroup", own: "/sys/fs/cgroup", v2: true},
			true,
		},
		{
			"groups are beside the agent's unit, to outlive it", v2, "0::/system.slice/keelson.service\n", "", "",
			hierarchy{
				base: "/sys/fs/cgroup/system.slice/keelson", top: "/sys/fs/cgroup",
				own: "/sys/fs/cgroup/system.slice/keelson.service", v2: true,
			},
			true,
		},
		{
			"a base that is given goes before", v2, "0::/system.slice/keelson.service\n", "", "lab/h1",
			hierarchy{
				base: "/sys/fs/cgroup/lab/h1", top: "/sys/fs/cgroup",
				own: "/sys/fs/cgroup/system.slice/keelson.service", v2: true,
			},
			true,
		},
		{
			"a base cannot climb out", v2, "0::/\n", "", "../../etc",
			hierarchy{base: "/sys/fs/cgroup/etc", top: "/sys/fs/cgroup", own: "/sys/fs/cgroup", v2: true},
			true,
		},
		{
			"the top itself is no base", v2, "0::/\n", "", "/",
			hierarchy{base: "/sys/fs/cgroup", top: "/sys/fs/cgroup", own: "/sys/fs/cgroup", v2: true},
			false,
		},
		{
			"controllers of v1 have their own paths", hybridMounts, "4:memory:/box/a\n0::/\n", "memory", "",
			hierarchy{base: "/sys/fs/cgroup/memory/box/keelson", top: "/sys/fs/cgroup/memory", own: "/sys/fs/cgroup/memory/box/a"},
			true,
		},
		{
			"a controller that shares its hierarchy is found", hybridMounts, "1:cpu,cpuacct:/\n", "cpu", "",
			hierarchy{base: "/sys/fs/cgroup/cpu/keelson", top: "/sys/fs/cgroup/cpu", own: "/sys/fs/cgroup/cpu"},
			true,
		},
		{"a controller that is not mounted is not found", hybridMounts, "8:pids:/\n", "pids", "", hierarchy{}, false},
		{"a hierarchy that this process is not in is not used", hybridMounts, "4:memory:/\n", "", "", hierarchy{}, false},
		{
			"a part of the hierarchy that is mounted is its top",
			"50 31 0:38 /lab/h1 /cg rw - cgroup2 cgroup2 rw\n", "0::/lab/h1/agent\n", "", "",
			hierarchy{base: "/cg/keelson", top: "/cg", own: "/cg/agent", v2: true},
			true,
		},
		{
			"an own group outside of what is mounted counts as its top",
			"50 31 0:38 /lab/h1 /cg rw - cgroup2 cgroup2 rw\n", "0::/lab/h10\n", "", "",
			hierarchy{base: "/cg/keelson", top: "/cg", own: "/cg", v2: true},
			true,
		},
		{
			"of two mounts the later one covers the earlier",
			v2 + "51 31 0:38 / /new\\040cg rw - cgroup2 cgroup2 rw\n", "0::/\n", "", "",
			hierarchy{base: "/new cg/keelson", top: "/new cg", own: "/new cg", v2: true},
			true,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := locate(parseMounts(tt.mounts), parseOwn(tt.own), tt.controller, tt.base)
			if ok != tt.ok {
				t.Errorf("found: %t, want %t", ok, tt.ok)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(hierarchy{})); diff != "" {
				t.Errorf("hierarchy (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseStat(t *testing.T) {
	const rest = " S 1 20 30 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 999 0"
	tests := []struct {
		name, text string
		want       Process
		ok         bool
	}{
		{"a plain name", "812 (shopd)" + rest, Process{812, "shopd", 'S', 1, 30, 12345}, true},
		{"a name made to deceive", "812 (a) Z 9 (b) c)" + rest, Process{812, "a) Z 9 (b) c", 'S', 1, 30, 12345}, true},
		{"no name", "812 shopd S 1", Process{}, false},
		{"cut short", "812 (shopd) S 1 20 30", Process{}, false},
		{"no numbers", "812 (shopd) S a b c d e f g h i j k l m n o p q r s t", Process{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseStat(tt.text)
			if (err == nil) != tt.ok {
				t.Errorf("error %v", err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("process (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMembers(t *testing.T) {
	self := os.Getpid()
	proc := func(pid, parent, session int, state byte) Process {
		return Process{Pid: pid, Parent: parent, Session: session, State: state, Start: uint64(pid) * 10}
	}
	lead := leader{pid: 100, start: 1000}
	tests := []struct {
		name   string
		all    []Process
		lead   leader
		marked []int
		want   []int
	}{
		{"the session of the leader", []Process{proc(100, 1, 100, 'S'), proc(101, 100, 100, 'S'), proc(200, 1, 200, 'S')}, lead, nil, []int{100, 101}},
		{"also when the leader is gone", []Process{proc(101, 1, 100, 'S')}, lead, nil, []int{101}},
		{"descendants in other sessions", []Process{proc(103, 102, 103, 'S'), proc(102, 101, 102, 'S'), proc(101, 1, 100, 'S')}, lead, nil, []int{101, 102, 103}},
		{"those with the mark", []Process{proc(300, 1, 300, 'S'), proc(301, 300, 301, 'S')}, leader{}, []int{300}, []int{300, 301}},
		{"zombies are dead, their children are not", []Process{proc(100, 1, 100, 'Z'), proc(102, 100, 102, 'S')}, lead, nil, []int{102}},
		{
			"a stranger that got the leader's number",
			[]Process{{Pid: 100, Parent: 1, Session: 100, State: 'S', Start: 77}, proc(101, 1, 100, 'S')},
			lead, nil, nil,
		},
		{"never this process, nor its children", []Process{proc(self, 100, 100, 'S'), proc(self+1, self, 50, 'S')}, lead, []int{self}, nil},
		{"never init", []Process{proc(1, 0, 1, 'S'), proc(5, 1, 5, 'S')}, leader{pid: 1, start: 10}, []int{1}, nil},
		{"no leader yet", []Process{proc(7, 1, 0, 'S')}, leader{}, nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []int
			for _, p := range members(tt.all, tt.lead, func(pid int) bool { return slices.Contains(tt.marked, pid) }) {
				got = append(got, p.Pid)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("members (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLimitsAreWrittenAsTheKernelWantsThem(t *testing.T) {
	l := Limits{MemoryBytes: 64 << 20, CPU: 0.5, Processes: 10}
	tests := []struct {
		name  string
		v2    bool
		l     Limits
		files []string // that the host has
		want  map[string]string
	}{
		{
			"cgroup v2", true, l,
			[]string{"memory.max", "memory.swap.max", "cpu.max", "pids.max"},
			map[string]string{"memory.max": "67108864", "memory.swap.max": "0", "cpu.max": "50000 100000", "pids.max": "10"},
		},
		{
			"cgroup v2 without swap", true, l,
			[]string{"memory.max", "cpu.max", "pids.max"},
			map[string]string{"memory.max": "67108864", "cpu.max": "50000 100000", "pids.max": "10"},
		},
		{
			"cgroup v1", false, l,
			[]string{"memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "cpu.cfs_period_us", "cpu.cfs_quota_us", "pids.max"},
			map[string]string{
				"memory.limit_in_bytes": "67108864", "memory.memsw.limit_in_bytes": "67108864",
				"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000", "pids.max": "10",
			},
		},
		{
			"the least CPU that the kernel takes", true,
			Limits{CPU: 0.0001},
			[]string{"cpu.max"},
			map[string]string{"cpu.max": "1000 100000"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, f := range tt.files {
				if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for _, c := range tt.l.wanted() {
				if err := tt.l.set(c, tt.v2, dir); err != nil {
					t.Fatal(err)
				}
			}
			got := map[string]string{}
			for _, f := range tt.files {
				text, err := os.ReadFile(filepath.Join(dir, f))
				if err != nil {
					t.Fatal(err)
				}
				got[f] = string(text)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzParseMounts(f *testing.F) {
	f.Add(hybridMounts, "4:memory:/box/a\n1:cpu,cpuacct:/\n0::/\n", "memory", "")
	f.Add("1 2 3:4 /\\057 /a\\ rw - cgroup2 x y\n", "0::/../x\n", "", "../..")
	f.Fuzz(func(t *testing.T, mounts, own, controller, base string) {
		h, ok := locate(parseMounts(mounts), parseOwn(own), controller, base)
		if !ok {
			return
		}
		top := filepath.Clean(h.top)
		if top != "/" && top != "." && !strings.HasPrefix(h.base, top+"/") {
			t.Errorf("base %q is not below the mount %q", h.base, h.top)
		}
	})
}

func FuzzParseStat(f *testing.F) {
	f.Add("812 (a) b) S 1 20 30 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 999 0")
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := parseStat(text); err != nil && p != (Process{}) {
			t.Errorf("%q: %v, and yet %+v", text, err, p)
		}
	})
}

func FuzzParsePidfile(f *testing.F) {
	f.Add("12 34 boot\nKEELSON_INSTANCE=a/b\n")
	f.Add("0 0 b\n")
	f.Add("-1 0 b\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := parsePidfile(text)
		if err != nil {
			return
		}
		if l.pid < 0 {
			t.Errorf("%q: pid %d", text, l.pid)
		}
		if again, err := parsePidfile(l.String()); err != nil || again != l {
			t.Errorf("%q: %+v, then %+v, %v", text, l, again, err)
		}
	})
}

func TestParseOwn(t *testing.T) {
	got := parseOwn("9:name=systemd:/\n1:cpu,cpuacct:/x:y\n0::/z\nbroken\n5:pids:relative\n")
	want := map[string]string{"name=systemd": "/", "cpu": "/x:y", "cpuacct": "/x:y", "": "/z"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("own groups (-want +got):\n%s", diff)
	}
}
