package pki

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
)

// Limits of what a node may say of itself.
const (
	maxLinks   = 8
	maxLabels  = 64
	maxVersion = 64
	// The ports of a node that names none.
	defaultAPIPort, defaultPeerPort, defaultClientPort = 7480, 7482, 7483
)

// Join makes the caller a member: it verifies the token, gives the node the
// lowest free slot, signs its certificate and writes it all in one
// transaction, which also uses up the token. The answer has no endpoints and
// no notes; the caller knows them.
//
// A join whose answer was lost is answered again, as long as the token lasts,
// to the same node name with the same key. A member whose certificate has
// expired joins again the same way with a new token and keeps its id and slot.
//
// Errors: [ErrTokenMalformed], [ErrTokenUnknown], [ErrTokenUsed],
// [ErrTokenExpired], [ErrClockOff], [ErrNameTaken], [ErrAddressTaken],
// [ErrUnreachable], [ErrCellFull], [ErrRequest], [ErrConflict]. None of them uses up the token.
func (r *Registrar) Join(ctx context.Context, ask request.Join) (request.Joined, error) {
	token, err := ParseToken(ask.Token)
	if err != nil {
		return request.Joined{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, operationTimeout)
	defer cancel()
	authority, cell, err := r.authority(ctx)
	if err != nil {
		return request.Joined{}, err
	}
	if !token.Pins(authority.Certificate()) {
		return request.Joined{}, token.unknown()
	}
	for range maxAttempts {
		j, err := r.openJoin(ctx, token, ask)
		if err != nil {
			return request.Joined{}, err
		}
		issued, err := authority.SignNode(ask.CSR, j.node, j.now)
		if err != nil {
			return request.Joined{}, err
		}
		j.node.Certify(issued.Serial)
		done, err := r.enter(ctx, j)
		if err != nil {
			return request.Joined{}, err
		}
		if done {
			return request.Joined{
				Certificate: issued.Certificate, CA: authority.CertPEM(),
				Cell: cell.Name, CellID: cell.ID, NodeID: j.node.ID, Slot: j.node.Slot,
			}, nil
		}
	}
	return request.Joined{}, conflict("the node " + string(ask.Name) + " did not join")
}

// joining is one attempt at a join: what was read, and the record to write.
type joining struct {
	now    time.Time
	node   record.Node
	guards []store.Guard
	// spent is the token to delete, empty if it is used up already.
	spent string
}

// openJoin reads what a join depends on and decides what it would write. The
// token is verified before anything else is looked at or told.
func (r *Registrar) openJoin(ctx context.Context, token Token, ask request.Join) (joining, error) {
	j := joining{now: r.Clock.Now()}
	nodes, err := list[record.Node](ctx, r.Store, record.KeyNodes)
	if err != nil {
		return joining{}, err
	}
	tokenKey := record.KeyTokens + token.ID
	unused, tokenRevision, err := get[record.Token](ctx, r.Store, tokenKey)
	if err != nil {
		return joining{}, err
	}
	before := kept[record.Node]{key: record.KeyNodes + string(ask.Name)}
	for _, n := range nodes {
		if n.value.Name == ask.Name {
			before = n
		}
	}

	proof, err := usable(token, unused, tokenRevision != 0, nodes, ask.Name)
	if err != nil {
		return joining{}, err
	}
	if err := token.Verify(proof, j.now); err != nil {
		return joining{}, err
	}
	if tokenRevision != 0 {
		j.spent = tokenKey
		j.guards = append(j.guards, store.Guard{Key: tokenKey, Revision: tokenRevision})
	}
	if err := checkClocks(ask, j.now); err != nil {
		return joining{}, err
	}
	checked, err := checkRequest(ask.CSR, string(ask.Name))
	if err != nil {
		return joining{}, err
	}
	if before.revision != 0 && !bytes.Equal(before.value.KeyHash, checked.keyHash) {
		return joining{}, nameTaken(before.value)
	}

	j.node = describe(ask, before.value)
	j.node.KeyHash, j.node.Token = checked.keyHash, &proof
	j.guards = append(j.guards, store.Guard{Key: before.key, Revision: before.revision})
	if err := checkNode(j.node); err != nil {
		return joining{}, err
	}
	if err := checkAddress(j.node, nodes); err != nil {
		return joining{}, err
	}
	if before.revision != 0 {
		return j, nil
	}
	j.node.ID, j.node.Joined = randomID(), j.now.UTC()
	if j.node.Slot, err = r.freeSlot(ctx); err != nil {
		return joining{}, err
	}
	j.guards = append(j.guards, store.Guard{Key: record.SlotKey(j.node.Slot)})
	return j, nil
}

// usable returns what the cell keeps of token: the record that still waits to
// be used, or that of the node name if it is what name joined with.
func usable(token Token, unused record.Token, found bool, nodes []kept[record.Node], name spec.NodeName) (record.Token, error) {
	if found {
		return unused, nil
	}
	for _, n := range nodes {
		used := n.value.Token
		if used == nil || used.ID != token.ID {
			continue
		}
		if err := token.Verify(*used, time.Time{}); err != nil {
			return record.Token{}, err
		}
		if n.value.Name != name {
			return record.Token{}, say(request.Denied, ErrTokenUsed,
				fmt.Sprintf("the token %s was used by the node %s", token.ID, n.value.Name),
				"a token is good for one node; make a new one with `keelson token create` on a member of the cell")
		}
		return *used, nil
	}
	return record.Token{}, token.unknown()
}

// enter writes the join. It returns false if something it rests on has changed.
func (r *Registrar) enter(ctx context.Context, j joining) (bool, error) {
	node, err := put{record.KeyNodes + string(j.node.Name), j.node}.op()
	if err != nil {
		return false, err
	}
	slot, err := put{record.SlotKey(j.node.Slot), j.node.Name}.op()
	if err != nil {
		return false, err
	}
	ops := []store.Op{node, slot}
	if j.spent != "" {
		ops = append(ops, store.Op{Key: j.spent, Delete: true})
	}
	done, _, err := r.Store.Txn(ctx, j.guards, ops)
	if err != nil {
		return false, fmt.Errorf("record the node %s: %w", j.node.Name, err)
	}
	return done, nil
}

func (r *Registrar) freeSlot(ctx context.Context) (uint8, error) {
	slots, err := list[spec.NodeName](ctx, r.Store, record.KeySlots)
	if err != nil {
		return 0, err
	}
	taken := make(map[string]bool, len(slots))
	for _, s := range slots {
		taken[s.key] = true
	}
	for slot := range uint8(MaxNodes) {
		if !taken[record.SlotKey(slot)] {
			return slot, nil
		}
	}
	return 0, say(request.Exhausted, ErrCellFull, fmt.Sprintf("the cell has %d nodes, which is all it can have", MaxNodes),
		"remove a node that is no longer used, or make a second cell")
}

// describe returns the record of the node that asks, on top of the one it had.
func describe(ask request.Join, before record.Node) record.Node {
	node := before
	node.Name, node.Address, node.Links = ask.Name, ask.Address, ask.Links
	node.Ports, node.Labels, node.Witness = ask.Ports, ask.Labels, ask.Witness
	node.Version = ask.Version
	return node
}

func checkClocks(ask request.Join, now time.Time) error {
	if ask.Clock.IsZero() {
		return badRequest("the join does not say what the node's clock shows")
	}
	difference := ask.Clock.Sub(now).Round(time.Second)
	if difference.Abs() <= MaxClockDifference {
		return nil
	}
	return say(request.Refused, ErrClockOff,
		fmt.Sprintf("the clock of %s says %s, that of the cell says %s: they differ by %s, and the limit is %s",
			ask.Name, stamp(ask.Clock), stamp(now), difference.Abs(), MaxClockDifference),
		"set the clock that is wrong (NTP keeps it right) and join again; the token is still good")
}

func nameTaken(owner record.Node) error {
	return say(request.Exists, ErrNameTaken,
		fmt.Sprintf("the name %s belongs to the node at %s, which joined at %s", owner.Name, owner.Address, stamp(owner.Joined)),
		fmt.Sprintf("choose another name with --name; if that node is gone for good, remove it with `keelson node remove %s --force`", owner.Name))
}

// checkNode refuses with [ErrRequest] what a node cannot say of itself.
func checkNode(n record.Node) error {
	if _, err := netip.ParseAddr(string(n.Name)); err == nil || !n.Name.Valid() {
		return badRequest("%q is not a node name: use 1 to 63 of a-z, 0-9, '-' and '.', with a letter or digit first and last, and no IP address", n.Name)
	}
	if !validHost(n.Address) {
		return badRequest("%q is not an address that other nodes could reach %s by: give an IP address or a host name, without a port", n.Address, n.Name)
	}
	if len(n.Links) > maxLinks {
		return badRequest("%s names %d links; the limit is %d", n.Name, len(n.Links), maxLinks)
	}
	for _, link := range n.Links {
		if !validHost(link) {
			return badRequest("%q is not an address for a link of %s: give an IP address or a host name, without a port", link, n.Name)
		}
	}
	for _, port := range []int{n.Ports.API, n.Ports.Link, n.Ports.Peer, n.Ports.Client} {
		if port < 0 || port > 65535 {
			return badRequest("%d is not a port", port)
		}
	}
	if api, peer, client := apiPort(n), cmp.Or(n.Ports.Peer, defaultPeerPort), cmp.Or(n.Ports.Client, defaultClientPort); api == peer || api == client || peer == client {
		return badRequest("%s cannot open ports %d, %d and %d: two of them are the same", n.Name, api, peer, client)
	}
	if len(n.Labels) > maxLabels {
		return badRequest("%s has %d labels; the limit is %d", n.Name, len(n.Labels), maxLabels)
	}
	for key, value := range n.Labels {
		if !spec.ValidLabel(key, value) {
			return badRequest("%q is not a label", key+"="+value)
		}
	}
	if len(n.Version) > maxVersion {
		return badRequest("the version of %s has %d characters; the limit is %d", n.Name, len(n.Version), maxVersion)
	}
	return nil
}

func validHost(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		// An IPv6 address of one link would need the name of the link with it.
		return !addr.IsUnspecified() && !addr.IsMulticast() && addr.Zone() == "" && (addr.Is4() || !addr.IsLinkLocalUnicast())
	}
	return spec.NodeName(strings.ToLower(host)).Valid() && strings.ContainsFunc(host, func(r rune) bool { return r > '9' })
}

// loopback reports whether a server has that address only for itself.
func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback() || strings.EqualFold(host, "localhost")
}

// checkAddress refuses an address and API port that another node has, and an
// address that the other nodes cannot reach.
func checkAddress(n record.Node, nodes []kept[record.Node]) error {
	for _, other := range nodes {
		o := other.value
		if o.Name != n.Name && loopback(o.Address) != loopback(n.Address) {
			return say(request.Refused, ErrUnreachable,
				fmt.Sprintf("%s (%s) and %s (%s) cannot reach each other: one of the addresses is for that server alone", n.Name, n.Address, o.Name, o.Address),
				"give the address by which the other nodes reach it with --address, where the one is that has none; the token is still good")
		}
		if o.Name == n.Name || !strings.EqualFold(o.Address, n.Address) || apiPort(o) != apiPort(n) {
			continue
		}
		return say(request.Exists, ErrAddressTaken,
			fmt.Sprintf("the address %s, port %d, belongs to the node %s", n.Address, apiPort(n), o.Name),
			fmt.Sprintf("give %s another address with --address; if %s is gone for good, remove it with `keelson node remove %s --force`", n.Name, o.Name, o.Name))
	}
	return nil
}

func apiPort(n record.Node) int {
	return cmp.Or(n.Ports.API, defaultAPIPort)
}
