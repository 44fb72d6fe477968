package controller

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/core/survey"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
)

// kept is a record and the revision that last changed it.
type kept[T any] struct {
	value    T
	revision int64
}

// mirror is what the store holds, as far as the controller cares. It belongs
// to one goroutine.
type mirror struct {
	nodes      map[spec.NodeName]kept[record.Node]
	wishes     map[spec.NodeName]kept[record.NodeWish]
	reports    map[spec.NodeName]kept[survey.Report]
	services   map[spec.ServiceName]kept[record.Service]
	placements map[spec.ServiceName]kept[record.Placement]
	owners     map[string]kept[spec.ServiceName] // of addresses, by address
	unread     map[spec.ServiceName]bool         // services whose record is not understood
	lease      kept[record.Lease]
	cell       kept[record.Cell]
	wish       kept[record.CellWish]
	past
	archive    archive
	removed    time.Time // when a node was removed last
	lost       uint32    // slots of nodes that are lost
	controller int64     // revision of the controller's key, 0 if there is none
	revision   int64
}

func newMirror() *mirror {
	return &mirror{
		nodes:      make(map[spec.NodeName]kept[record.Node]),
		wishes:     make(map[spec.NodeName]kept[record.NodeWish]),
		reports:    make(map[spec.NodeName]kept[survey.Report]),
		services:   make(map[spec.ServiceName]kept[record.Service]),
		placements: make(map[spec.ServiceName]kept[record.Placement]),
		owners:     make(map[string]kept[spec.ServiceName]),
		unread:     make(map[spec.ServiceName]bool),
		past:       newPast(),
	}
}

// apply takes over one change, seen at now. What the mirror has newer, it
// keeps. The error says that a record cannot be read.
func (m *mirror) apply(e store.Event, now time.Time) error {
	m.revision = max(m.revision, e.Revision)
	prefix, name := split(e.Key)
	if slices.Contains(surveyed(), cmp.Or(prefix, e.Key)) {
		return m.applySurveyed(e, now)
	}
	switch e.Key {
	case record.KeyController:
		m.controller = e.Revision
		if e.Deleted {
			m.controller = 0
		}
		return nil
	case record.KeyCell:
		if e.Deleted || e.Revision <= m.cell.revision {
			return nil
		}
		return read(e, &m.cell)
	case record.KeyHeld:
		return m.past.applyOne(e)
	}
	switch prefix {
	case record.KeyAddressUses:
		return take(m.owners, name, e)
	case record.KeyRevoked:
		return m.applyRevoked(e)
	case record.KeyDecisions:
		m.archive.apply(e)
	}
	return nil
}

// applySurveyed takes over a change of what a snapshot is made of.
func (m *mirror) applySurveyed(e store.Event, now time.Time) error {
	switch e.Key {
	case record.KeyLease:
		if e.Deleted || e.Revision <= m.lease.revision {
			return nil
		}
		return read(e, &m.lease)
	case record.KeyCellWish:
		if e.Deleted || e.Revision <= m.wish.revision {
			return nil
		}
		return read(e, &m.wish)
	case record.KeyRecovery, record.KeyStorm:
		return m.past.applyOne(e)
	}
	prefix, name := split(e.Key)
	switch prefix {
	case record.KeyNodes:
		return take(m.nodes, spec.NodeName(name), e)
	case record.KeyWishes:
		return take(m.wishes, spec.NodeName(name), e)
	case record.KeyReports:
		return m.applyReport(spec.NodeName(name), e, now)
	case record.KeyServices:
		return m.applyService(spec.ServiceName(name), e)
	case record.KeyPlacements:
		return m.applyPlacement(spec.ServiceName(name), e)
	case record.KeyNodeHistories, record.KeyServiceHistories:
		return m.past.applyMany(prefix, name, e)
	}
	return nil
}

// applyService leaves out a service that is not understood: nothing is done
// about it until somebody applies it again.
func (m *mirror) applyService(name spec.ServiceName, e store.Event) error {
	err := take(m.services, name, e)
	if err != nil {
		delete(m.services, name)
		m.unread[name] = true
		return err
	}
	delete(m.unread, name)
	return nil
}

// applyPlacement takes a placement that is not understood as an empty one,
// which is written anew.
func (m *mirror) applyPlacement(name spec.ServiceName, e store.Event) error {
	err := take(m.placements, name, e)
	if err != nil {
		m.placements[name] = kept[record.Placement]{revision: e.Revision}
	}
	return err
}

func (m *mirror) applyReport(name spec.NodeName, e store.Event, now time.Time) error {
	read := make(map[spec.NodeName]kept[record.Report])
	if err := take(read, name, e); err != nil {
		return err
	}
	if e.Deleted {
		delete(m.reports, name)
		return nil
	}
	m.reports[name] = kept[survey.Report]{survey.Report{Report: read[name].value, Seen: now}, e.Revision}
	return nil
}

func (m *mirror) applyRevoked(e store.Event) error {
	if e.Deleted {
		return nil
	}
	var fresh kept[record.Revoked]
	if err := read(e, &fresh); err != nil {
		return err
	}
	if fresh.value.At.After(m.removed) {
		m.removed = fresh.value.At
	}
	return nil
}

// take puts a change into one map.
func take[K comparable, T any](into map[K]kept[T], name K, e store.Event) error {
	old := into[name]
	if e.Revision <= old.revision {
		return nil
	}
	if e.Deleted {
		delete(into, name)
		return nil
	}
	var fresh kept[T]
	if err := read(e, &fresh); err != nil {
		return err
	}
	into[name] = fresh
	return nil
}

func read[T any](e store.Event, to *kept[T]) error {
	var value T
	if err := json.Unmarshal(e.Value, &value); err != nil {
		return fmt.Errorf("read record %s: %w", e.Key, err)
	}
	*to = kept[T]{value, e.Revision}
	return nil
}

// split cuts a key after its first slash.
func split(key string) (prefix, name string) {
	i := strings.IndexByte(key, '/') + 1
	return key[:i], key[i:]
}
