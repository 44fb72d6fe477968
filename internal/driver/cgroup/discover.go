package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The controllers that limits need.
const (
	memory = "memory"
	cpu    = "cpu"
	pids   = "pids"
)

// Files of every group.
const (
	procsFile       = "cgroup.procs"
	killFile        = "cgroup.kill"
	eventsFile      = "cgroup.events"
	controllersFile = "cgroup.controllers"
	subtreeFile     = "cgroup.subtree_control"
)

// ownFolder is the folder of all groups, beside that of the agent.
const ownFolder = "keelson"

// hierarchy is one mounted tree of cgroups, with the folder that ours go into.
type hierarchy struct {
	base string // absolute path; need not exist
	top  string // absolute path of the mount
	own  string // absolute path of the group that this process is in
	v2   bool
}

// mount is one line of /proc/self/mountinfo that concerns cgroups.
type mount struct {
	root    string // path within the hierarchy that is mounted
	point   string // where
	v2      bool
	options []string // of the file system: v1 lists its controllers here
}

// discover fills t with what can be used.
func (t *Tree) discover(base string) {
	mounts, own, err := t.read()
	if err != nil {
		t.sessions(err)
		return
	}
	trouble := errors.New("no cgroup file system is mounted")
	if h, ok := locate(mounts, own, "", base); ok {
		if trouble = t.usable(h); trouble == nil {
			t.track = &h
			t.clones = clones(h)
			t.adoptV2(h)
		}
	}
	for _, c := range []string{memory, cpu, pids} {
		if _, ok := t.limits[c]; ok {
			continue
		}
		if h, ok := locate(mounts, own, c, base); ok && t.usable(h) == nil {
			t.limits[c] = h
		}
	}
	t.trackV1(mounts, own, base)
	t.tell(trouble)
}

func (t *Tree) read() ([]mount, map[string]string, error) {
	mountinfo, err := os.ReadFile(filepath.Join(t.proc, "self/mountinfo"))
	if err != nil {
		return nil, nil, err
	}
	groups, err := os.ReadFile(filepath.Join(t.proc, "self/cgroup"))
	if err != nil {
		return nil, nil, err
	}
	return parseMounts(string(mountinfo)), parseOwn(string(groups)), nil
}

// adoptV2 notes the controllers that v2 can give to our groups.
func (t *Tree) adoptV2(h hierarchy) {
	for _, c := range []string{memory, cpu, pids} {
		if enable(filepath.Dir(h.base), c) == nil {
			t.limits[c] = h
		}
	}
}

// trackV1 falls back to a v1 hierarchy for tracking, if v2 cannot be used.
func (t *Tree) trackV1(mounts []mount, own map[string]string, base string) {
	for _, c := range []string{"freezer", pids, "name=systemd", memory, cpu} {
		if t.track != nil {
			return
		}
		if h, ok := locate(mounts, own, c, base); ok && t.usable(h) == nil {
			t.track = &h
		}
	}
}

// tell words the warnings. Trouble is why v2 is not used for tracking.
func (t *Tree) tell(trouble error) {
	if t.track == nil {
		t.sessions(trouble)
		return
	}
	if !t.track.v2 {
		t.warn("Programs are tracked in cgroup v1 under %s, because cgroup v2 cannot be used (%v). "+
			"Stopping them takes a little longer.", t.track.base, trouble)
	}
	var v1, none []string
	for _, c := range []string{memory, cpu, pids} {
		h, ok := t.limits[c]
		switch {
		case !ok:
			none = append(none, c)
		case !h.v2:
			v1 = append(v1, c)
		}
	}
	if len(v1) > 0 && t.track.v2 {
		t.warn("Limits of %s use cgroup v1, because cgroup v2 on this host lacks the controllers.", strings.Join(v1, ", "))
	}
	if len(none) > 0 {
		t.warn("Limits of %s are not enforced, because no cgroup controller for them can be used here. "+
			"Run the agent as root, or in a systemd unit with Delegate=yes.", strings.Join(none, ", "))
	}
}

func (t *Tree) sessions(why error) {
	t.warn("Programs are tracked by session and not by cgroup, because no cgroup can be made (%v). "+
		"No limits apply to them, and one that hides on purpose can outlive its stop. "+
		"Run the agent as root, or in a systemd unit with Delegate=yes.", why)
}

// usable makes h's base folder once, to see whether groups can be made and
// entered there.
func (t *Tree) usable(h hierarchy) error {
	if err := os.MkdirAll(h.base, 0o755); err != nil {
		return err
	}
	defer tidy(h.base)
	// In v2, to move or start a process needs the right to write to the nearest
	// folder above both its old group and its new one.
	needed := []string{h.base}
	if h.v2 {
		needed = append(needed, common(h.own, h.base))
	}
	for _, dir := range needed {
		if err := unix.Access(filepath.Join(dir, procsFile), unix.W_OK); err != nil {
			return fmt.Errorf("write to %s: %w", filepath.Join(dir, procsFile), err)
		}
	}
	return nil
}

// tidy removes a folder unless it is in use by then.
func tidy(dir string) { _ = os.Remove(dir) }

// common returns the longest path that both a and b are at or below.
func common(a, b string) string {
	for a != b {
		if len(a) > len(b) {
			a = filepath.Dir(a)
		} else {
			b = filepath.Dir(b)
		}
	}
	return a
}

// clones reports whether a program can be started in a group of h. The kernel
// learned it (5.7) before cgroup.kill (5.14), but a seccomp filter may forbid
// it: an empty clone3 then is refused as unknown instead of as invalid.
func clones(h hierarchy) bool {
	if err := os.MkdirAll(h.base, 0o755); err != nil {
		return false
	}
	defer tidy(h.base)
	if _, err := os.Stat(filepath.Join(h.base, killFile)); err != nil {
		return false
	}
	_, _, errno := unix.RawSyscall(unix.SYS_CLONE3, 0, 0, 0)
	return errno == unix.EINVAL
}

// enable hands a controller of cgroup v2 down to the children of dir.
func enable(dir, controller string) error {
	file := filepath.Join(dir, subtreeFile)
	have, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if slices.Contains(strings.Fields(string(have)), controller) {
		return nil
	}
	return write(file, "+"+controller)
}

// locate finds the hierarchy of a controller ("" is v2) and where our folder is
// in it: base from its top if base is set, else beside the own group.
func locate(mounts []mount, own map[string]string, controller, base string) (hierarchy, bool) {
	for _, m := range slices.Backward(mounts) { // later mounts cover earlier ones
		if m.v2 != (controller == "") || !m.v2 && !slices.Contains(m.options, controller) {
			continue
		}
		mine, ok := own[controller]
		if !ok {
			return hierarchy{}, false
		}
		inside := within(mine, m.root)
		h := hierarchy{top: m.point, own: filepath.Join(m.point, inside), v2: m.v2}
		if base != "" {
			h.base = filepath.Join(m.point, path.Clean("/"+base))
		} else {
			h.base = filepath.Join(m.point, path.Dir(inside), ownFolder)
		}
		return h, h.base != h.top
	}
	return hierarchy{}, false
}

// within returns p as seen from root, "/" if it is not below it.
func within(p, root string) string {
	if root == "/" {
		return path.Clean("/" + p) // "/../x", seen from inside a namespace, becomes "/x"
	}
	if p == root {
		return "/"
	}
	if rest, ok := strings.CutPrefix(p, root+"/"); ok {
		return path.Clean("/" + rest)
	}
	return "/"
}

// parseMounts reads /proc/self/mountinfo, see proc(5). Lines that it does not
// understand are left out.
func parseMounts(text string) []mount {
	var out []mount
	for line := range strings.Lines(text) {
		place, kind, ok := strings.Cut(line, " - ")
		left, right := strings.Fields(place), strings.Fields(kind)
		if !ok || len(left) < 6 || len(right) < 3 {
			continue
		}
		if right[0] != "cgroup" && right[0] != "cgroup2" {
			continue
		}
		out = append(out, mount{
			root:    unescape(left[3]),
			point:   unescape(left[4]),
			v2:      right[0] == "cgroup2",
			options: strings.Split(right[2], ","),
		})
	}
	return out
}

// unescape undoes the octal escapes of mountinfo, such as \040 for a blank.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// parseOwn reads /proc/self/cgroup: the path of this process by controller,
// that in v2 under "".
func parseOwn(text string) map[string]string {
	own := map[string]string{}
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(fields) != 3 || !strings.HasPrefix(fields[2], "/") {
			continue
		}
		for c := range strings.SplitSeq(fields[1], ",") {
			own[c] = fields[2]
		}
	}
	return own
}
