// Package vet looks at a Pacemaker cluster's configuration before it is read for what
// it means: for what would take too long, and for what is changed or passed over
// when it is read.
//
// Its main rule is that nothing is passed over in silence: a value that counts as
// another one, an id that is there twice, and orders that go in a circle are noted.
// It refuses a document whose sets mean more pairs than any cluster has. Its time
// grows little faster than the document. It is pure.
package vet

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/keelson/keelson/internal/model/cib"
)

// MaxPairs is how many pairs of resources the constraints of a document may mean.
const MaxPairs = 10_000

// ErrTooMuch means that constraints mean more pairs of resources than [MaxPairs].
var ErrTooMuch = errors.New("the constraints mean more than any cluster needs")

// Limits of what is noted.
const (
	maxNotes = 500
	maxText  = 60 // of a value or an id that is quoted
	maxSteps = 8  // of a circle
)

// Read is [cib.Read] followed by [Check].
func Read(r io.Reader) (*cib.Element, []string, error) {
	root, err := cib.Read(r)
	if err != nil {
		return nil, nil, err
	}
	notes, err := Check(root)
	return root, notes, err
}

// Check returns notes on what of a document is changed or passed over when it is read,
// each once, at most 500. It wraps [ErrTooMuch].
func Check(root *cib.Element) ([]string, error) {
	c := &checker{size: map[string]int{}, seen: map[string]bool{}, byID: map[string]*cib.Element{}}
	conf := root.Child("configuration")
	c.measure(conf)
	for _, e := range allOf(conf.Child("constraints")) {
		if n := c.pairs(e); n > MaxPairs-c.sum {
			return nil, fmt.Errorf("%w: up to %s %s they mean more than %d pairs of resources; write smaller sets, or a group",
				ErrTooMuch, e.Name, quoted(e.ID()), MaxPairs)
		} else {
			c.sum += n
		}
	}
	c.ids(conf)
	for _, section := range allOf(conf) {
		section.Walk(c.values)
	}
	conf.Child("resources").Walk(c.remote)
	c.circles(conf.Child("constraints"))
	root.Walk(func(e *cib.Element) {
		if c.byID[e.ID()] == nil {
			c.byID[e.ID()] = e
		}
	})
	c.unknown(root, words())
	return c.notes, nil
}

// remote notes a resource that brings a node with it: such a node is not read, so
// whatever would run there is taken not to be able to.
func (c *checker) remote(e *cib.Element) {
	if e.Name != "primitive" {
		return
	}
	if e.Attr("provider") == "pacemaker" && e.Attr("type") == "remote" {
		c.note("primitive %s: it connects to a remote node, which is left out", quoted(e.ID()))
	}
	for _, meta := range e.All("meta_attributes") {
		for _, v := range meta.All("nvpair") {
			if v.Attr("name") == "remote-node" {
				c.note("primitive %s: its guest node %s is left out", quoted(e.ID()), quoted(v.Attr("value")))
			}
		}
	}
}

type checker struct {
	size  map[string]int // how many resources a reference means, at most
	sum   int
	byID  map[string]*cib.Element
	seen  map[string]bool // notes
	notes []string
}

func (c *checker) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if len(c.notes) < maxNotes && !c.seen[text] {
		c.seen[text] = true
		c.notes = append(c.notes, text)
	}
}

// quoted shortens what a document says, and shows what is not visible in it.
func quoted(s string) string {
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "..."
	}
	if q := strconv.Quote(s); s == "" || q != `"`+s+`"` || strings.ContainsRune(s, ' ') {
		return q
	}
	return s
}

func allOf(e *cib.Element) []*cib.Element {
	if e == nil {
		return nil
	}
	return e.Children
}

// measure counts what templates and tags mean.
func (c *checker) measure(conf *cib.Element) {
	conf.Child("resources").Walk(func(e *cib.Element) {
		if t := e.Attr("template"); t != "" {
			c.size[t]++
		}
	})
	tags := map[string][]string{}
	for _, t := range conf.Child("tags").All("tag") {
		for _, ref := range t.All("obj_ref") {
			tags[t.ID()] = append(tags[t.ID()], ref.ID())
		}
	}
	var count func(string, int) int
	known := map[string]int{}
	count = func(id string, left int) int {
		if n, is := known[id]; is {
			return n
		}
		refs, is := tags[id]
		if !is || left == 0 {
			return max(1, c.size[id])
		}
		known[id] = 1 // of a circle
		n := 0
		for _, ref := range refs {
			n = min(n+count(ref, left-1), MaxPairs+1)
		}
		known[id] = n
		return n
	}
	for id := range tags {
		c.size[id] = count(id, len(tags))
	}
}

func (c *checker) means(id string) int { return max(1, c.size[id]) }

func (c *checker) members(set *cib.Element) int {
	n := 0
	for _, ref := range set.All("resource_ref") {
		n = min(n+c.means(ref.ID()), MaxPairs+1)
	}
	return n
}

// pairs counts the pairs of resources that a constraint means, at most one more
// than are allowed for each set.
func (c *checker) pairs(e *cib.Element) int {
	sets := e.All("resource_set")
	switch {
	case e.Name == "rsc_location" || len(sets) == 0 && e.Name != "rsc_colocation" && e.Name != "rsc_order":
		return 0
	case len(sets) == 0:
		return min(MaxPairs+1, c.means(e.Attr("rsc")+e.Attr("first"))*c.means(e.Attr("with-rsc")+e.Attr("then")))
	}
	n := 0
	for k, set := range sets {
		m := c.members(set)
		n += m
		if e.Name == "rsc_colocation" && strings.HasPrefix(strings.TrimSpace(e.Attr("score")), "-") {
			n += m * (m - 1) / 2
		}
		if k+1 < len(sets) {
			from, to := c.ends(set, m), c.ends(sets[k+1], c.members(sets[k+1]))
			n += from * to
		}
		n = min(n, MaxPairs+1)
	}
	return n
}

// ends is how many members of a set are bound to the next one. A set that takes any
// of its members counts whole.
func (c *checker) ends(set *cib.Element, members int) int {
	any := set.Has("require-all")
	if seq := strings.ToLower(set.Attr("sequential")); !any && (!set.Has("sequential") || slices.Contains([]string{"true", "on", "yes", "y", "1"}, seq)) {
		return min(1, members)
	}
	return members
}

// ids notes what is there twice, and what has no name.
func (c *checker) ids(conf *cib.Element) {
	ids, names := map[string]*cib.Element{}, map[string]bool{}
	for _, section := range [...]string{"nodes", "resources", "constraints", "tags"} {
		for _, top := range allOf(conf.Child(section)) {
			top.Walk(func(e *cib.Element) {
				id := e.ID()
				switch named(e.Name) {
				case false:
					return
				case true:
					if id == "" && !e.Has("id-ref") {
						c.note("%s: one has no id", e.Name)
						return
					}
				}
				if first := ids[id]; first != nil && id != "" {
					c.note("%s %s: its id is there twice, first of a %s; what names it means the first", e.Name, quoted(id), first.Name)
				} else {
					ids[id] = e
				}
			})
		}
	}
	for _, n := range conf.Child("nodes").All("node") {
		if name := strings.ToLower(n.Attr("uname")); names[name] && name != "" {
			c.note("node %s: another node is named %s too, and what names it means the first", quoted(n.ID()), quoted(n.Attr("uname")))
		} else {
			names[name] = true
		}
	}
}

// named reports whether an element must have an id of its own that counts.
func named(element string) bool {
	switch element {
	case "node", "primitive", "group", "clone", "master", "bundle", "template", "rsc_location", "rsc_colocation", "rsc_order", "tag":
		return true
	}
	return false
}

// values notes values that are no numbers, and those that are cut.
func (c *checker) values(e *cib.Element) {
	what := e.Name + " " + quoted(e.ID())
	if e.Has("score") && named(e.Name) || e.Name == "rule" || strings.HasSuffix(e.Name, "_attributes") {
		c.score(what, "score", e.Attr("score"))
	}
	if e.Name != "nvpair" {
		return
	}
	value := e.Attr("value")
	switch name := e.Attr("name"); name {
	case "priority", "resource-stickiness":
		c.score(what, name, value)
	case "clone-max":
		c.count(what, name, value, 1000)
	case "clone-node-max", "promoted-max", "master-max", "promoted-node-max", "master-node-max", "clone-min":
		c.count(what, name, value, 1000)
	case "migration-threshold":
		c.score(what, name, value)
	}
}

// score notes a score that counts as another one.
func (c *checker) score(what, name, value string) {
	text := strings.ToUpper(strings.TrimSpace(value))
	switch strings.TrimLeft(text, "+-") {
	case "", "INFINITY", "RED", "YELLOW", "GREEN":
		return
	}
	n, err := strconv.Atoi(text)
	switch {
	case errors.Is(err, strconv.ErrRange):
		c.note("%s: its %s=%s is beyond all numbers: its digits are not counted", what, name, quoted(value))
	case err != nil:
		c.note("%s: its %s=%s is not a number: only digits that it begins with count", what, name, quoted(value))
	case n > 1_000_000 || n < -1_000_000:
		c.note("%s: its %s=%s counts as %d", what, name, quoted(value), max(-1_000_000, min(1_000_000, n)))
	}
}

// count notes a number of instances that counts as another one.
func (c *checker) count(what, name, value string, most int) {
	n, err := strconv.Atoi(strings.TrimSpace(value))
	switch {
	case strings.TrimSpace(value) == "":
	case errors.Is(err, strconv.ErrRange):
		c.note("%s: its %s=%s is beyond all numbers and counts as if it were not there", what, name, quoted(value))
	case err != nil:
		c.note("%s: its %s=%s is not a number: only digits that it begins with count", what, name, quoted(value))
	case n < 0:
		c.note("%s: its %s=%s is less than nothing", what, name, quoted(value))
	case n > most:
		c.note("%s: its %s=%s is cut: %d is the most", what, name, quoted(value), most)
	}
}
