package app

import (
	"io"
	"time"

	"github.com/keelson/keelson/internal/core/crm"
	"github.com/keelson/keelson/internal/core/crm/vet"
	"github.com/keelson/keelson/internal/front/cli/pacemaker"
	"github.com/keelson/keelson/internal/model/cib"
)

// readPacemaker joins the command line to what understands Pacemaker's documents.
func readPacemaker() *pacemaker.Reader {
	return &pacemaker.Reader{
		Import: func(r io.Reader, now time.Time) (pacemaker.Imported, error) {
			root, changed, err := readCIB(r)
			if err != nil {
				return pacemaker.Imported{}, err
			}
			services, notes := crm.Import(root, now)
			return pacemaker.Imported{Services: services, Notes: append(changed, notes...)}, nil
		},
		Simulate: func(r io.Reader, now time.Time) (pacemaker.Simulated, error) {
			root, changed, err := readCIB(r)
			if err != nil {
				return pacemaker.Simulated{}, err
			}
			o := crm.Simulate(root, now)
			return pacemaker.Simulated{
				Before: simulatedSeats(o.Before), After: simulatedSeats(o.After),
				Nodes: o.Nodes, Steps: o.Steps, Why: o.Why, Not: append(changed, o.Not...),
			}, nil
		},
	}
}

// readCIB reads a document, and notes what of it is changed or passed over.
func readCIB(r io.Reader) (*cib.Element, []string, error) {
	root, err := cib.Read(r)
	if err != nil {
		return nil, nil, err
	}
	notes, err := vet.Check(root)
	return root, notes, err
}

func simulatedSeats(from map[string][]crm.Seat) map[string][]pacemaker.Seat {
	out := make(map[string][]pacemaker.Seat, len(from))
	for name, seats := range from {
		list := make([]pacemaker.Seat, 0, len(seats))
		for _, s := range seats {
			list = append(list, pacemaker.Seat(s))
		}
		out[name] = list
	}
	return out
}
