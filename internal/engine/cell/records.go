package cell

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
)

// Records are the store's records that a status is made of. The zero value is
// an empty cell. Many may read a Records at once; [Records.Apply] needs it alone.
type Records struct {
	Cell       record.Cell
	Lease      record.Lease
	Controller spec.NodeName
	Nodes      map[spec.NodeName]record.Node
	Wishes     map[spec.NodeName]record.NodeWish
	Reports    map[spec.NodeName]record.Report
	Services   map[spec.ServiceName]record.Service
	Placements map[spec.ServiceName]record.Placement
	Pending    map[spec.ServiceName]record.Pending
	Wish       record.CellWish // of the whole cell

	// What the controller remembers, and what bounds it.
	NodePast    map[spec.NodeName]fact.NodeHistory
	ServicePast map[spec.ServiceName]fact.ServiceHistory
	Storm       *fact.Storm  // nil: there is none
	Held        *record.Held // nil: plans are not held back
	Recovery    spec.Recovery
}

// sections are the prefixes and keys that Records is made of.
func sections() []string {
	return []string{
		record.KeyCell, record.KeyLease, record.KeyController, record.KeyNodes, record.KeyWishes,
		record.KeyReports, record.KeyServices, record.KeyPlacements, record.KeyCellWish,
		record.KeyNodeHistories, record.KeyServiceHistories, record.KeyStorm, record.KeyHeld, record.KeyRecovery,
		record.KeyPending,
	}
}

// Load reads all records. The revision is one from which a watch misses
// nothing: what changed during the reading is told again.
func Load(ctx context.Context, s store.Store) (Records, int64, error) {
	var r Records
	var from int64
	for i, prefix := range sections() {
		entries, revision, err := s.List(ctx, prefix)
		if err != nil {
			return Records{}, 0, fmt.Errorf("list %s: %w", prefix, err)
		}
		if i == 0 {
			from = revision + 1
		}
		for _, e := range entries {
			if err := r.Apply(store.Event{Entry: e}); err != nil {
				return Records{}, 0, err
			}
		}
	}
	return r, from, nil
}

// Apply brings one change of the store into r. Keys that are no part of it are
// passed over. On an error, a record that cannot be read, r is as before.
func (r *Records) Apply(e store.Event) error {
	switch e.Key {
	case record.KeyCell:
		return one(&r.Cell, e)
	case record.KeyLease:
		return one(&r.Lease, e)
	case record.KeyCellWish:
		return one(&r.Wish, e)
	case record.KeyHeld:
		return one(&r.Held, e)
	case record.KeyStorm:
		return one(&r.Storm, e)
	case record.KeyRecovery:
		return one(&r.Recovery, e)
	case record.KeyController:
		r.Controller = ""
		if !e.Deleted {
			r.Controller = spec.NodeName(name(e.Value))
		}
		return nil
	}
	prefix, _, nested := strings.Cut(e.Key, "/")
	if !nested {
		return nil
	}
	switch prefix + "/" {
	case record.KeyNodes:
		return many(&r.Nodes, record.KeyNodes, e)
	case record.KeyWishes:
		return many(&r.Wishes, record.KeyWishes, e)
	case record.KeyReports:
		return many(&r.Reports, record.KeyReports, e)
	case record.KeyServices:
		return many(&r.Services, record.KeyServices, e)
	case record.KeyPlacements:
		return many(&r.Placements, record.KeyPlacements, e)
	case record.KeyNodeHistories:
		return many(&r.NodePast, record.KeyNodeHistories, e)
	case record.KeyServiceHistories:
		return many(&r.ServicePast, record.KeyServiceHistories, e)
	case record.KeyPending:
		return many(&r.Pending, record.KeyPending, e)
	}
	return nil
}

// one sets the record at a key of its own.
func one[T any](to *T, e store.Event) error {
	var fresh T
	if !e.Deleted {
		if err := json.Unmarshal(e.Value, &fresh); err != nil {
			return fmt.Errorf("read %s: %w", e.Key, err)
		}
	}
	*to = fresh
	return nil
}

// many sets the record of one name.
func many[K ~string, V any](to *map[K]V, prefix string, e store.Event) error {
	key := K(strings.TrimPrefix(e.Key, prefix))
	if e.Deleted {
		delete(*to, key)
		return nil
	}
	var fresh V
	if err := json.Unmarshal(e.Value, &fresh); err != nil {
		return fmt.Errorf("read %s: %w", e.Key, err)
	}
	if *to == nil {
		*to = make(map[K]V)
	}
	(*to)[key] = fresh
	return nil
}

// Clone returns a copy whose maps are its own.
func (r Records) Clone() Records {
	r.Nodes = maps.Clone(r.Nodes)
	r.Wishes = maps.Clone(r.Wishes)
	r.Reports = maps.Clone(r.Reports)
	r.Services = maps.Clone(r.Services)
	r.Placements = maps.Clone(r.Placements)
	r.NodePast = maps.Clone(r.NodePast)
	r.ServicePast = maps.Clone(r.ServicePast)
	r.Pending = maps.Clone(r.Pending)
	return r
}

// name reads a value that is a name, with or without JSON's quotes.
func name(value []byte) string {
	var s string
	if json.Unmarshal(value, &s) == nil {
		return s
	}
	return string(value)
}

// Deadlines are those of the changes that wait to be confirmed.
func (r Records) Deadlines() []time.Time {
	all := make([]time.Time, 0, len(r.Pending))
	for _, p := range r.Pending {
		all = append(all, p.Deadline)
	}
	return all
}
