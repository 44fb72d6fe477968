// Package crm says what the configuration and the history of a Pacemaker
// cluster mean: which resources there are, in which state they are, and what
// the engines of this product decide on them.
//
// Its main rule is that nothing in it decides: it translates a cluster
// information base into the languages of packages place and step, and their
// outcome back. What it does not understand it lists, with the element's id.
//
// The package is pure: the time of the decision comes with the document.
package crm

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/core/crm/clause"
	"github.com/keelson/keelson/internal/model/cib"
)

// document is a cluster information base while it is being read.
type document struct {
	root *cib.Element
	clause.Reader
	props clause.Attrs

	nodes    []*node // ordered by name
	nodeByID map[string]*node

	top       []*resource // in the order of the document
	all       []*resource // parents before their children
	byName    map[string]*resource
	rscDef    *cib.Element
	opDef     *cib.Element
	tags      map[string][]string
	options   options
	not       []string // what is not understood
	locations []location
	within    map[string][]*resource // by the container that answers for them
}

// options are the properties of the cluster.
type options struct {
	symmetric      bool
	quorum         bool
	quorumPolicy   string // stop, ignore, freeze, demote, suicide
	fencing        bool
	devices        bool // there is something to fence with
	startupFencing bool
	stopOrphans    bool
	stopAll        bool
	maintenance    bool
	startFatal     bool
	placement      string // default, utilization, minimal, balanced
}

// note records something that is not understood.
func (d *document) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if len(d.not) < maxNotes && !slices.Contains(d.not, text) {
		d.not = append(d.not, text)
	}
}

// maxNotes bounds the list of what is not understood.
const maxNotes = 500

// open reads a document with all that it says of now.
func open(root *cib.Element, now time.Time) *document {
	d := configured(root, now, false)
	d.readStatus(root.Child("status"))
	return d
}

// configured reads the configuration. If only what lasts is asked for, rules that ask
// for the time or for what a node is at the moment do not count, and are noted.
func configured(root *cib.Element, now time.Time, lasting bool) *document {
	d := &document{
		root: root, Reader: clause.Reader{Now: now, ByID: make(map[string]*cib.Element)}, nodeByID: make(map[string]*node),
		byName: make(map[string]*resource), tags: make(map[string][]string),
	}
	if t, ok := clause.Moment(root.Attr("execution-date")); ok {
		d.Now = t
	}
	root.Walk(func(e *cib.Element) {
		if id := e.ID(); id != "" && d.ByID[id] == nil {
			d.ByID[id] = e
		}
	})
	configuration := root.Child("configuration")
	if lasting {
		d.Skip = d.skip
	}
	d.props = d.properties(configuration.Child("crm_config"))
	d.rscDef, d.opDef = configuration.Child("rsc_defaults"), configuration.Child("op_defaults")
	for _, tag := range configuration.Child("tags").All("tag") {
		for _, ref := range tag.All("obj_ref") {
			d.tags[tag.ID()] = append(d.tags[tag.ID()], ref.ID())
		}
	}
	d.readOptions()
	d.readNodes(configuration.Child("nodes"))
	d.readResources(configuration.Child("resources"))
	return d
}

// properties reads the options of the cluster. The set that the tools write to
// counts before all others.
func (d *document) properties(e *cib.Element) clause.Attrs {
	first := &cib.Element{}
	for _, set := range e.All("cluster_property_set") {
		if set.ID() == "cib-bootstrap-options" {
			first.Children = append(first.Children, set)
		}
	}
	out := d.Sets(first, "cluster_property_set", nil)
	out.Fill(d.Sets(e, "cluster_property_set", nil))
	return out
}

func (d *document) readOptions() {
	p := d.props
	d.options = options{
		symmetric:      clause.IsSet(p.Get("symmetric-cluster"), true),
		quorum:         clause.Truth(d.root.Attr("have-quorum")),
		quorumPolicy:   strings.ToLower(p.Get("no-quorum-policy")),
		fencing:        clause.IsSet(p.Get("stonith-enabled", "fencing-enabled"), true),
		startupFencing: clause.IsSet(p.Get("startup-fencing"), true),
		stopOrphans:    clause.IsSet(p.Get("stop-orphan-resources", "stop-removed-resources"), true),
		stopAll:        clause.Truth(p.Get("stop-all-resources")),
		maintenance:    clause.Truth(p.Get("maintenance-mode")),
		startFatal:     clause.IsSet(p.Get("start-failure-is-fatal"), true),
		placement:      p.Get("placement-strategy"),
	}
	d.options.devices = clause.Truth(p.Get("have-watchdog"))
	switch d.options.quorumPolicy {
	case "ignore", "freeze", "demote":
	case "suicide", "fence":
		d.options.quorumPolicy = "suicide"
		if !d.options.fencing {
			d.options.quorumPolicy = "stop"
		}
	default:
		d.options.quorumPolicy = "stop"
	}
	switch d.options.placement {
	case "utilization", "minimal", "balanced":
	default:
		d.options.placement = "default"
	}
}
