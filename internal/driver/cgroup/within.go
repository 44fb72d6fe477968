package cgroup

import (
	"errors"
	"os"
	"syscall"
)

// withinVariable marks programs of a group within another, beside that one's mark.
const withinVariable = "KEELSON_CHECK"

// Within returns the group of that name within g, for what runs beside g's
// program and ends on its own. Its processes are g's too: they are among
// [Group.Members], share g's limits and die in g's Kill. It can be made only while
// g is there, and has no limits of its own.
//
// Where groups are only sessions, its programs need the variables of both
// ([Group.Env]).
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
