package cell

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
)

// RevokedFor is how long the certificates of a node that was taken out stay on
// the list of revoked ones: longer than any of them is valid.
const RevokedFor = 40 * 24 * time.Hour

// MaxWhy bounds the reason of a drain, in bytes.
const MaxWhy = 500

// Drain asks that all services leave a node and stay away. Draining it twice
// keeps the newer reason.
func (c *Clerk) Drain(ctx context.Context, ask request.Drain) error {
	if len(ask.Why) > MaxWhy {
		return &request.Error{
			Kind: request.Invalid, Code: "too-long",
			Text: fmt.Sprintf("the reason has %d bytes, and %d are the most", len(ask.Why), MaxWhy),
		}
	}
	changed, err := c.wish(ctx, "drain", ask.Node, func(w *record.NodeWish) bool {
		if w.Drain && w.DrainWhy == ask.Why {
			return false
		}
		w.Drain, w.DrainWhy, w.DrainTime = true, ask.Why, c.Clock.Now()
		return true
	})
	if err != nil || !changed {
		return err
	}
	text := fmt.Sprintf("%s is to be kept free of services", ask.Node)
	if ask.Why != "" {
		text += ": " + ask.Why
	}
	c.Events.Add(event.Event{Kind: event.NodeDrained, About: ask.Node, Actor: ask.By, Text: text})
	return nil
}

// Undrain lets services back on a node. A node that is not drained is left alone.
func (c *Clerk) Undrain(ctx context.Context, ask request.Undrain) error {
	changed, err := c.wish(ctx, "undrain", ask.Node, func(w *record.NodeWish) bool {
		write := w.Drain
		w.Drain, w.DrainWhy, w.DrainTime = false, "", time.Time{}
		return write
	})
	if err != nil || !changed {
		return err
	}
	c.Events.Add(event.Event{
		Kind: event.NodeUndrained, About: ask.Node, Actor: ask.By,
		Text: fmt.Sprintf("%s may run services again", ask.Node),
	})
	return nil
}

// SetMaintenance asks that a node, or the whole cell, be left as it is, or that
// this end. Asking twice is as good as once.
func (c *Clerk) SetMaintenance(ctx context.Context, ask request.Maintenance) error {
	var changed bool
	var err error
	subject := "the whole cell"
	if ask.Node != "" {
		subject = string(ask.Node)
		changed, err = c.wish(ctx, "maintenance of", ask.Node, func(w *record.NodeWish) bool {
			write := w.Maintenance != ask.On
			w.Maintenance = ask.On
			return write
		})
	} else {
		err = c.attempt(ctx, "maintenance of the cell", func(ctx context.Context) (again, error) {
			return edit(ctx, c, record.KeyCellWish, func(w record.CellWish, _ bool) (record.CellWish, bool, error) {
				write := w.Maintenance != ask.On
				changed = changed || write
				w.Maintenance = ask.On
				return w, write, nil
			})
		})
	}
	if err != nil || !changed {
		return err
	}
	e := event.Event{Kind: event.MaintenanceOff, About: ask.Node, Actor: ask.By, Text: subject + " is looked after again"}
	if ask.On {
		e.Kind, e.Text = event.MaintenanceOn, subject+" is left as it is, for maintenance"
	}
	c.Events.Add(e)
	return nil
}

// wish changes what is asked of a member; f returns whether there is anything
// to write.
func (c *Clerk) wish(ctx context.Context, verb string, node spec.NodeName, f func(*record.NodeWish) bool) (bool, error) {
	var changed bool
	err := c.attempt(ctx, verb+" "+string(node), func(ctx context.Context) (again, error) {
		if _, member, err := c.Store.Get(ctx, record.KeyNodes+string(node)); err != nil || !member {
			if err == nil {
				err = noSuchNode(node)
			}
			return false, err
		}
		return edit(ctx, c, record.KeyWishes+string(node),
			func(w record.NodeWish, _ bool) (record.NodeWish, bool, error) {
				write := f(&w)
				changed = changed || write
				return w, write, nil
			})
	})
	return changed, err
}

// Remove takes a node out of the cell.
//
// A node that is not lost is asked to leave: it gives up its services, its
// vote and its identity by itself. A lost one cannot, so with Force its records
// are deleted and its certificates revoked; whoever asks for that knows that
// what it held is off. A lost node that still votes is first asked to leave,
// so that the controller takes its vote away, and the answer is a refusal with
// the code "still-a-voter" until that has happened.
func (c *Clerk) Remove(ctx context.Context, ask request.Remove) error {
	var tried, removed, asked bool
	err := c.attempt(ctx, "remove node "+string(ask.Node), func(ctx context.Context) (again, error) {
		records, _, err := Load(ctx, c.Store)
		if err != nil {
			return false, err
		}
		v := View{Records: records, Live: c.Live(), Now: c.Clock.Now()}
		lost, err := removable(v, ask)
		if err != nil {
			if _, member := records.Nodes[ask.Node]; !member && tried {
				removed, err = true, nil // by an attempt whose answer was lost
			}
			return false, err
		}
		voting := (records.Lease.Voters|records.Lease.Prior)>>records.Nodes[ask.Node].Slot&1 == 1
		if lost && !voting {
			tried = true
			retry, err := c.forget(ctx, records.Nodes[ask.Node], ask.By)
			removed = err == nil && !bool(retry)
			return retry, err
		}
		retry, err := edit(ctx, c, record.KeyWishes+string(ask.Node),
			func(w record.NodeWish, _ bool) (record.NodeWish, bool, error) {
				write := !w.Leaving
				asked = asked || write
				w.Leaving = true
				return w, write, nil
			})
		if err == nil && lost && !bool(retry) {
			err = refused("still-a-voter", "its vote is being taken away; try again in a few seconds",
				"node %s still votes in the cell", ask.Node)
		}
		return retry, err
	})
	switch {
	case err == nil && removed:
		c.Events.Add(event.Event{
			Kind: event.NodeLeft, About: ask.Node, Actor: ask.By,
			Text: fmt.Sprintf("%s was taken out of the cell", ask.Node),
		})
	case err == nil && asked:
		c.Events.Add(event.Event{
			Kind: event.NodeDrained, About: ask.Node, Actor: ask.By,
			Text: fmt.Sprintf("%s is to leave the cell", ask.Node),
		})
	}
	return err
}

// removable checks a removal against the present state and tells whether the
// node is lost. It is pure.
func removable(v View, ask request.Remove) (lost bool, err error) {
	n, member := v.Records.Nodes[ask.Node]
	if !member {
		return false, noSuchNode(ask.Node)
	}
	if len(v.Records.Nodes) == 1 {
		return false, refused("last-node", "to end the cell stop its agent (`systemctl stop keelson`), then run `keelson leave --offline --yes` there",
			"node %s is the only one of the cell", ask.Node)
	}
	lost = ask.Node != v.Live.Node && v.Live.liveness(n, v.Records.Reports[ask.Node], v.Now) == fact.Lost
	if lost && !ask.Force {
		return false, refused("node-lost",
			fmt.Sprintf("make sure that it is off, then `keelson node remove %s --force`", ask.Node),
			"node %s is lost, so it cannot leave by itself", ask.Node)
	}
	return lost, nil
}

// forget deletes the records of a lost node and revokes its certificates.
func (c *Clerk) forget(ctx context.Context, n record.Node, by string) (again, error) {
	key := record.KeyNodes + string(n.Name)
	entry, found, err := c.Store.Get(ctx, key)
	if err != nil || !found {
		return false, err
	}
	var now record.Node
	if err := json.Unmarshal(entry.Value, &now); err != nil {
		return false, fmt.Errorf("read %s: %w", key, err)
	}
	if now.ID != n.ID {
		return true, nil // another node has taken the name since
	}
	// A vote that it was given just now must be taken away first.
	lease, _, err := c.Store.Get(ctx, record.KeyLease)
	if err != nil {
		return false, err
	}
	var votes record.Lease
	if err := json.Unmarshal(lease.Value, &votes); err == nil && (votes.Voters|votes.Prior)>>now.Slot&1 == 1 {
		return true, nil
	}
	at := c.Clock.Now()
	revoked, err := json.Marshal(record.Revoked{Node: now.Name, At: at, Until: at.Add(RevokedFor), By: by})
	if err != nil {
		return false, err
	}
	ops := []store.Op{
		{Key: key, Delete: true},
		{Key: record.KeyWishes + string(now.Name), Delete: true},
		{Key: record.KeyReports + string(now.Name), Delete: true},
		{Key: record.SlotKey(now.Slot), Delete: true},
	}
	for _, key := range now.RevocationKeys() {
		ops = append(ops, store.Op{Key: key, Value: revoked})
	}
	done, _, err := c.Store.Txn(ctx, []store.Guard{{Key: key, Revision: entry.Revision}, {Key: record.KeyLease, Revision: lease.Revision}}, ops)
	return again(!done), err
}
