package remark

import (
	"fmt"
	"slices"

	"github.com/keelson/keelson/internal/core/bound"
	"github.com/keelson/keelson/internal/model/spec"
)

// Unbound says why the loss of a node may last until it is back, for a service
// that holder has now.
func Unbound(holder spec.NodeName, hosts []bound.Host) string {
	votes, there, able := 0, 0, 0
	for _, h := range hosts {
		if h.Votes {
			votes++
		}
		if h.Votes && !h.Gone {
			there++
		}
		if h.Runs && !h.Gone {
			able++
		}
	}
	need := votes/2 + 1
	if there < need {
		return fmt.Sprintf("the voters in touch, %d of %d, are no majority: nothing takes over until one more is back", there, votes)
	}
	if able < 2 {
		return "no other node that may take over is in touch, so the loss of its node lasts until one is back"
	}
	var fatal []spec.NodeName
	for _, h := range hosts {
		if h.Runs && h.Votes && !h.Gone && there-1 < need {
			fatal = append(fatal, h.Name)
		}
	}
	lost := fmt.Sprintf("%d of %s would be left in touch, and that is no majority", there-1, voters(votes))
	if slices.Contains(fatal, holder) || len(fatal) == 0 {
		return fmt.Sprintf("if %s is lost, %s: nothing takes over until it is back", holder, lost)
	}
	return fmt.Sprintf("it would move away from %s, but if %s is lost, %s: nothing takes over then until it is back", holder, fatal[0], lost)
}

func voters(n int) string {
	if n == 1 {
		return "1 voter"
	}
	return fmt.Sprintf("%d voters", n)
}
