package agent

import (
	"encoding/json"
	"fmt"

	"github.com/keelson/keelson/internal/base/atomicfile"
	"github.com/keelson/keelson/internal/engine/agent/lastknown"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

// readLastKnown returns the copy at path of what the cell wanted last.
func readLastKnown(path string, self spec.NodeName) (*view, error) {
	data, err := atomicfile.Read(path, lastknown.Limit)
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
