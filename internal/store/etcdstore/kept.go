package etcdstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

var errNoRevisions = errors.New("its database holds no keys")

// Kept returns the values that this server's own copy of the store has for keys
// under prefix, the prefix of a [Client]. Keys that it does not have are left
// out.
//
// It asks no other voter and uses no certificate, so it works on a server that
// is stopped or cut off, and what it returns may be out of date. The error is
// [ErrCorrupt] if the copy cannot be read.
func (s *Server) Kept(ctx context.Context, prefix string, keys ...string) (map[string][]byte, error) {
	wanted := make(map[string]string, len(keys))
	for _, key := range keys {
		wanted[prefix+"data/"+key] = key
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		kept, err := newest(s.options.database(), wanted)
		if err != nil {
			return nil, s.options.corrupt(s.options.database(), err)
		}
		return kept, nil
	}
	kept := make(map[string][]byte, len(keys))
	for full, key := range wanted {
		got, err := s.running.Server.Range(ctx, &etcdserverpb.RangeRequest{Key: []byte(full), Serializable: true})
		if err != nil {
			return nil, fmt.Errorf("read this node's copy of %s: %w", key, err)
		}
		for _, kv := range got.GetKvs() {
			kept[key] = kv.GetValue()
		}
	}
	return kept, nil
}

// deletedBytes is the length of a revision in etcd's database that says that
// its key was deleted; others are a byte shorter.
const deletedBytes = 18

// newest reads the last value of each wanted key from a database, and returns
// them by what wanted calls them.
func newest(name string, wanted map[string]string) (map[string][]byte, error) {
	kept := make(map[string][]byte, len(wanted))
	err := readDatabase(name, func(tx *bbolt.Tx) error {
		revisions := tx.Bucket([]byte("key"))
		if revisions == nil {
			return errNoRevisions
		}
		settled := map[string]bool{}
		c := revisions.Cursor()
		for at, value := c.Last(); at != nil && len(settled) < len(wanted); at, value = c.Prev() {
			var kv mvccpb.KeyValue
			if err := proto.Unmarshal(value, &kv); err != nil {
				return err
			}
			full := string(kv.GetKey())
			key, want := wanted[full]
			if !want || settled[full] {
				continue
			}
			settled[full] = true
			if len(at) != deletedBytes {
				kept[key] = bytes.Clone(kv.GetValue())
			}
		}
		return nil
	})
	return kept, err
}
