package app

import (
	"io"
	"time"

	"github.com/keelson/keelson/internal/core/crm"
	"github.com/keelson/keelson/internal/front/cli"
	"github.com/keelson/keelson/internal/model/cib"
)

// pacemaker joins the command line to what understands Pacemaker's documents.
func pacemaker() *cli.Pacemaker {
	return &cli.Pacemaker{
		Import: func(r io.Reader, now time.Time) (cli.Imported, error) {
			root, err := cib.Read(r)
			if err != nil {
				return cli.Imported{}, err
			}
			services, notes := crm.Import(root, now)
			return cli.Imported{Services: services, Notes: notes}, nil
		},
		Simulate: func(r io.Reader, now time.Time) (cli.Simulated, error) {
			root, err := cib.Read(r)
			if err != nil {
				return cli.Simulated{}, err
			}
			o := crm.Simulate(root, now)
			return cli.Simulated{
				Before: simulatedSeats(o.Before), After: simulatedSeats(o.After),
				Nodes: o.Nodes, Steps: o.Steps, Why: o.Why, Not: o.Not,
			}, nil
		},
	}
}

func simulatedSeats(from map[string][]crm.Seat) map[string][]cli.SimulatedSeat {
	out := make(map[string][]cli.SimulatedSeat, len(from))
	for name, seats := range from {
		list := make([]cli.SimulatedSeat, 0, len(seats))
		for _, s := range seats {
			list = append(list, cli.SimulatedSeat(s))
		}
		out[name] = list
	}
	return out
}
