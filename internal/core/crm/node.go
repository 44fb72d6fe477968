package crm

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/keelson/keelson/internal/core/crm/clause"
	"github.com/keelson/keelson/internal/model/cib"
)

// node is a member of the imported cluster.
type node struct {
	name, id    string
	index       int
	attributes  clause.Attrs
	utilization clause.Attrs
	history     *cib.Element

	seen        bool
	online      bool
	unclean     bool
	pending     bool
	standby     bool
	failStandby bool // by on-fail
	maintenance bool
	shutdown    bool
	ping        bool
	controller  bool
	fence       string       // why it is to be fenced
	set         clause.Attrs // the attributes in the configuration
	base        int          // what speaks for it, whatever the resource
}

// attribute returns an attribute of the node.
func (n *node) attribute(name string) (string, bool) {
	switch name {
	case "#uname":
		return n.name, true
	case "#id":
		return n.id, true
	case "#is_dc":
		return strconv.FormatBool(n.controller), true
	case "#kind":
		return "cluster", true
	}
	v, ok := n.attributes[name]
	return v, ok
}

// open reports whether the node can be given something.
func (n *node) open() bool {
	return n.online && !n.unclean && !n.standby && !n.maintenance && !n.shutdown && !n.pending && !n.ping
}

func (d *document) readNodes(e *cib.Element) {
	for _, c := range e.All("node") {
		if c.Attr("type") == "remote" {
			d.note("node %s: it is a remote node, which is left out", c.ID())
			continue
		}
		n := &node{name: c.Attr("uname"), id: c.ID(), ping: c.Attr("type") == "ping"}
		n.base = clause.Score(c.Attr("score"), 0)
		n.controller = n.id == d.root.Attr("dc-uuid")
		if n.name == "" {
			n.name = n.id
		}
		about := about(n, nil)
		n.attributes = clause.Attrs{}
		n.attributes = d.Sets(c, "instance_attributes", about)
		n.set = maps.Clone(n.attributes)
		n.utilization = d.Sets(c, "utilization", about)
		n.unclean = d.options.startupFencing
		d.nodes = append(d.nodes, n)
		d.nodeByID[n.id] = n
	}
	slices.SortStableFunc(d.nodes, func(a, b *node) int {
		return cmp.Compare(strings.ToLower(a.name), strings.ToLower(b.name))
	})
	for i, n := range d.nodes {
		n.index = i
	}
}

// nodeNamed returns the node of that name, nil if there is none.
func (d *document) nodeNamed(name string) *node {
	for _, n := range d.nodes {
		if strings.EqualFold(n.name, name) {
			return n
		}
	}
	return nil
}

// strangers notes the states of nodes that the configuration does not have.
func (d *document) strangers(status *cib.Element) {
	seen := map[*node]bool{}
	for _, state := range status.All("node_state") {
		n := d.nodeByID[state.ID()]
		if n == nil {
			n = d.nodeNamed(state.Attr("uname"))
		}
		switch {
		case state.ID() == "":
			d.note("node state of %s: it has no id, so it is left out", state.Attr("uname"))
		case n == nil && state.Attr("remote_node") != "":
			d.note("node state %s: it is of a remote node, which is left out", state.ID())
		case n == nil:
			d.note("node state %s: the configuration knows no such node", state.ID())
		case seen[n]:
			d.note("node state %s: the node has one already, and the last one counts", state.ID())
		}
		seen[n] = true
	}
}

func (d *document) readStatus(status *cib.Element) {
	d.strangers(status)
	states := map[*node]*cib.Element{}
	for _, state := range status.All("node_state") {
		n := d.nodeByID[state.ID()]
		if n == nil {
			n = d.nodeNamed(state.Attr("uname"))
		}
		if n != nil && state.ID() != "" {
			states[n] = state
			d.readNodeState(n, state)
		}
	}
	if d.options.quorumPolicy == "suicide" && !d.options.quorum && clause.Truth(d.root.Attr("no-quorum-panic")) {
		for _, n := range d.nodes {
			if n.online {
				n.unclean, n.fence = true, "the cluster has no quorum"
			}
		}
	}
	for _, state := range status.All("node_state") {
		for _, n := range d.nodes {
			if states[n] == state && (n.online || d.options.fencing) {
				d.readHistory(n, state.Child("lrm").Child("lrm_resources"))
			}
		}
	}
	d.health()
}

func (d *document) readNodeState(n *node, state *cib.Element) {
	n.seen, n.unclean = true, false
	for _, set := range state.All("transient_attributes") {
		fresh := d.Sets(set, "instance_attributes", about(n, nil))
		for k, v := range fresh {
			n.attributes[k] = v
		}
	}
	if v := n.attributes["shutdown"]; v != "" && v != "0" {
		n.shutdown = true
	}
	if v := state.Attr("shutdown"); v != "" && v != "0" {
		n.shutdown = true
	}
	n.standby = clause.Truth(n.attributes["standby"])
	n.maintenance = clause.Truth(n.attributes["maintenance"])
	inCluster := clause.Truth(state.Attr("in_ccm")) || clause.Number(state.Attr("in_ccm"), 0) > 1
	peer := state.Attr("crmd") == "online" || clause.Number(state.Attr("crmd"), 0) > 1
	join, expected := state.Attr("join"), state.Attr("expected")
	if d.options.fencing {
		n.judge(inCluster, peer, join, expected, state.Has("in_ccm"))
	} else {
		n.judgeUnfenced(inCluster, peer, join, expected)
	}
}

// judge decides what a node's state is where nodes can be fenced.
func (n *node) judge(in, peer bool, join, expected string, known bool) {
	terminate := clause.Truth(n.attributes["terminate"]) || clause.Number(n.attributes["terminate"], 0) > 0
	doom := func(why string) { n.unclean, n.fence = true, why }
	n.online = in && peer
	switch {
	case n.shutdown:
		n.online = peer
	case !known:
		doom("it was never seen")
	case join == "nack":
		doom("it may not join")
	case !terminate && (expected == "down" || expected == ""):
		n.standby = n.standby || in || peer
		n.pending = in || peer
	case terminate && join == "down" && !in && !peer:
	case !in:
		doom("it is no longer part of the cluster")
	case !peer:
		doom("its cluster processes are gone")
	case terminate:
		doom("its end was asked for")
	case join == "member":
	case join == "pending":
		n.standby, n.pending = true, true
	default:
		doom("its state is not known")
	}
}

// judgeUnfenced does the same where they cannot.
func (n *node) judgeUnfenced(in, peer bool, join, expected string) {
	switch {
	case !in:
	case peer && join == "member":
		n.online = true
	case peer:
	case expected != "member":
	default:
		n.unclean = true
	}
}

// health applies the strategy for nodes whose health attributes are not green.
func (d *document) health() {
	for _, n := range d.nodes {
		score := clause.Health(d.props, n.attributes)
		for _, r := range d.top {
			if score != 0 && !clause.Truth(r.meta.Get("allow-unhealthy-nodes")) {
				d.locations = append(d.locations, location{resource: r, by: map[*node]int{n: score}})
			}
		}
	}
}
