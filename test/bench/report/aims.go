package report

import "fmt"

// Aim is something that Keelson should reach, and whether it does.
type Aim struct {
	What    string  `json:"what"`
	Limit   float64 `json:"limit"`
	Found   float64 `json:"found"`
	Unit    string  `json:"unit"`
	Reached bool    `json:"reached"`
}

// The figures that Keelson is to reach, in milliseconds, and as a share of what
// the others take in the same run.
const (
	aimExclusive   = 500.0
	aimOfDefault   = 0.06
	aimOfBest      = 0.5
	aimService     = 150.0
	aimMove        = 250.0
	aimMoveReady   = 50.0
	exclusive      = "keelson"
	notExclusive   = "keelson-free"
	runsOnAll      = "keelson-copies"
	pacemakerPlain = "pacemaker"
	pacemakerBest  = "pacemaker-300"
	keepalivedFast = "keepalived-0.1"
)

// list gathers aims.
type list []Aim

func (l *list) most(what string, found, limit float64, unit string) {
	*l = append(*l, Aim{What: what, Limit: limit, Found: found, Unit: unit, Reached: found <= limit})
}

// aims compares Keelson's figures with what it is to reach, as far as both were
// measured.
func aims(r Report) []Aim {
	var out list
	for _, f := range faultNames()[:2] {
		if us, ok := r.fault(exclusive, f.name); ok {
			out.most(f.title+", exclusive: median outage", us.Outage.Median, aimExclusive, "ms")
			if them, ok := r.fault(pacemakerPlain, f.name); ok {
				out.most(fmt.Sprintf("%s, exclusive: at most %g of Pacemaker", f.title, aimOfDefault),
					us.Outage.Median, aimOfDefault*them.Outage.Median, "ms")
			}
			if them, ok := r.fault(pacemakerBest, f.name); ok {
				out.most(fmt.Sprintf("%s, exclusive: at most %g of Pacemaker at its best", f.title, aimOfBest),
					us.Outage.Median, aimOfBest*them.Outage.Median, "ms")
			}
		}
		us, ok := r.fault(notExclusive, f.name)
		if them, too := r.fault(keepalivedFast, f.name); ok && too {
			out.most(f.title+", not exclusive: no more than keepalived at 0.1 s", us.Outage.Median, them.Outage.Median, "ms")
		}
	}
	for _, c := range []string{exclusive, notExclusive, runsOnAll} {
		for _, f := range faultNames() {
			us, _ := r.fault(c, f.name)
			if bounds, over := us.foretold(); len(bounds) > 0 {
				out.most(f.title+", "+c+": outages longer than status had said", float64(over), 0, "")
			}
		}
		if us, ok := r.fault(c, "service"); ok {
			out.most("service killed, "+c+": the program's own start and 150 ms", us.Outage.Median, r.Setup.StartMS+aimService, "ms")
		}
	}
	if us, ok := r.fault(exclusive, "freeze"); ok && us.Old != nil {
		out.most("frozen and thawed, exclusive: the old holder answers, longest", us.Old.Most, 0, "ms")
		out.most("frozen and thawed, exclusive: two holders on the wire, longest", max(us.TwoFrozen.Most, us.TwoThawed.Most), 0, "ms")
	}
	if us, ok := r.fault(exclusive, "move"); ok {
		out.most("planned move, the program starts on the target: median outage", us.Outage.Median, aimMove, "ms")
	}
	if us, ok := r.fault(runsOnAll, "move"); ok {
		out.most("planned move, the program runs on the target: median outage", us.Outage.Median, aimMoveReady, "ms")
	}
	for _, c := range []string{exclusive, notExclusive} {
		for _, condition := range conditionNames() {
			s, ok := r.steady(c, condition.name)
			if !ok {
				continue
			}
			out.most(condition.title+", "+c+": nodes declared lost", float64(s.Alarms), 0, "")
			out.most(condition.title+", "+c+": changes of the holder", float64(s.Changes), 0, "")
			out.most(condition.title+", "+c+": time without service", s.UnservedS, 0, "s")
		}
	}
	for _, s := range r.Scale {
		out.most(fmt.Sprintf("%d nodes: declared lost in %g s", s.Nodes, s.Seconds), float64(s.Alarms), 0, "")
		out.most(fmt.Sprintf("%d nodes: changes of the holder", s.Nodes), float64(s.Changes), 0, "")
		out.most(fmt.Sprintf("%d nodes: time without service", s.Nodes), s.UnservedS, 0, "s")
		// How long depends on how the hosts of one machine stall; status says it.
		nobody := 0.0
		if !s.FailedOver {
			nobody = 1
		}
		out.most(fmt.Sprintf("%d nodes: a host that serves is killed, and nobody takes over", s.Nodes), nobody, 0, "")
	}
	return out
}
