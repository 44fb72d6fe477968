package cell

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
)

// ListEvents returns the newest recorded events that match ask, the newest last.
func (c *Clerk) ListEvents(ctx context.Context, ask request.Events) ([]event.Event, error) {
	limit := ask.Limit
	if limit <= 0 {
		limit = request.DefaultEvents
	}
	limit = min(limit, request.MaxEvents)

	var matching []event.Event
	err := c.attempt(ctx, "list events", func(ctx context.Context) (again, error) {
		entries, _, err := c.Store.List(ctx, record.KeyEvents)
		if err != nil {
			return false, err
		}
		matching = nil
		for _, entry := range entries {
			e, err := readEvent(entry)
			if err != nil {
				return false, err
			}
			if concerns(e, ask.Service, ask.Node) {
				matching = append(matching, e)
			}
		}
		return false, nil
	})
	if err != nil {
		return nil, err
	}
	return matching[max(0, len(matching)-limit):], nil
}

// FollowEvents calls f with the recorded events from ask.From on, then with
// each new one, in order and each once. It returns the first error of f, or
// when ctx ends or the store is away. Events that are deleted before they
// could be read are left out.
func (c *Clerk) FollowEvents(ctx context.Context, ask request.Follow, f func(event.Event) error) error {
	next, from := ask.From, int64(0)
	tell := func(entry store.Entry) error {
		e, err := readEvent(entry)
		if err != nil || e.Seq < next {
			return err
		}
		next = e.Seq + 1
		if !concerns(e, ask.Service, ask.Node) {
			return nil
		}
		return f(e)
	}
	for {
		if next > 0 {
			entries, revision, err := c.Store.List(ctx, record.KeyEvents)
			if err != nil {
				return outcome("follow events", err)
			}
			for _, entry := range entries {
				if err := tell(entry); err != nil {
					return err
				}
			}
			from = revision + 1
		}
		err := c.Store.Watch(ctx, record.KeyEvents, from, func(changes []store.Event) error {
			for _, change := range changes {
				if change.Deleted {
					continue
				}
				if err := tell(change.Entry); err != nil {
					return err
				}
			}
			return nil
		})
		if !errors.Is(err, store.ErrCompacted) {
			return outcome("follow events", err)
		}
		next = max(next, 1)
	}
}

func readEvent(entry store.Entry) (event.Event, error) {
	var e event.Event
	if err := json.Unmarshal(entry.Value, &e); err != nil {
		return event.Event{}, fmt.Errorf("read %s: %w", entry.Key, err)
	}
	seq, err := strconv.ParseUint(strings.TrimPrefix(entry.Key, record.KeyEvents), 10, 64)
	if err != nil {
		return event.Event{}, fmt.Errorf("read the key %s: %w", entry.Key, err)
	}
	e.Seq = seq
	return e, nil
}

func concerns(e event.Event, service spec.ServiceName, node spec.NodeName) bool {
	return (service == "" || e.Service == service) && (node == "" || e.Node == node || e.About == node)
}
