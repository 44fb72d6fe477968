package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/keelson/keelson/internal/base/atomicfile"
	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

const (
	maxLastKnown = 32 << 20    // bytes of the file
	saveEvery    = time.Second // shortest time between two writes
)

// readLastKnown returns the copy at path of what the cell wanted last.
func readLastKnown(path string, self spec.NodeName) (*view, error) {
	data, err := atomicfile.Read(path, maxLastKnown)
	if err != nil {
		return nil, fmt.Errorf("last known state: %w", err)
	}
	v, err := parseLastKnown(data, self)
	if err != nil {
		return nil, fmt.Errorf("last known state %s: %w", path, err)
	}
	return v, nil
}

func parseLastKnown(data []byte, self spec.NodeName) (*view, error) {
	v := newView(self)
	if err := json.Unmarshal(data, v); err != nil {
		return nil, fmt.Errorf("%w: %w", errRecord, err)
	}
	fresh := newView(self) // for maps that were null
	if v.Nodes == nil {
		v.Nodes = fresh.Nodes
	}
	if v.Placements == nil {
		v.Placements = fresh.Placements
	}
	services := v.Services
	v.Services = make(map[spec.ServiceName]*record.Service, len(services))
	for name, s := range services {
		if s == nil || s.Spec.Name != name || !name.Valid() {
			return nil, fmt.Errorf("%w: service %q", errRecord, name)
		}
		s.Spec = s.Spec.Normalize()
		v.Services[name] = s
	}
	return v, nil
}

// saver writes the copy, the newest view at most once in saveEvery.
type saver struct {
	options *Options
	views   mailbox[*view]
}

func (s *saver) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case v := <-s.views:
			if err := s.save(v); err != nil {
				s.options.Log.Warn("last known state not saved", logkey.Err, err)
			}
		}
		if s.options.Clock.Sleep(ctx, saveEvery) != nil {
			s.last()
			return
		}
	}
}

// last saves what came in while the agent ended.
func (s *saver) last() {
	select {
	case v := <-s.views:
		if err := s.save(v); err != nil {
			s.options.Log.Warn("last known state not saved", logkey.Err, err)
		}
	default:
	}
}

func (s *saver) save(v *view) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("last known state: %w", err)
	}
	if len(data) > maxLastKnown {
		return fmt.Errorf("last known state of %d bytes: %w", len(data), atomicfile.ErrTooLarge)
	}
	return atomicfile.Write(s.options.LastKnown, data, 0o600)
}
