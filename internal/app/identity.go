package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/keelson/keelson/internal/app/sentence"
	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/engine/pki"
	"github.com/keelson/keelson/internal/front/cli"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store/etcdstore"
)

// usable returns an error if this node cannot show its certificate now: it is
// missing, damaged, expired, or of a time that this host's clock calls the future.
func (a *App) usable(name spec.NodeName, files *pki.Files) error {
	if _, err := files.CA(); err != nil {
		return err
	}
	pair, err := files.Certificate()
	if err != nil {
		return err
	}
	now, from, until := a.clock.Now(), pair.Leaf.NotBefore, pair.Leaf.NotAfter
	switch {
	case now.Before(from):
		return &request.Error{
			Kind: request.Refused, Code: "clock-off", Err: pki.ErrClockOff,
			Text: fmt.Sprintf("this host's clock says %s, but the certificate of node %s begins at %s", stamp(now), name, stamp(from)),
			Hint: fmt.Sprintf("set the clock (NTP keeps it right); if it is right now and was wrong before, run `keelson token create` on another node, and here `keelson join ADDRESS --name %s --token TOKEN`, which keeps what this node has", name),
		}
	case now.After(until):
		return &request.Error{
			Kind: request.Refused, Code: "certificate-expired", Err: pki.ErrCertificateExpired,
			Text: fmt.Sprintf("the certificate of node %s expired at %s; this host's clock says %s", name, stamp(until), stamp(now)),
			Hint: fmt.Sprintf("if the clock is wrong, set it; otherwise run `keelson token create` on another node, and here `keelson join ADDRESS --name %s --token TOKEN`, which keeps what this node has", name),
		}
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// errNotKept means that this node's copy of the store does not say enough to
// sign a certificate with.
var errNotKept = errors.New("this node's copy of the store has no record of the cell or of the node")

// ownSigner returns a signer that asks nobody: it uses the authority's key in
// this node's own copy of the store.
func (n *node) ownSigner(ctx context.Context) (pki.Signer, error) {
	if n.server == nil || !n.server.HasData() {
		return nil, errNotKept
	}
	self := record.KeyNodes + string(n.local.Node)
	kept, err := n.server.Kept(ctx, storePrefix(n.local), record.KeyCell, self)
	if err != nil {
		return nil, err
	}
	var c record.Cell
	var own record.Node
	if json.Unmarshal(kept[record.KeyCell], &c) != nil || json.Unmarshal(kept[self], &own) != nil ||
		c.ID != n.local.CellID || own.ID != n.local.NodeID {
		return nil, errNotKept
	}
	authority, err := pki.AuthorityOf(c)
	if err != nil {
		return nil, err
	}
	return pki.OfflineSigner{Authority: authority, Node: own, Clock: n.clock}, nil
}

// heal replaces a certificate that is of no use now by one signed with the
// authority's key in this node's own copy of the store. Without one, as on a
// voter of a cell that was switched off for too long, nobody reaches the store,
// and so nobody would ever sign a new one.
func (n *node) heal(ctx context.Context) error {
	files := pki.NewFiles(n.folders.pki())
	reason := n.usable(n.local.Node, files)
	if reason == nil {
		return nil
	}
	signer, err := n.ownSigner(ctx)
	if err != nil {
		n.log.Debug("certificate not signed here", logkey.Err, err)
		return reason
	}
	if _, err := os.Stat(files.KeyPath()); err != nil {
		return reason // a new key would be of no use
	}
	key, err := files.Key()
	if err != nil {
		return err
	}
	csr, err := pki.NewRequest(key, string(n.local.Node))
	if err != nil {
		return err
	}
	got, err := signer.RenewCertificate(ctx, csr)
	if err != nil {
		return err
	}
	if err := files.Install(got.Certificate, got.CA); err != nil {
		return sentence.Disk(n.folders.data, err)
	}
	n.log.Warn("certificate could not be used, a new one was signed here", logkey.Err, reason)
	n.healed = fmt.Sprintf("%s signed itself a new certificate, because %s", n.local.Node, reason)
	return nil
}

// tellHealed records that this node has signed its own certificate.
func (n *node) tellHealed() {
	if n.healed != "" {
		n.recorder.Add(event.Event{Kind: event.CertRenewed, About: n.local.Node, Text: n.healed})
	}
}

// selfReliant is a signer that asks the store, and this node's own copy of it
// if the store is out of reach for want of a certificate.
type selfReliant struct {
	n     *node
	store pki.Signer
}

// RenewCertificate implements pki.Signer.
func (s selfReliant) RenewCertificate(ctx context.Context, csr []byte) (request.Renewed, error) {
	got, err := s.store.RenewCertificate(ctx, csr)
	if err == nil || s.n.usable(s.n.local.Node, s.n.trust.Files) == nil {
		return got, err
	}
	own, missing := s.n.ownSigner(ctx)
	if missing != nil {
		return got, err
	}
	return own.RenewCertificate(ctx, csr)
}

// again checks that a member may join once more: as the node that it is, in the
// cell that it is in, and only if its certificate is of no use any more. It
// returns what the node is to ask for: what it had.
func (a *App) again(f folders, l local, files *pki.Files, token pki.Token, o cli.JoinOptions) (cli.NewNode, error) {
	reason := a.usable(l.Node, files)
	if o.Name != l.Node || reason == nil {
		return cli.NewNode{}, alreadyMember(f, l)
	}
	root, err := files.CA()
	if err != nil {
		return cli.NewNode{}, err
	}
	if !token.Pins(root) {
		return cli.NewNode{}, refused("wrong-cell", "make a token with `keelson token create` on another node of cell "+l.Cell,
			"this server is node %s of cell %s, and the token is of another cell", l.Node, l.Cell)
	}
	unlock, err := lock(f.agentLock())
	if err != nil {
		return cli.NewNode{}, err
	}
	if unlock == nil {
		return cli.NewNode{}, refused("already-running", "stop it first ("+stopping(systemdRuns())+"), then join again", "an agent runs on %s", f.data)
	}
	unlock()
	n := o.NewNode
	n.Address, n.Ports, n.Links, n.Labels = l.Address, l.Ports, l.Links, l.Labels
	return n, nil
}

func alreadyMember(f folders, l local) error {
	return refused("already-a-member", "to take it out of that cell run `keelson leave`; if it is its only node, stop the agent ("+stopping(systemdRuns())+"), then run `keelson leave --offline --yes`",
		"this server is node %s of cell %s already (%s); nothing was changed", l.Node, l.Cell, f.local())
}

// strange puts aside what a node has kept of its membership if the cell has
// given it a new one: it was removed in the meantime.
func (a *App) strange(f folders, l local, id string) error {
	if l.NodeID == "" || l.NodeID == id {
		return nil
	}
	at := a.clock.Now()
	if err := etcdstore.NewServer(etcdstore.ServerOptions{Dir: f.etcd()}).Discard(at); err != nil {
		return err
	}
	err := os.Rename(f.lastKnown(), f.lastKnown()+".removed")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("put %s aside: %w", f.lastKnown(), err)
	}
	return nil
}
