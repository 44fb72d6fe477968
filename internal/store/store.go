// Package store is the contract of the cell's shared state: a small,
// strictly serializable key-value store with guarded transactions, watches and
// sessions.
//
// Packages etcdstore and memstore implement it; storetest is the suite that
// both must pass. Nothing else knows what is underneath. The store is never in
// the path of a failover: a caller must bound every call with a context and
// must go on without an answer.
package store

import (
	"context"
	"errors"
	"time"
)

var (
	// ErrUnavailable means that the store did not answer in time or has no
	// quorum. A write may or may not have happened; repeat it only as a guarded
	// transaction.
	ErrUnavailable = errors.New("store unavailable")

	// ErrCompacted means that a watch asked for a revision that is gone. List
	// again and watch from there.
	ErrCompacted = errors.New("revision compacted")

	// ErrTooLarge means that a value or transaction is over the store's limit
	// (1 MiB). Nothing was written.
	ErrTooLarge = errors.New("value too large")

	// ErrSessionEnded means that an op named a session that is over. Nothing was
	// written; open a new session.
	ErrSessionEnded = errors.New("session ended")
)

// Entry is one key with its value.
type Entry struct {
	Key   string
	Value []byte
	// Revision is the store's revision that last changed the key. In an event
	// of a deletion it is that of the deletion and Value is nil.
	Revision int64
}

// Event is one change of one key.
type Event struct {
	Entry
	Deleted bool
}

// Guard is a condition of a transaction: Key's revision is Revision. Revision
// 0 means that the key does not exist.
type Guard struct {
	Key      string
	Revision int64
}

// Op is one write of a transaction: a put, or with Delete a deletion. With
// Session set the key vanishes when that session ends.
type Op struct {
	Key     string
	Value   []byte
	Delete  bool
	Session Session
}

// Store is the shared state. It is safe for concurrent use.
type Store interface {
	// Get returns the entry of key and whether it exists. The answer is as new
	// as any write that was answered before the call.
	Get(ctx context.Context, key string) (Entry, bool, error)

	// List returns all entries whose key begins with prefix, sorted by key, and
	// the revision at which this was so. An empty prefix lists all.
	List(ctx context.Context, prefix string) ([]Entry, int64, error)

	// Txn carries out ops, all or none, if every guard holds. It returns
	// whether it did and the store's revision. A transaction has at most
	// [MaxOps] guards and ops together.
	Txn(ctx context.Context, guards []Guard, ops []Op) (done bool, revision int64, err error)

	// Watch calls f with batches of changes to keys that begin with prefix, in
	// order, each exactly once, from revision from on (from itself included;
	// 0 means from now on). It returns when ctx ends (its error), when f returns
	// an error (that error), or with ErrCompacted or ErrUnavailable.
	Watch(ctx context.Context, prefix string, from int64, f func([]Event) error) error

	// Session opens a session that ends ttl after the caller has stopped to
	// renew it; renewal goes on in the background until Close or ctx ends. ttl
	// is rounded up to whole seconds. A session is for tidying up; its end
	// proves nothing about time.
	Session(ctx context.Context, ttl time.Duration) (Session, error)
}

// Session is a claim to be alive, to which keys can be tied.
type Session interface {
	// Done is closed when the session has ended or can no longer be renewed.
	Done() <-chan struct{}
	// Close ends the session and deletes its keys.
	Close(ctx context.Context) error
}

// Limits.
const (
	MaxOps   = 100
	MaxValue = 1 << 20
)
