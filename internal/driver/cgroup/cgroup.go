// Package cgroup keeps the processes of each part together, so that they can be
// limited, counted and killed as one.
//
// Its main rule: a kill is certain or it is an error. [Group.Kill] returns nil
// only when the kernel shows no living process of the group.
//
// It takes the best that the host offers, in this order, and says in
// [Tree.Warnings] which it is:
//
//   - cgroup v2: a program is born inside its group, and one write kills all.
//   - cgroup v1, where there is no v2: a program is put into its group before
//     its first instruction, and killing is a loop.
//   - sessions, where no cgroup may be made: a program leads a session, and is
//     found again by it, by descent and by a mark in the environment. A program
//     that clears all three escapes.
//
// Limits of memory, CPU and processes come from v2 controllers, or from v1 on
// hosts that keep them there. The package refuses to kill a group that its own
// process is in, and never signals a process number that it did not verify.
//
// Sources: Linux Documentation/admin-guide/cgroup-v2.rst ("Core Interface
// Files", "No Internal Process Constraint"), cgroups(7).
package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/keelson/keelson/internal/base/clock"
)

var (
	// ErrAlive means that processes of the group could not be shown to be dead
	// in time. They must be taken to run on.
	ErrAlive = errors.New("processes would not die")

	// ErrOwnGroup means that a kill would have hit the calling process.
	// Nothing was killed.
	ErrOwnGroup = errors.New("this process is in the group itself")

	// ErrRemoved means that the group was removed while a program was to be put
	// into it, by a [KillHandle] that came between. None runs; the caller may make
	// the group again, if the program may still run.
	ErrRemoved = errors.New("the group was removed meanwhile")

	// ErrBadName means that a name cannot be a folder.
	ErrBadName = errors.New("not usable as the name of a group")
)

// PidfilePrefix begins the handle of a group that is only a session; the path of
// its pidfile follows.
const PidfilePrefix = "pidfile:"

// MarkVariable is set in the environment of programs that are tracked by
// session, to the names of their group and its pidfile.
const MarkVariable = "KEELSON_INSTANCE"

// Options are what a [Tree] needs. Clock is required.
type Options struct {
	Clock clock.Clock

	// Base is the folder for all groups, as a path from the top of each
	// hierarchy, such as "/keelson". Empty means the folder "keelson" beside
	// the group of this process: groups then outlive the agent's own unit, and
	// its group need not be emptied before controllers can be used. Hosts that
	// share one kernel need a Base each.
	Base string

	// Sessions asks for tracking by session even where cgroups can be made.
	Sessions bool

	// Proc is where proc is mounted, default "/proc".
	Proc string
}

// Limits bounds a group. Zero means no limit.
type Limits struct {
	MemoryBytes int64
	CPU         float64 // cores
	Processes   int
}

// Tree is the place of all groups on this host. It is safe for concurrent use.
type Tree struct {
	clock    clock.Clock
	proc     string
	track    *hierarchy           // nil: sessions
	clones   bool                 // programs can be born in a group of track
	limits   map[string]hierarchy // by controller; those missing cannot be limited
	warnings []string
}

// Open finds out what the host offers. It never fails: what is missing is
// replaced, and the replacement is named in Warnings.
func Open(o Options) *Tree {
	t := &Tree{clock: o.Clock, proc: o.Proc, limits: map[string]hierarchy{}}
	if t.proc == "" {
		t.proc = "/proc"
	}
	if o.Sessions {
		t.warn("Programs are tracked by session, as asked for. No limits apply to them.")
		return t
	}
	t.discover(o.Base)
	return t
}

func (t *Tree) warn(format string, args ...any) {
	t.warnings = append(t.warnings, fmt.Sprintf(format, args...))
}

// Warnings returns sentences for the operator about what this host lacks. None
// means that everything works as it should.
func (t *Tree) Warnings() []string { return slices.Clone(t.warnings) }

// Unlimited returns which of the limits in l cannot be kept on this host, as
// the names of controllers.
func (t *Tree) Unlimited(l Limits) []string {
	var missing []string
	for _, w := range l.wanted() {
		if _, ok := t.limits[w]; !ok {
			missing = append(missing, w)
		}
	}
	return missing
}

// Group is the processes of one part. It is a name; the group need not exist.
// Its methods are safe for concurrent use, but the caller serialises Create,
// Kill and Remove of one group.
type Group struct {
	tree    *Tree
	names   []string
	pidfile string
	outer   *Group // nil, or the one that it is within
}

// Group returns the group with the given names, from the outermost in. Pidfile
// is the file that stands for the group where it is only a session; its folder
// must exist when the group is used. Empty names are left out.
//
// The error is [ErrBadName] if a name is not a plain file name, or pidfile could
// not be a line of text.
func (t *Tree) Group(pidfile string, names ...string) (*Group, error) {
	g := &Group{tree: t, pidfile: pidfile}
	for _, n := range names {
		switch {
		case n == "":
			continue
		case n == "." || n == ".." || strings.ContainsAny(n, "/\x00\n") || len(n) > 255:
			return nil, fmt.Errorf("%q: %w", n, ErrBadName)
		}
		g.names = append(g.names, n)
	}
	if strings.ContainsAny(pidfile, "\x00\n") {
		return nil, fmt.Errorf("pidfile %q: %w", pidfile, ErrBadName)
	}
	if len(g.names) == 0 {
		return nil, fmt.Errorf("no name: %w", ErrBadName)
	}
	return g, nil
}

// Handles returns what the group can be killed by from another process, with
// [KillHandle]. They are known before the group exists.
func (g *Group) Handles() []string {
	if g.tree.track == nil {
		return []string{PidfilePrefix + g.pidfile}
	}
	return []string{g.folder()}
}

// Env returns variables that the group's programs must be started with.
func (g *Group) Env() []string {
	if g.tree.track != nil {
		return nil
	}
	return []string{g.mark()}
}

// mark is unlike that of any other agent on the host that has the same names.
func (g *Group) mark() string {
	name := MarkVariable
	if g.outer != nil {
		name = withinVariable
	}
	return name + "=" + strings.Join(g.names, "/") + "@" + g.pidfile
}

// folder is where the group's processes are listed; only if tracked.
func (g *Group) folder() string { return g.in(*g.tree.track) }

func (g *Group) in(h hierarchy) string {
	return filepath.Join(append([]string{h.base}, g.names...)...)
}

// Create makes the group, empty of limits but those in l. Limits that the host
// cannot keep are passed over; see [Tree.Unlimited]. The error may be
// [ErrRemoved].
func (g *Group) Create(l Limits) error {
	return removed(g.create(l))
}

// removed adds [ErrRemoved] to an error that says that a folder is not there.
func removed(err error) error {
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENODEV) {
		return fmt.Errorf("%w: %w", ErrRemoved, err)
	}
	return err
}

func (g *Group) create(l Limits) error {
	if g.tree.track == nil {
		return writePidfile(g.tree.proc, g.pidfile, 0, g.mark())
	}
	if g.outer != nil {
		return g.createWithin()
	}
	if err := g.mkdir(*g.tree.track, ""); err != nil {
		return fmt.Errorf("create cgroup: %w", err)
	}
	for _, controller := range l.wanted() {
		h, ok := g.tree.limits[controller]
		if !ok {
			continue
		}
		if err := g.mkdir(h, controller); err != nil {
			return fmt.Errorf("create cgroup for %s: %w", controller, err)
		}
		if err := l.set(controller, h.v2, g.in(h)); err != nil {
			return fmt.Errorf("limit %s: %w", controller, err)
		}
	}
	return nil
}

// mkdirTries bounds how often a folder is made again that another group's
// Remove has just taken away.
const mkdirTries = 5

// mkdir makes the group's folder in h. In cgroup v2 it also hands the
// controller, if one is named, down to it.
func (g *Group) mkdir(h hierarchy, controller string) error {
	var err error
	for range mkdirTries {
		if err = os.MkdirAll(g.in(h), 0o755); err == nil && h.v2 && controller != "" {
			err = g.handDown(h, controller)
		}
		if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ENODEV) {
			return err
		}
	}
	return err
}

func (g *Group) handDown(h hierarchy, controller string) error {
	dir := h.base
	for _, n := range g.names {
		if err := enable(dir, controller); err != nil {
			return err
		}
		dir = filepath.Join(dir, n)
	}
	return nil
}

// Enter makes attr start a program inside the group, as far as that is possible
// at birth. The caller calls done after the start, successful or not. The error
// may be [ErrRemoved]; a start into a group that is removed after Enter fails,
// see [Group.Removed].
func (g *Group) Enter(attr *syscall.SysProcAttr) (done func(), err error) {
	if g.tree.track == nil || !g.tree.clones {
		return func() {}, nil
	}
	dir, err := os.Open(g.folder())
	if err != nil {
		return nil, fmt.Errorf("enter cgroup: %w", removed(err))
	}
	attr.UseCgroupFD = true
	attr.CgroupFD = int(dir.Fd())
	return func() { _ = dir.Close() }, nil // opened for reading: nothing to lose
}

// Removed reports whether the group's folder is not there. Then that is why a
// start in it failed: the kernel's errors for it, ENODEV and ENOENT, have other
// causes too.
func (g *Group) Removed() bool {
	if g.tree.track == nil {
		return false
	}
	_, err := os.Stat(g.folder())
	return errors.Is(err, os.ErrNotExist)
}

// NeedsPlace reports whether a program with limits l must be put into the group
// by [Group.Place] after its start.
func (g *Group) NeedsPlace(l Limits) bool {
	if g.tree.track == nil || !g.tree.clones {
		return true
	}
	for _, w := range l.wanted() {
		if h, ok := g.tree.limits[w]; ok && !h.v2 {
			return true
		}
	}
	return false
}

// NeedsHold reports whether that must be done before the program's first
// instruction, since what it starts until then may escape a limit or the group.
func (g *Group) NeedsHold(l Limits) bool { return g.tree.track != nil && g.NeedsPlace(l) }

// placeRounds bounds how often Place looks for processes that were born while
// it moved the others.
const placeRounds = 10

// Place puts a started program, which must lead a session, into all of the
// group that it is not in by birth, along with those that it has started. The
// error may be [ErrRemoved]: a program that was held is to be killed then.
func (g *Group) Place(pid int, l Limits) error {
	if g.tree.track == nil {
		return writePidfile(g.tree.proc, g.pidfile, pid, g.mark())
	}
	var folders []string
	if !g.tree.clones {
		folders = append(folders, g.folder())
	}
	for _, w := range l.wanted() {
		if h, ok := g.tree.limits[w]; ok && !h.v2 && !slices.Contains(folders, g.limitedIn(h)) {
			folders = append(folders, g.limitedIn(h))
		}
	}
	placed := map[int]bool{}
	todo := []int{pid}
	for range placeRounds {
		for _, p := range todo {
			placed[p] = true
			if err := join(folders, p); err != nil && p == pid {
				return fmt.Errorf("put process %d into cgroup: %w", pid, removed(err))
			}
		}
		members, err := listed(g.folder())
		if err != nil {
			return err
		}
		todo = slices.DeleteFunc(members, func(p int) bool { return p <= 0 || placed[p] })
		if len(todo) == 0 {
			return nil
		}
	}
	return nil // what is left now was born of a placed parent, or is about to die
}

// join writes pid into all folders. A process that has ended is no error.
func join(folders []string, pid int) error {
	for _, f := range folders {
		err := write(filepath.Join(f, procsFile), fmt.Sprint(pid))
		if err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}

// OOMKills returns how many of the group's processes the kernel has killed for
// want of memory since the group was made, and whether that is known.
func (g *Group) OOMKills() (int, bool) {
	h, ok := g.tree.limits[memory]
	if !ok {
		return 0, false
	}
	name := "memory.oom_control"
	if h.v2 {
		name = "memory.events"
	}
	return readKey(filepath.Join(g.in(h), name), "oom_kill")
}
