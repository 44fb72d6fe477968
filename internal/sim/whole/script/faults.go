package script

import (
	"fmt"
	"time"

	"github.com/keelson/keelson/internal/model/spec"
)

// Kind is what a fault, or an operator, does.
type Kind int

// The kinds. Those from ProgramEnds to RoleFails are of programs, those from Drain
// on are what operators do.
const (
	Crash Kind = iota
	KillGuard
	StopGuard
	KillAgent
	StopAgent
	Isolate
	CutLink
	CutOneWay
	Lose
	StoreAway
	ProgramEnds
	StartFails
	StartHangs
	StopHangs
	StopFails
	RoleFails
	Drain
	MaintainNode
	MaintainCell
	MaintainService
	ApplyNew
	ApplyAnew
	Move
	StopService

	Count // of kinds
)

// Well is no illness.
const Well = Count

// Kinds returns what all kinds are called, in their order.
func Kinds() []string {
	return []string{
		"crash", "guard killed", "guard stopped", "agent killed", "agent stopped", "node isolated", "link cut", "link cut one way",
		"packets lost", "store away", "program ends", "start fails", "start hangs", "stop hangs", "stop fails", "role fails",
		"node drained", "node maintained", "cell maintained", "service maintained", "new version applied", "deleted and applied",
		"service moved", "service stopped",
	}
}

// Fault is one fault of a plan. What a kind has no use for means nothing.
type Fault struct {
	Kind    Kind
	At      time.Duration
	Length  time.Duration
	Node    uint8
	Other   uint8
	Service spec.ServiceName
	Share   float64
}

func (f *Fault) String() string {
	text := fmt.Sprintf("%9.4fs  %s, node %s", f.At.Seconds(), Kinds()[f.Kind], NodeName(f.Node))
	switch f.Kind {
	case CutLink, CutOneWay:
		text += " and " + string(NodeName(f.Other))
	case Lose:
		text += fmt.Sprintf(", %.0f %%", 100*f.Share)
	default:
		text += ", service " + string(f.Service)
	}
	return text + fmt.Sprintf(", for %.3f s", f.Length.Seconds())
}

// mischief draws a fault.
func (p *Plan) mischief(d dice) Fault {
	f := Fault{Kind: Kind(d.IntN(int(Count))), At: d.between(warm, p.Length-5*time.Second), Node: uint8(d.IntN(p.Nodes))}
	f.Other = uint8((int(f.Node) + 1 + d.IntN(max(p.Nodes-1, 1))) % p.Nodes)
	f.Service = p.Services[d.IntN(len(p.Services))].Spec.Name
	f.Share = 0.05 + 0.3*d.Float64()
	longest := 12 * time.Second
	if d.chance(0.5) {
		longest = 2 * time.Second
	}
	f.Length = min(d.between(50*time.Millisecond, longest), p.Length-f.At-time.Millisecond)
	return f
}
