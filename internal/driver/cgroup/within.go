package cgroup

import (
	"errors"
	"os"
	"syscall"
)

// Within returns the group of that name within g, for what runs beside g's
// program and ends on its own. Its processes are g's too: they are among
// [Group.Members], share g's limits and die in g's Kill. It can be made only while
// g is there, and has no limits of its own.
//
// Where groups are only sessions, it is found by its session and by descent.
//
// The error is [ErrBadName].
func (g *Group) Within(name string) (*Group, error) {
	inner, err := g.tree.Group(g.pidfile+"."+name, append(append([]string{}, g.names...), name)...)
	if err != nil {
		return nil, err
	}
	inner.outer = g
	return inner, nil
}

// ownMark is the mark that tells g's processes from all others, empty if there is
// none: those within a group carry that group's.
func (g *Group) ownMark() string {
	if g.outer != nil {
		return ""
	}
	return g.mark()
}

// createWithin makes the folder, in one that must be there.
func (g *Group) createWithin() error {
	err := os.Mkdir(g.folder(), 0o755)
	if errors.Is(err, syscall.EEXIST) {
		return nil
	}
	return err
}

// limitedIn is the folder by which h bounds g's processes.
func (g *Group) limitedIn(h hierarchy) string {
	if g.outer != nil && h.base != g.tree.track.base {
		return g.outer.in(h)
	}
	return g.in(h)
}
