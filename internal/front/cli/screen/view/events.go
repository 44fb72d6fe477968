package view

import (
	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/front/cli/screen"
	"github.com/keelson/keelson/internal/model/event"
)

// Events is the table of events.
func Events(list []client.Event) screen.Table {
	t := screen.Table{Head: []string{"TIME", "FROM", "WHAT", "ABOUT", "PLAN", "TEXT"}}
	for _, e := range list {
		t.Rows = append(t.Rows, []screen.Field{
			screen.Faint.Of(screen.Moment(e.At)), screen.Text(string(e.Node)), eventKind(e.Kind), screen.Strong.Of(about(e)), screen.Faint.Of(shortPlan(e.Plan)), screen.Text(e.Text),
		})
	}
	return t
}

// shortPlan is the beginning of a plan's id, which names it as well.
func shortPlan(id string) string { return id[:min(len(id), 8)] }

func about(e client.Event) string {
	if e.Service != "" {
		return string(e.Service)
	}
	return string(e.About)
}

func eventKind(k event.Kind) screen.Field {
	f := screen.Field{Text: string(k)}
	switch k {
	case event.NodeLost, event.QuorumLost, event.ServiceFailed, event.ServiceGaveUp, event.ServiceHomeless,
		event.ServiceCut, event.GuardLost, event.LeaseLost, event.ServiceHalted, event.CommonCause, event.PlanHeld, event.ChangeTakenBack:
		f.Tone = screen.Bad
	case event.NodeSuspect, event.ServiceUnready, event.ServiceStopped, event.NodeDrained,
		event.ServiceWaited, event.ServiceDemoted, event.MaintenanceOn,
		event.NodeQuarantined, event.NodeProbation, event.ServiceWaits:
		f.Tone = screen.Doubtful
	case event.NodeBack, event.NodeJoined, event.QuorumBack, event.ServiceReady, event.ServiceRunning,
		event.ServicePromoted, event.MaintenanceOff, event.ChangeConfirmed:
		f.Tone = screen.Good
	default:
	}
	return f
}

// Event is one event in a line, for following: the widths of columns cannot be
// known in advance.
func Event(e client.Event, color bool) string {
	kind := eventKind(e.Kind)
	name := kind.Text
	if color {
		name = screen.Paint(name, kind.Tone)
	}
	subject := about(e)
	if subject != "" {
		subject += "  "
	}
	if e.Plan != "" {
		subject += shortPlan(e.Plan) + "  "
	}
	return screen.Clean(screen.Moment(e.At)+"  "+string(e.Node)) + "  " + name + "  " + screen.Clean(subject+e.Text) + "\n"
}
