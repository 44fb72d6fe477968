package pki

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
)

// Limits of the registrar.
const (
	// operationTimeout bounds one call with all its attempts.
	operationTimeout = 15 * time.Second
	// maxAttempts is how often a transaction is tried when others change the
	// same records. A whole cell may join at once, and each of them may lose
	// against all others.
	maxAttempts = 2 * MaxNodes
)

// Registrar keeps the cell's book of members in the store: it makes tokens,
// lets nodes join, renews their certificates and removes them. Every change is
// one guarded transaction, so that any number of nodes may do it at the same
// time. It is safe for concurrent use.
//
// All methods return the store's errors too. After [store.ErrUnavailable] a
// change may have happened; every method may be called again.
type Registrar struct {
	Store store.Store
	Clock clock.Clock
}

// CreateToken makes a one-time token for the cell, valid for ask.Valid. The
// answer has no address; the caller knows where it listens. It returns
// [ErrRequest] for a time that is negative or over [request.MaxTokenValid].
func (r *Registrar) CreateToken(ctx context.Context, ask request.Token) (request.TokenMade, error) {
	valid := ask.Valid
	if valid == 0 {
		valid = request.DefaultTokenValid
	}
	if valid < 0 || valid > request.MaxTokenValid {
		return request.TokenMade{}, badRequest("a token cannot be valid for %s: the limit is %s", valid, request.MaxTokenValid)
	}
	ctx, cancel := context.WithTimeout(ctx, operationTimeout)
	defer cancel()
	authority, _, err := r.authority(ctx)
	if err != nil {
		return request.TokenMade{}, err
	}
	for range maxAttempts {
		token := NewToken([TokenRandom]byte(randomBytes(TokenRandom)), authority.Certificate())
		kept := token.Record(r.Clock.Now().UTC(), valid, ask.By)
		op, err := put{record.KeyTokens + token.ID, kept}.op()
		if err != nil {
			return request.TokenMade{}, err
		}
		done, _, err := r.Store.Txn(ctx, []store.Guard{{Key: op.Key}}, []store.Op{op})
		if err != nil {
			return request.TokenMade{}, fmt.Errorf("keep the token %s: %w", token.ID, err)
		}
		if done {
			return request.TokenMade{Token: token.Text(), Expires: kept.Expires}, nil
		}
	}
	return request.TokenMade{}, conflict("the token was not made")
}

// RenewCertificate signs a new certificate for a member with the addresses
// that its record has now. The caller has made sure that ask.Node is who asks.
// It returns [ErrNotMember] if there is no such node or the request is not for
// its key, and [ErrRequest].
func (r *Registrar) RenewCertificate(ctx context.Context, ask request.Renew) (request.Renewed, error) {
	checked, err := checkRequest(ask.CSR, string(ask.Node))
	if err != nil {
		return request.Renewed{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, operationTimeout)
	defer cancel()
	authority, _, err := r.authority(ctx)
	if err != nil {
		return request.Renewed{}, err
	}
	for range maxAttempts {
		node, revision, err := r.member(ctx, ask.Node)
		if err != nil {
			return request.Renewed{}, err
		}
		if !bytes.Equal(node.KeyHash, checked.keyHash) {
			return request.Renewed{}, otherKey(ask.Node)
		}
		issued, err := authority.SignNode(ask.CSR, node, r.Clock.Now())
		if err != nil {
			return request.Renewed{}, err
		}
		node.Certify(issued.Serial)
		op, err := put{record.KeyNodes + string(node.Name), node}.op()
		if err != nil {
			return request.Renewed{}, err
		}
		done, _, err := r.Store.Txn(ctx, []store.Guard{{Key: op.Key, Revision: revision}}, []store.Op{op})
		if err != nil {
			return request.Renewed{}, fmt.Errorf("record the certificate of %s: %w", node.Name, err)
		}
		if done {
			return request.Renewed{Certificate: issued.Certificate, CA: authority.CertPEM()}, nil
		}
	}
	return request.Renewed{}, conflict("the certificate of node " + string(ask.Node) + " was not renewed")
}

// SignerFor returns a [Signer] for node that asks this registrar directly, for
// a node that reaches the store itself.
func (r *Registrar) SignerFor(node spec.NodeName) Signer { return localSigner{r, node} }

type localSigner struct {
	registrar *Registrar
	node      spec.NodeName
}

// RenewCertificate implements [Signer].
func (s localSigner) RenewCertificate(ctx context.Context, csr []byte) (request.Renewed, error) {
	return s.registrar.RenewCertificate(ctx, request.Renew{Node: s.node, CSR: csr})
}

// RemoveNode forgets a node: its record, slot, wish and report go, and every
// certificate it ever had is revoked. The caller has made sure that the node
// runs nothing any more. It returns [ErrStillVoter] while the node votes, and
// [ErrNotMember] if there is no such node.
func (r *Registrar) RemoveNode(ctx context.Context, name spec.NodeName, by string) error {
	ctx, cancel := context.WithTimeout(ctx, operationTimeout)
	defer cancel()
	for range maxAttempts {
		node, nodeRevision, err := r.member(ctx, name)
		if err != nil {
			return err
		}
		lease, leaseRevision, err := get[record.Lease](ctx, r.Store, record.KeyLease)
		if err != nil {
			return err
		}
		if (lease.Voters|lease.Prior)&(1<<node.Slot) != 0 {
			return say(request.Refused, ErrStillVoter, fmt.Sprintf("the node %s still votes on who runs what", name),
				"another node takes its vote first; try again in a moment")
		}
		now := r.Clock.Now().UTC()
		ops := []store.Op{
			{Key: record.KeyNodes + string(name), Delete: true},
			{Key: record.SlotKey(node.Slot), Delete: true},
			{Key: record.KeyWishes + string(name), Delete: true},
			{Key: record.KeyReports + string(name), Delete: true},
		}
		for _, key := range node.RevocationKeys() {
			revoked, err := put{key, record.Revoked{
				Node: name, At: now, Until: now.Add(CertificateLife + BackDate), By: by,
			}}.op()
			if err != nil {
				return err
			}
			ops = append(ops, revoked)
		}
		done, _, err := r.Store.Txn(ctx, []store.Guard{
			{Key: record.KeyNodes + string(name), Revision: nodeRevision},
			{Key: record.KeyLease, Revision: leaseRevision},
		}, ops)
		if err != nil {
			return fmt.Errorf("remove the node %s: %w", name, err)
		}
		if done {
			return nil
		}
	}
	return conflict("the node " + string(name) + " was not removed")
}

// Sweep deletes expired tokens, and revocations of what has expired anyway.
func (r *Registrar) Sweep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, operationTimeout)
	defer cancel()
	now := r.Clock.Now()
	tokens, err := list[record.Token](ctx, r.Store, record.KeyTokens)
	if err != nil {
		return err
	}
	revoked, err := list[record.Revoked](ctx, r.Store, record.KeyRevoked)
	if err != nil {
		return err
	}
	var over []store.Guard
	for _, t := range tokens {
		if now.After(t.value.Expires.Add(MaxClockDifference)) {
			over = append(over, store.Guard{Key: t.key, Revision: t.revision})
		}
	}
	for _, v := range revoked {
		if now.After(v.value.Until.Add(MaxClockDifference)) {
			over = append(over, store.Guard{Key: v.key, Revision: v.revision})
		}
	}
	for _, g := range over {
		if _, _, err := r.Store.Txn(ctx, []store.Guard{g}, []store.Op{{Key: g.Key, Delete: true}}); err != nil {
			return fmt.Errorf("delete %s: %w", g.Key, err)
		}
	}
	return nil
}

func (r *Registrar) authority(ctx context.Context) (*Authority, record.Cell, error) {
	cell, revision, err := get[record.Cell](ctx, r.Store, record.KeyCell)
	if err != nil {
		return nil, record.Cell{}, err
	}
	if revision == 0 {
		return nil, record.Cell{}, say(request.NotFound, ErrNoCell, "the store holds no cell",
			"make one with `keelson init` on the first server")
	}
	authority, err := AuthorityOf(cell)
	return authority, cell, err
}

func (r *Registrar) member(ctx context.Context, name spec.NodeName) (record.Node, int64, error) {
	node, revision, err := get[record.Node](ctx, r.Store, record.KeyNodes+string(name))
	if err != nil {
		return record.Node{}, 0, err
	}
	if revision == 0 {
		return record.Node{}, 0, say(request.NotFound, ErrNotMember, fmt.Sprintf("no node %s is a member of this cell", name),
			"see `keelson status` for the members")
	}
	return node, revision, nil
}

func otherKey(name spec.NodeName) error {
	return say(request.Denied, ErrNotMember, fmt.Sprintf("the node %s of this cell has another key", name),
		"a node that was removed, or lost its key, joins again with a new token")
}

func conflict(what string) error {
	return say(request.Conflict, ErrConflict, what+": too many others changed the same at once", "try again")
}

// put is a record on its way into the store.
type put struct {
	key   string
	value any
}

func (p put) op() (store.Op, error) {
	text, err := json.Marshal(p.value)
	if err != nil {
		return store.Op{}, fmt.Errorf("encode %s: %w", p.key, err)
	}
	return store.Op{Key: p.key, Value: text}, nil
}

// kept is a record as it is in the store. Its revision is 0 if it is not.
type kept[T any] struct {
	key      string
	value    T
	revision int64
}

func get[T any](ctx context.Context, s store.Store, key string) (value T, revision int64, err error) {
	entry, found, err := s.Get(ctx, key)
	if err != nil {
		return value, 0, fmt.Errorf("read %s: %w", key, err)
	}
	if !found {
		return value, 0, nil
	}
	k, err := decode[T](entry)
	return k.value, k.revision, err
}

func list[T any](ctx context.Context, s store.Store, prefix string) ([]kept[T], error) {
	entries, _, err := s.List(ctx, prefix)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", prefix, err)
	}
	all := make([]kept[T], 0, len(entries))
	for _, entry := range entries {
		k, err := decode[T](entry)
		if err != nil {
			return nil, err
		}
		all = append(all, k)
	}
	return all, nil
}

var errUnreadable = errors.New("record unreadable")

func decode[T any](entry store.Entry) (kept[T], error) {
	k := kept[T]{key: entry.Key, revision: entry.Revision}
	if err := json.Unmarshal(entry.Value, &k.value); err != nil {
		return kept[T]{}, fmt.Errorf("decode %s: %w: %w", entry.Key, errUnreadable, err)
	}
	return k, nil
}
