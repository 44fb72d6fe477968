package mirror

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/keelson/keelson/internal/base/atomicfile"
	"github.com/keelson/keelson/internal/engine/agent/lastknown"
	"github.com/keelson/keelson/internal/engine/cell"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

// ErrUnreadable means that what was kept cannot be used. The mirror begins with nothing.
var ErrUnreadable = errors.New("last known state cannot be used")

// kept is what an agent keeps of the cell, as far as there are records of it.
type kept struct {
	Cell       record.Cell                           `json:"cell"`
	Lease      record.Lease                          `json:"lease"`
	Wish       record.NodeWish                       `json:"wish"` // of this node
	Nodes      map[spec.NodeName]record.Node         `json:"nodes"`
	Services   map[spec.ServiceName]*record.Service  `json:"services"`
	Placements map[spec.ServiceName]record.Placement `json:"placements"`
	CellWish   record.CellWish                       `json:"cell_wish"`
}

// Recall has the mirror begin with what the agent of self kept in the file at path,
// so that who looks before the store answers sees what this node knows, and not an
// empty cell. It stays stale. A file that is not there is nothing to recall. Recall
// comes before Run. The error is [ErrUnreadable], or that of the file system.
func (m *Mirror) Recall(path string, self spec.NodeName) error {
	data, err := atomicfile.Read(path, lastknown.Limit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("recall the cell: %w", err)
	}
	var k kept
	if err := json.Unmarshal(data, &k); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrUnreadable, path, err)
	}
	r := cell.Records{
		Cell: k.Cell, Lease: k.Lease, Nodes: k.Nodes, Placements: k.Placements, Wish: k.CellWish,
		Wishes: map[spec.NodeName]record.NodeWish{self: k.Wish}, Services: map[spec.ServiceName]record.Service{},
	}
	for name, s := range k.Services {
		if s == nil || s.Spec.Name != name || !name.Valid() {
			return fmt.Errorf("%w: %s: service %q", ErrUnreadable, path, name)
		}
		s.Spec = s.Spec.Normalize()
		r.Services[name] = *s
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records = r
	return nil
}
