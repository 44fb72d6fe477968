package app

import (
	"io"
	"time"

	"github.com/keelson/keelson/internal/core/crm"
	"github.com/keelson/keelson/internal/core/crm/vet"
	"github.com/keelson/keelson/internal/front/cli/pacemaker"
)

// readPacemaker joins the command line to what understands Pacemaker's documents.
func readPacemaker() *pacemaker.Reader {
	return &pacemaker.Reader{
		Import: func(r io.Reader, now time.Time) (pacemaker.Imported, error) {
			root, changed, err := vet.Read(r)
			if err != nil {
				return pacemaker.Imported{}, err
			}
			services, notes := crm.Import(root, now)
			return pacemaker.Imported{Services: services, Notes: append(changed, notes...)}, nil
		},
		Simulate: func(r io.Reader, now time.Time) (pacemaker.Simulated, error) {
			root, changed, err := vet.Read(r)
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
