package app

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/driver/cutoff"
	"github.com/keelson/keelson/internal/engine/pki"
	"github.com/keelson/keelson/internal/front/cli"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

// errLeft says that the node is no member any more.
var errLeft = errors.New("the node has left the cell")

// Leave asks the running agent to give up everything, and waits until it has.
func (a *App) Leave(ctx context.Context, o cli.LeaveOptions) error {
	f := folders{data: o.Folders.Data, run: o.Folders.Run}
	l, err := readLocal(f)
	if err != nil {
		return err
	}
	c, err := client.New(client.Options{Socket: f.api()})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Remove(ctx, l.Node, false); err != nil {
		return err
	}
	o.Progress("moving services away and handing the vote over")
	for {
		if _, err := os.Stat(f.local()); errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err := a.clock.Sleep(ctx, 200*time.Millisecond); err != nil {
			return refused("leave-not-done", "look at `keelson status`; the node goes on leaving by itself", "%s has not left the cell yet", l.Node)
		}
	}
}

// leave waits until this node was asked to leave and runs nothing any more, and
// then takes it out of the cell.
func (n *node) leave(ctx context.Context) error {
	for {
		if err := n.clock.Sleep(ctx, leaveEvery); err != nil {
			return err
		}
		records, stale := n.mirror.Records()
		if stale {
			continue
		}
		if gone(records.Nodes, n.local.NodeID) {
			n.log.Warn("this node was taken out of the cell")
			return n.depart(ctx)
		}
		if !records.Wishes[n.local.Node].Leaving || !idle(records.Reports[n.local.Node]) {
			continue
		}
		err := n.registrar.RemoveNode(ctx, n.local.Node, "node "+string(n.local.Node))
		switch {
		case errors.Is(err, pki.ErrStillVoter):
			continue
		case err != nil && !errors.Is(err, pki.ErrNotMember):
			n.log.Warn("not taken out of the cell", logkey.Err, err)
			continue
		}
		return n.depart(ctx)
	}
}

// gone reports whether the cell knows this node no more, or another by its name.
func gone(all map[spec.NodeName]record.Node, id string) bool {
	for _, m := range all {
		if m.ID == id {
			return false
		}
	}
	return len(all) > 0
}

func idle(r record.Report) bool {
	for _, i := range r.Instances {
		if i.Phase != fact.Idle && i.Phase != fact.Waiting && i.Phase != fact.Failed {
			return false
		}
	}
	return true
}

// quitTimeout is how long the guard has to let go: it waits for the leases that
// it holds, and cuts off.
const quitTimeout = 10 * time.Second

// depart ends the guard, which cuts off whatever is left.
func (n *node) depart(ctx context.Context) error {
	n.departing.Store(true)
	n.guard.Quit()
	ctx, cancel := context.WithTimeout(ctx, quitTimeout)
	defer cancel()
	for n.guard.Latest().Up && n.clock.Sleep(ctx, 50*time.Millisecond) == nil {
		continue
	}
	return errLeft
}

// forget deletes what belonged to the cell: the node's keys, its copy of the
// store, and at last who it was. Kept output stays, and so does the packet filter
// if the guard goes on: it has not cut everything off.
func (n *node) forget() error {
	if n.guard.Latest().Up {
		n.log.Error("the guard could not cut everything off and goes on; switch this server off before it is used for anything else")
	} else {
		filter := cutoff.New(cutoff.Options{Clock: n.clock, Log: n.log})
		if err := errors.Join(filter.Remove(), filter.Close()); err != nil && !errors.Is(err, cutoff.ErrUnsupported) {
			n.log.Warn("packet filter not removed", logkey.Err, err)
		}
		if err := n.folders.eraseRun(); err != nil {
			n.log.Warn("what was kept about services was not deleted", logkey.Err, err)
		}
	}
	if err := n.folders.erase(); err != nil {
		n.log.Error("left the cell, but not all of its state could be deleted; delete it by hand", logkey.Err, err)
		return nil
	}
	n.log.Info("left the cell, its state was deleted", "kept", n.folders.logs())
	return nil
}
