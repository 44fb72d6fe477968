package crm

import (
	"slices"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/core/crm/clause"
	"github.com/keelson/keelson/internal/core/crm/past"
	"github.com/keelson/keelson/internal/core/place"
	"github.com/keelson/keelson/internal/model/cib"
)

// replay is the state of one resource on one node while its history is read.
type replay struct {
	*document
	r     *resource
	n     *node
	role  place.Role
	worst failure
	known bool
	// lastFailed is the operation whose failure counts now.
	lastFailed past.Operation
	hasFailed  bool
}

// take lets one operation act.
func (p *replay) take(op past.Operation) {
	if op.Task == "notify" || op.Task == "meta-data" || op.Status == past.StatusCancelled {
		return
	}
	probe := op.Task == "monitor" && op.Interval == 0
	if op.Status == past.StatusPending {
		p.pending(op)
		return
	}
	expired := p.expired(op, probe)
	if !expired && op.Last && p.changed(op) {
		p.r.forgiven[p.n] = true
	}
	op = p.remap(op, probe, expired)
	if !probe || op.Status == past.StatusDone || op.Code == past.CodeNotRunning {
		p.known = true
	}
	if expired && op.Want >= 0 && op.Code != op.Want {
		if op.Interval == 0 || p.n.online && !p.n.unclean {
			return
		}
	}
	if op.Status == past.StatusDone {
		p.succeeded(op, op.Code)
		return
	}
	p.failed(op, probe)
}

// remap finds what an exit code means for the operation.
func (p *replay) remap(op past.Operation, probe, expired bool) past.Operation {
	switch op.Code {
	case past.CodeDegraded:
		op.Code = past.CodeOK
	case past.CodeDegradedPrim:
		op.Code = past.CodePrimary
	}
	if op.Status == past.StatusDone && op.Want >= 0 && op.Code != op.Want {
		op.Status = past.StatusError
	}
	if op.Want >= 0 && op.Code == op.Want && (op.Status == past.StatusError || op.Status == past.StatusDone) {
		op.Status = past.StatusDone
	}
	switch op.Code {
	case past.CodeOK:
		if probe && op.Want == past.CodeNotRunning {
			op.Status = past.StatusDone
		}
	case past.CodeNotRunning:
		if probe || op.Want == op.Code || p.r.unmanaged {
			op.Status = past.StatusDone
			p.role = place.Stopped
			p.worst = failIgnore
			p.r.next = place.Any
		}
	case past.CodePrimary:
		if probe && op.Code != op.Want {
			op.Status = past.StatusDone
		}
		p.role = place.Primary
	case past.CodeFailedPrimary:
		if !expired {
			op.Status = past.StatusError
			if op.Want == op.Code {
				op.Status = past.StatusDone
			}
		}
		p.role = place.Primary
	case 6:
		op.Status = past.StatusFatal
	case 3:
		if op.Interval > 0 {
			op.Status = past.StatusUnsupported
			break
		}
		op.Status = past.StatusHard
	case 2, 4, 5:
		if op.Status == past.StatusNotInstalled {
			break
		}
		if op.Task != "stop" || p.canFence(p.n) {
			op.Status = past.StatusHard
		}
	default:
		if op.Status == past.StatusDone {
			op.Status = past.StatusError
		}
	}
	return op
}

// canFence reports whether the cluster could fence the node now.
func (d *document) canFence(n *node) bool {
	o := d.options
	return o.fencing && o.devices && (o.quorum || o.quorumPolicy == "ignore" || n.online)
}

func (p *replay) pending(op past.Operation) {
	switch op.Task {
	case "start":
		p.r.starting = true
		p.activate()
	case "promote":
		p.role = place.Primary
	}
}

// activate says that it runs, if it did not before.
func (p *replay) activate() {
	if p.role >= place.Started {
		return
	}
	p.role = place.Started
	if p.r.promotable() {
		p.role = place.Replica
	}
}

// succeeded lets an operation act whose result was good, or counts as such.
func (p *replay) succeeded(op past.Operation, code int) {
	clear := false
	switch {
	case code == past.CodeNotRunning:
		clear = true
		if op.Task == "monitor" || op.Task == "stop" {
			p.role = place.Stopped
		}
	case code == 5:
		p.role = place.Stopped
	case op.Task == "monitor":
		clear = p.hasFailed && p.lastFailed.Task == op.Task && p.lastFailed.Interval == op.Interval
		p.activate()
	case op.Task == "start", op.Task == "migrate_from":
		p.role, clear = place.Started, true
		if p.r.promotable() {
			p.role = place.Replica
		}
	case op.Task == "stop", op.Task == "migrate_to":
		p.role, clear = place.Stopped, true
	case op.Task == "promote":
		p.role, clear = place.Primary, true
	case op.Task == "demote":
		clear = p.worst == failDemote
		p.role = place.Replica
	default:
		p.activate()
	}
	if !clear {
		return
	}
	switch p.worst {
	case failStop, failFence, failMigrate, failStandby:
	default:
		p.worst = failIgnore
		p.r.next = place.Any
	}
}

// failed lets an operation act whose result was bad.
func (p *replay) failed(op past.Operation, probe bool) {
	how := p.onFail(op)
	if how == failIgnore && op.Status == past.StatusNotInstalled {
		how = failRecover
	}
	if how == failIgnore {
		p.r.ignoreFailure = true
		code := op.Want
		if code < 0 {
			code = past.CodeOK
		}
		p.succeeded(op, code)
		return
	}
	p.hasFailed, p.lastFailed = true, op
	p.worst = max(p.worst, how)
	switch op.Task {
	case "stop":
		p.ban(p.n, "stop")
	case "promote":
		p.role = place.Primary
		if p.r.next == place.Any {
			p.r.next = place.Replica
		}
	case "demote":
		switch {
		case how == failBlock:
			p.role = place.Primary
			p.r.next = place.Stopped
		case op.Code == past.CodeNotRunning:
			p.role = place.Stopped
		default:
			p.role = place.Replica
		}
	}
	if probe && op.Code == 5 {
		p.role = place.Stopped
	} else {
		p.activate()
	}
	if how == failStop {
		p.r.next = place.Stopped
		p.banEverywhere()
	}
	switch op.Status {
	case past.StatusHard, past.StatusNotInstalled:
		p.ban(p.n, "hard")
	case past.StatusFatal:
		p.banEverywhere()
	}
}

// banned is the resource that a failure keeps away: all of an anonymous clone.
func (p *replay) banned() *resource {
	if p.r.anonymous() {
		return p.r.clone()
	}
	return p.r
}

func (p *replay) ban(n *node, _ string) {
	p.r.bans[n] = -place.Inf
	if b := p.banned(); b != p.r && p.hasFailed && p.lastFailed.Task != "stop" {
		b.bans[n] = -place.Inf
	}
}

func (p *replay) banEverywhere() {
	for _, n := range p.nodes {
		p.banned().bans[n] = -place.Inf
	}
}

// settle takes over what the history came to.
func (p *replay) settle() {
	r, n := p.r, p.n
	worst := p.worst
	if n.unclean {
		worst = failIgnore
	}
	running := p.role >= place.Started
	switch worst {
	case failDemote:
		r.failed, r.onlyDemote = true, true
	case failFence:
		n.unclean, n.fence = true, r.id+" failed there"
	case failStandby:
		n.standby, n.failStandby = true, true
	case failBlock:
		r.unmanaged, r.blocked = true, true
	case failMigrate:
		p.ban(n, "migrate")
	case failStop:
		r.next = place.Stopped
	case failRecover:
		r.failed = r.failed || running
	default:
	}
	if !running {
		return
	}
	p.running()
	r.failedCheck = p.hasFailed && p.lastFailed.Task == "monitor" && p.lastFailed.Interval > 0 && p.configured(p.lastFailed)
	r.failed = r.failed || p.worst != failIgnore && worst != failIgnore
}

// running notes that the resource runs on the node.
func (p *replay) running() {
	r, n := p.r, p.n
	if r.on(n) {
		return
	}
	r.at = append(r.at, n)
	if n.maintenance {
		r.unmanaged = true
	}
	if r.unmanaged || len(r.at) < 2 {
		return
	}
	switch r.multiple {
	case "stop_only":
		r.next, r.target = place.Stopped, place.Stopped
	case "block":
		r.unmanaged, r.blocked = true, true
		if up := r.parent; up != nil && up.kind == place.Stack && up.multiple == "block" {
			for _, sibling := range up.children {
				sibling.unmanaged, sibling.blocked = true, true
			}
		}
	}
}

// onFail says what a failure of the operation leads to.
func (p *replay) onFail(op past.Operation) failure {
	value := p.operationMeta(op).Get("on-fail")
	if value == "stop" && op.Task == "stop" {
		value = "block" // it cannot be stopped because it could not be stopped
	}
	switch value {
	case "block":
		return failBlock
	case "fence":
		if p.options.fencing {
			return failFence
		}
		return failStop
	case "standby":
		if op.Task != "stop" {
			return failStandby
		}
	case "ignore", "nothing":
		return failIgnore
	case "migrate":
		return failMigrate
	case "stop":
		return failStop
	case "restart":
		return failRecover
	case "demote":
		return failDemote
	}
	if op.Task == "stop" {
		if p.options.fencing {
			return failFence
		}
		return failBlock
	}
	return failRecover
}

// operationMeta returns what the configuration says of an operation.
func (p *replay) operationMeta(op past.Operation) clause.Attrs {
	out := clause.Attrs{}
	for _, e := range p.configuredOps() {
		if e.Attr("name") != op.Task || clause.Duration(e.Attr("interval")) != op.Interval || !clause.IsSet(e.Attr("enabled"), true) {
			continue
		}
		for _, k := range [...]string{"on-fail", "role", "timeout"} {
			if e.Has(k) {
				out[k] = e.Attr(k)
			}
		}
		out.Fill(p.Sets(e, "meta_attributes", nil))
		break
	}
	who := about(nil, p.r)
	who.Op, who.Interval = op.Task, op.Interval
	out.Fill(p.Sets(p.opDef, "meta_attributes", who))
	return out
}

// configured reports whether the configuration has an operation, and it is not off.
func (p *replay) configured(op past.Operation) bool {
	return slices.ContainsFunc(p.configuredOps(), func(e *cib.Element) bool {
		return e.Attr("name") == op.Task && clause.Duration(e.Attr("interval")) == op.Interval && clause.IsSet(e.Attr("enabled"), true)
	})
}

func (p *replay) configuredOps() []*cib.Element {
	ops := p.Refer(p.r.elem.Child("operations")).All("op")
	if p.r.agent != p.r.elem {
		ops = append(slices.Clone(ops), p.Refer(p.r.agent.Child("operations")).All("op")...)
	}
	return ops
}

// expired reports whether a failure is so old that it does not count any more.
func (p *replay) expired(op past.Operation, probe bool) bool {
	if p.r.expiry <= 0 || !op.HasTime || p.blocksExpiry() {
		return false
	}
	if p.Now.Before(op.At.Add(p.r.expiry)) {
		return false
	}
	if p.failCount(p.r, p.n, false) > 0 && p.failCount(p.r, p.n, true) > 0 {
		return false
	}
	if probe {
		switch op.Code {
		case past.CodeOK, past.CodeNotRunning, past.CodePrimary, past.CodeDegraded, past.CodeDegradedPrim:
			return false
		}
	}
	return true
}

// blocksExpiry reports whether a failed operation that blocks keeps all of the
// resource's failures from being forgotten.
func (p *replay) blocksExpiry() bool {
	for _, e := range p.configuredOps() {
		if e.Attr("on-fail") != "block" {
			continue
		}
		name, interval := e.Attr("name"), clause.Duration(e.Attr("interval"))
		for _, list := range p.n.history.All("lrm_resource") {
			base, _, _ := clause.CutNumber(list.ID())
			if list.ID() != p.r.id && base != p.r.base {
				continue
			}
			for _, op := range past.Of(list) {
				if op.Task == name && op.Interval == interval && op.Want >= 0 && op.Code != op.Want && op.Status != past.StatusPending {
					return true
				}
			}
		}
	}
	return false
}

// failCount returns how often a resource failed on a node. With expiry, what is
// too old does not count.
func (d *document) failCount(r *resource, n *node, expiry bool) int {
	sum := 0
	var last time.Time
	for name, value := range n.attributes {
		switch {
		case d.concerns(name, "fail-count-", r):
			sum = place.Sum(sum, clause.Score(value, 0))
		case d.concerns(name, "last-failure-", r):
			if t, ok := clause.Moment(value); ok && t.After(last) {
				last = t
			}
		}
	}
	if expiry && sum > 0 && r.expiry > 0 && !last.IsZero() && d.Now.After(last.Add(r.expiry)) {
		if p := (&replay{document: d, r: r, n: n}); !p.blocksExpiry() {
			return 0
		}
	}
	return sum
}

// concerns reports whether a node's attribute counts failures of the resource:
// prefix, name, for an anonymous clone the instance's number, and the operation.
func (d *document) concerns(name, prefix string, r *resource) bool {
	rest, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return false
	}
	i := strings.LastIndexByte(rest, '#')
	if perOperation := clause.CompareVersions(d.root.Attr("crm_feature_set"), "3.0.13") >= 0; perOperation != (i >= 0) {
		return false
	}
	if i >= 0 {
		if _, interval, found := strings.Cut(rest[i:], "_"); !found || interval == "" {
			return false
		}
		rest = rest[:i]
	}
	if rest == r.id || rest == r.base && (r.anonymous() || r.clone() == nil) {
		return true
	}
	if r.anonymous() {
		base, _, numbered := clause.CutNumber(rest)
		return numbered && base == r.base
	}
	return false
}
