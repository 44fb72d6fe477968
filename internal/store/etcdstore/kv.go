package etcdstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keelson/keelson/internal/store"
)

var (
	errEmptyKey = errors.New("the key is empty")
	errForeign  = errors.New("the session belongs to another store")
)

// Get implements [store.Store].
func (c *Client) Get(ctx context.Context, key string) (store.Entry, bool, error) {
	if key == "" {
		return store.Entry{}, false, fmt.Errorf("get: %w", errEmptyKey)
	}
	var answer *clientv3.GetResponse
	err := c.try(ctx, func(ctx context.Context) (err error) {
		answer, err = c.etcd.Get(ctx, c.data(key))
		return err
	})
	if err != nil {
		return store.Entry{}, false, fmt.Errorf("get %s: %w", key, err)
	}
	if len(answer.Kvs) == 0 {
		return store.Entry{}, false, nil
	}
	kv := answer.Kvs[0]
	return store.Entry{Key: key, Value: kv.Value, Revision: kv.ModRevision}, true, nil
}

// List implements [store.Store].
func (c *Client) List(ctx context.Context, prefix string) ([]store.Entry, int64, error) {
	var answer *clientv3.GetResponse
	err := c.try(ctx, func(ctx context.Context) (err error) {
		answer, err = c.etcd.Get(ctx, c.data(prefix), clientv3.WithPrefix(),
			clientv3.WithSort(clientv3.SortByKey, clientv3.SortAscend))
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("list %s: %w", prefix, err)
	}
	entries := make([]store.Entry, 0, len(answer.Kvs))
	for _, kv := range answer.Kvs {
		entries = append(entries, store.Entry{
			Key: strings.TrimPrefix(string(kv.Key), c.data("")), Value: kv.Value, Revision: kv.ModRevision,
		})
	}
	return entries, answer.Header.GetRevision(), nil
}

// slot is the right to have one transaction under way. Its marker is a key of
// etcd that every transaction of the slot compares and writes. So of all
// attempts of a transaction, early and late, one at most can succeed, and its
// token tells that it did.
type slot struct {
	key      string
	known    bool  // revision is the marker's, as far as this client knows
	revision int64 // 0: the marker does not exist
}

// Txn implements [store.Store]. At most [slots] transactions of one client are
// under way at once; further ones wait.
func (c *Client) Txn(ctx context.Context, guards []store.Guard, ops []store.Op) (bool, int64, error) {
	if err := ctx.Err(); err != nil {
		return false, 0, fmt.Errorf("transaction: %w", err)
	}
	compares, writes, err := c.compile(guards, ops)
	if err != nil {
		return false, 0, fmt.Errorf("transaction: %w", err)
	}
	if len(ops) == 0 {
		done, revision, err := c.ask(ctx, compares)
		if err != nil {
			return false, 0, fmt.Errorf("transaction: %w", err)
		}
		return done, revision, nil
	}
	select {
	case <-ctx.Done():
		return false, 0, fmt.Errorf("transaction: %w", ctx.Err())
	case s := <-c.slots:
		defer func() { c.slots <- s }()
		w := write{client: c, slot: s, compares: compares, ops: writes, token: rand.Text()}
		done, revision, err := w.run(ctx)
		if err != nil {
			return false, 0, fmt.Errorf("transaction: %w", err)
		}
		return done, revision, nil
	}
}

// compile checks a transaction against the store's limits and turns it into
// etcd's terms.
func (c *Client) compile(guards []store.Guard, ops []store.Op) ([]clientv3.Cmp, []clientv3.Op, error) {
	if n := len(guards) + len(ops); n > store.MaxOps {
		return nil, nil, fmt.Errorf("%d guards and ops, at most %d: %w", n, store.MaxOps, store.ErrTooLarge)
	}
	compares := make([]clientv3.Cmp, 0, len(guards)+1)
	for _, g := range guards {
		compares = append(compares, clientv3.Compare(clientv3.ModRevision(c.data(g.Key)), "=", g.Revision))
	}
	writes := make([]clientv3.Op, 0, len(ops)+1)
	size := 0
	for _, op := range ops {
		size += len(op.Value)
		switch {
		case op.Key == "":
			return nil, nil, errEmptyKey
		case op.Delete:
			writes = append(writes, clientv3.OpDelete(c.data(op.Key)))
		case op.Session == nil:
			writes = append(writes, clientv3.OpPut(c.data(op.Key), string(op.Value)))
		default:
			own, ok := op.Session.(*session)
			if !ok || own.client != c {
				return nil, nil, fmt.Errorf("%s: %w", op.Key, errForeign)
			}
			writes = append(writes, clientv3.OpPut(c.data(op.Key), string(op.Value), clientv3.WithLease(own.id)))
		}
	}
	if size > store.MaxValue {
		return nil, nil, fmt.Errorf("%d bytes, at most %d: %w", size, store.MaxValue, store.ErrTooLarge)
	}
	return compares, writes, nil
}

// ask tells whether compares hold.
func (c *Client) ask(ctx context.Context, compares []clientv3.Cmp) (bool, int64, error) {
	var answer *clientv3.TxnResponse
	err := c.try(ctx, func(ctx context.Context) (err error) {
		answer, err = c.etcd.Txn(ctx).If(compares...).Commit()
		return err
	})
	if err != nil {
		return false, 0, err
	}
	return answer.Succeeded, answer.Header.GetRevision(), nil
}

// write is one transaction on its way through its attempts.
type write struct {
	client   *Client
	slot     *slot
	compares []clientv3.Cmp
	ops      []clientv3.Op
	token    string
	// doubtful: an attempt got no answer. It may have happened, and as long as
	// the marker stands it may still happen.
	doubtful bool
}

// verdict is what one attempt showed. The zero value means: try again.
type verdict struct {
	done, refused bool
	earlier       bool // done, by an attempt before this one
	revision      int64
}

func (w *write) run(ctx context.Context) (bool, int64, error) {
	c := w.client
	var last error
	for range maxAttempts {
		var v verdict
		last = c.once(ctx, func(ctx context.Context) (err error) {
			v, err = w.attempt(ctx)
			return err
		})
		switch {
		case last == nil && (v.done || v.refused):
			return v.done, v.revision, nil
		case last == nil:
			continue
		case !passing(last) && w.doubtful:
			w.slot.known = false
			return false, 0, fmt.Errorf("%w: after an attempt without an answer: %s", store.ErrUnavailable, last.Error())
		case !passing(last):
			return false, 0, translate(ctx, last)
		}
		if c.options.Clock.Sleep(ctx, c.options.Election/4) != nil {
			break
		}
	}
	w.slot.known = false
	if last == nil {
		return false, 0, fmt.Errorf("%w: another client uses the name %q", store.ErrUnavailable, c.options.Name)
	}
	return false, 0, c.unavailable(ctx, last)
}

func (w *write) attempt(ctx context.Context) (verdict, error) {
	if !w.slot.known {
		answer, err := w.client.etcd.Get(ctx, w.slot.key)
		if err != nil {
			return verdict{}, err
		}
		w.slot.revision, w.slot.known = 0, true
		if len(answer.Kvs) > 0 {
			w.slot.revision = answer.Kvs[0].ModRevision
		}
	}
	marker := clientv3.Compare(clientv3.ModRevision(w.slot.key), "=", w.slot.revision)
	v, err := w.commit(ctx, append(slices.Clip(w.compares), marker),
		append(slices.Clip(w.ops), clientv3.OpPut(w.slot.key, w.token)))
	if err != nil || !v.refused || !w.doubtful {
		return v, err
	}
	// A guard does not hold now. An attempt without an answer could still find
	// it holding later: move the marker, so that it cannot.
	revision := v.revision
	v, err = w.commit(ctx, []clientv3.Cmp{marker}, []clientv3.Op{clientv3.OpPut(w.slot.key, "moved")})
	if err == nil && v.done && !v.earlier {
		return verdict{refused: true, revision: revision}, nil
	}
	return v, err
}

// commit carries out ops if compares hold; both contain the marker.
func (w *write) commit(ctx context.Context, compares []clientv3.Cmp, ops []clientv3.Op) (verdict, error) {
	answer, err := w.client.etcd.Txn(ctx).If(compares...).Then(ops...).Else(clientv3.OpGet(w.slot.key)).Commit()
	if err != nil {
		w.doubtful = w.doubtful || passing(err)
		return verdict{}, err
	}
	revision := answer.Header.GetRevision()
	if answer.Succeeded {
		w.slot.revision = revision
		return verdict{done: true, revision: revision}, nil
	}
	found, at := read(answer.Responses)
	moved := at != w.slot.revision
	w.slot.revision = at
	switch {
	case found == w.token:
		return verdict{done: true, earlier: true, revision: at}, nil
	case moved:
		return verdict{}, nil
	default:
		return verdict{refused: true, revision: revision}, nil
	}
}

// read returns the marker's value and revision from the answer of a refused
// transaction.
func read(responses []*etcdserverpb.ResponseOp) (string, int64) {
	if len(responses) == 0 {
		return "", 0
	}
	kvs := responses[0].GetResponseRange().GetKvs()
	if len(kvs) == 0 {
		return "", 0
	}
	return string(kvs[0].Value), kvs[0].ModRevision
}
