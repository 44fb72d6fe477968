package spec

import (
	"fmt"
	"time"
)

// Recovery bounds what a cell does by itself when things fail. A zero field means
// its default. What operators ask for, and what successors do when a node is
// lost, is not bounded by it.
type Recovery struct {
	// Share is how many of a hundred nodes services may be moved away from at once,
	// because the node is ill or they failed there: 1 to 100, default 34, a third. It is
	// never less than one node.
	Share int `json:"share,omitempty"`
	// ServiceMoves and CellMoves are how many moves the cell plans within Window, of
	// one service and of all: 1 to 1,000, defaults 4 and 30.
	ServiceMoves int `json:"service_moves,omitempty"`
	CellMoves    int `json:"cell_moves,omitempty"`
	// Window is 1 m to 24 h, default 10 m.
	Window Duration `json:"window,omitempty"`
}

// Limits and defaults of [Recovery].
const (
	DefaultShare        = 34
	DefaultServiceMoves = 4
	DefaultCellMoves    = 30
	DefaultMoveWindow   = 10 * time.Minute

	MaxMoves      = 1000
	MinMoveWindow = time.Minute
	MaxMoveWindow = 24 * time.Hour
)

// Effective returns r with its defaults filled in.
func (r Recovery) Effective() Recovery {
	or := func(n, other int) int {
		if n == 0 {
			return other
		}
		return n
	}
	return Recovery{
		Share: or(r.Share, DefaultShare), ServiceMoves: or(r.ServiceMoves, DefaultServiceMoves),
		CellMoves: or(r.CellMoves, DefaultCellMoves), Window: Duration(either(r.Window, DefaultMoveWindow)),
	}
}

// AtOnce returns how many of n nodes may be acted on at once, at least 1.
func (r Recovery) AtOnce(n int) int { return max(1, n*r.Effective().Share/100) }

// Validate returns what is wrong with r, in the order of its fields.
func (r Recovery) Validate() []Problem {
	c := &checker{}
	c.number("share", r.Effective().Share, 1, 100)
	c.number("service_moves", r.Effective().ServiceMoves, 1, MaxMoves)
	c.number("cell_moves", r.Effective().CellMoves, 1, MaxMoves)
	c.duration("window", r.Window, MinMoveWindow, MaxMoveWindow)
	return c.problems
}

// String says r in a few words.
func (r Recovery) String() string {
	e := r.Effective()
	return fmt.Sprintf("%d %% of the nodes at once; within %v %d moves of a service and %d of all", e.Share, e.Window, e.ServiceMoves, e.CellMoves)
}
