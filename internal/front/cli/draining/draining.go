// Package draining says what a drain of a node will do to the services of a cell.
// It asks the cell, and changes nothing.
package draining

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/front/cli/screen/view"
	"github.com/keelson/keelson/internal/model/reason"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
)

// Homeless returns the services that no node may run once name is drained,
// and that have a home now.
func Homeless(ctx context.Context, api *client.Client, name spec.NodeName) ([]spec.ServiceName, error) {
	outlook, err := api.WhatIf(ctx, request.WhatIf{Drain: []string{string(name)}})
	if err != nil {
		return nil, fmt.Errorf("ask what a drain of %s would do: %w", name, err)
	}
	var out []spec.ServiceName
	for _, c := range outlook.Changes {
		if c.Kind == reason.Loses {
			out = append(out, c.Service)
		}
	}
	return out, nil
}

// Will says what a drain will do.
func Will(n client.Node, homeless []spec.ServiceName) string {
	moves := slices.DeleteFunc(slices.Clone(n.Services), func(s spec.ServiceName) bool { return slices.Contains(homeless, s) })
	var will []string
	if len(homeless) > 0 {
		will = append(will, fmt.Sprintf("No other node may run these services, and they stop: %s.", view.Names(homeless)))
	}
	if len(moves) > 0 {
		will = append(will, fmt.Sprintf("These services move away from %s, each with a short outage: %s.", n.Name, view.Names(moves)))
	}
	if len(will) == 0 {
		return fmt.Sprintf("Nothing runs on %s now, and nothing will until `keelson undrain %s`.", n.Name, n.Name)
	}
	return strings.Join(will, " ")
}
