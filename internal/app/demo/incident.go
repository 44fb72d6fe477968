package demo

import (
	"fmt"
	"time"

	"github.com/keelson/keelson/internal/lab/picture"
	"github.com/keelson/keelson/internal/lab/probe"
	"github.com/keelson/keelson/internal/model/request"
)

// The verbs.
const (
	verbKill    = "kill"
	verbCut     = "cut"
	verbHeal    = "heal"
	verbFreeze  = "freeze"
	verbThaw    = "thaw"
	verbBoot    = "boot"
	verbService = "service"
	verbMove    = "move"
)

// order is what to do, and to which host; a move may have none.
type order struct {
	verb, host string
	rehearsed  bool // the demo's own fault: a frozen host is thawed in the end
}

// patience is how long to wait for an answer before the order, and after it.
func (o order) patience() (before, after time.Duration) {
	if o.rehearsed {
		return firstAnswer, takeoverLimit
	}
	return anyAnswer, answerLimit
}

// sentence says the order as it is carried out.
func (o order) sentence() string {
	switch o.verb {
	case verbKill:
		return "killing " + o.host + ", like a power cut"
	case verbCut:
		return "cutting " + o.host + " off the network"
	case verbHeal:
		return "putting " + o.host + " back on the network"
	case verbFreeze:
		return "freezing every process of " + o.host
	case verbThaw:
		return "thawing " + o.host
	case verbBoot:
		return "switching " + o.host + " on and starting its agent"
	case verbService:
		return "killing the web program on " + o.host
	case verbMove:
		if o.host == "" {
			return "moving the service away"
		}
		return "moving the service to " + o.host
	}
	return o.verb + " " + o.host
}

// done is what was done to a host, as a word.
func (o order) done() string {
	return map[string]string{
		verbKill: "killed", verbCut: "cut off", verbHeal: "reconnected", verbFreeze: "frozen", verbThaw: "thawed", verbBoot: "switched on",
	}[o.verb]
}

// past says the order when it is carried out.
func (o order) past() string {
	switch o.verb {
	case verbService:
		return "program killed on " + o.host
	case verbMove:
		return "move asked for"
	}
	return o.host + " " + o.done()
}

// incident is a fault and what the client saw of it.
type incident struct {
	order
	fault   time.Duration // CLOCK_BOOTTIME, as all times here
	before  probe.Holder  // who answered before; zero if nobody did
	after   probe.Holder  // who answers in the end; zero if nobody does
	results []probe.HTTPResult
	outage  probe.Outage // the longest; zero if there was none
	two     time.Duration
	stages  []picture.Stage
}

// moves reports whether another host has to take over.
func (i incident) moves() bool {
	switch i.verb {
	case verbKill, verbCut, verbFreeze:
		return i.before.Host == i.host
	case verbMove:
		return i.before.Host != "" && i.before.Host != i.host
	}
	return false
}

// awaited says what is waited for.
func (i incident) awaited() string {
	switch {
	case i.moves():
		return "waiting for an answer from another host"
	case i.verb == verbService, i.before.Host == "":
		return "waiting for a good answer"
	}
	return "watching what the client sees"
}

// over returns who answers now, if what the fault did to the service is over.
func (i incident) over(results []probe.HTTPResult, now time.Duration) (probe.HTTPResult, bool) {
	var last probe.HTTPResult
	for _, r := range results {
		if r.OK && r.Sent > i.fault && r.Sent > last.Sent && (!i.moves() || r.Host != i.before.Host) {
			last = r
		}
	}
	if !last.OK {
		return last, false
	}
	if i.moves() {
		return last, true
	}
	outages := probe.Outages(results, i.fault)
	if len(outages) > 0 {
		return last, outages[len(outages)-1].Over
	}
	return last, now-i.fault > quietTime
}

// verdict is nil if the service answers again, and else says how it is.
func (i incident) verdict() error {
	if i.after.Host != "" {
		return nil
	}
	text := fmt.Sprintf("%s was %s, and nobody took over within %s", i.host, i.done(), takeoverLimit)
	if i.verb == verbService {
		text = fmt.Sprintf("the program on %s was killed, and nobody answered again within %s", i.host, takeoverLimit)
	}
	return &request.Error{Kind: request.Refused, Code: "not-taken-over", Text: text}
}
