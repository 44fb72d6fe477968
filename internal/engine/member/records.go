package member

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
)

// kept is a record with the revision it was read at.
type kept[T any] struct {
	value    T
	revision int64
}

// records are what a pass works on.
type records struct {
	nodes  map[spec.NodeName]kept[record.Node]
	wishes map[spec.NodeName]kept[record.NodeWish]
}

func (m *Member) load(ctx context.Context) (records, error) {
	nodes, err := list[record.Node](ctx, m.options.Store, record.KeyNodes)
	if err != nil {
		return records{}, err
	}
	wishes, err := list[record.NodeWish](ctx, m.options.Store, record.KeyWishes)
	if err != nil {
		return records{}, err
	}
	return records{nodes, wishes}, nil
}

func list[T any](ctx context.Context, s store.Store, prefix string) (map[spec.NodeName]kept[T], error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	entries, _, err := s.List(ctx, prefix)
	if err != nil {
		return nil, err
	}
	all := make(map[spec.NodeName]kept[T], len(entries))
	for _, e := range entries {
		k := kept[T]{revision: e.Revision}
		if err := json.Unmarshal(e.Value, &k.value); err != nil {
			return nil, fmt.Errorf("read %s: %w", e.Key, err)
		}
		all[spec.NodeName(strings.TrimPrefix(e.Key, prefix))] = k
	}
	return all, nil
}

func get[T any](ctx context.Context, s store.Store, key string) (k kept[T], found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	e, found, err := s.Get(ctx, key)
	if err != nil || !found {
		return k, false, err
	}
	k.revision = e.Revision
	if err := json.Unmarshal(e.Value, &k.value); err != nil {
		return k, false, fmt.Errorf("read %s: %w", key, err)
	}
	return k, true, nil
}

// put writes a record if it is still the one of revision, and returns whether
// it was. If not, the next pass decides anew.
func put(ctx context.Context, s store.Store, key string, revision int64, value any) (bool, error) {
	content, err := json.Marshal(value)
	if err != nil {
		return false, fmt.Errorf("write %s: %w", key, err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	done, _, err := s.Txn(ctx, []store.Guard{{Key: key, Revision: revision}}, []store.Op{{Key: key, Value: content}})
	return done, err
}
