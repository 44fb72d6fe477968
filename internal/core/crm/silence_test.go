package crm

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/core/crm/vet"
	"github.com/keelson/keelson/internal/model/cib"
	"github.com/keelson/keelson/internal/model/spec"
)

// TestNothingIsLeftOutSilently takes each element and each attribute of the
// configuration away in turn: either the import becomes another, or a note names
// it, or what it is part of.
//
// So that there is something to import, all agents are made ones that services can
// stand for.
func TestNothingIsLeftOutSilently(t *testing.T) {
	looked := 0
	for _, path := range corpus(t) {
		root := parse(t, path)
		importable(root)
		looked += lookAt(t, path, root)
	}
	t.Logf("looked at %d elements and attributes", looked)
}

// TestEverythingIsTakenOrListed does the same with a document that has each element
// and each attribute of the language; package vet checks that it has.
func TestEverythingIsTakenOrListed(t *testing.T) {
	path := filepath.Join("testdata", "everything.xml")
	t.Logf("looked at %d elements and attributes", lookAt(t, path, parse(t, path)))
}

func lookAt(t *testing.T, path string, root *cib.Element) int {
	t.Helper()
	services, notes := imported(root)
	s := &silence{t: t, root: root, services: services, notes: notes, listed: names(notes), path: path}
	s.visit(root.Child("configuration"), false)
	return s.looked
}

// imported is what an import gives, with all its notes.
func imported(root *cib.Element) ([]spec.Service, []string) {
	changed, err := vet.Check(root)
	if err != nil {
		return nil, []string{err.Error()}
	}
	services, notes := Import(root, noon)
	return services, append(changed, notes...)
}

// importable makes all agents but those of fence devices ones that are understood.
func importable(root *cib.Element) {
	root.Child("configuration").Walk(func(e *cib.Element) {
		if e.Name != "primitive" && e.Name != "template" || e.Attr("class") == "stonith" || e.Has("template") {
			return
		}
		e.Attrs["class"], e.Attrs["provider"], e.Attrs["type"] = "ocf", "heartbeat", "anything"
		e.Children = append(e.Children, &cib.Element{Name: "instance_attributes", Attrs: map[string]string{"id": e.ID() + "-bin"}, Children: []*cib.Element{
			{Name: "nvpair", Attrs: map[string]string{"id": e.ID() + "-bin-file", "name": "binfile", "value": "/bin/" + e.ID()}},
		}})
	})
}

// names returns the words of the notes.
func names(notes []string) map[string]bool {
	out := map[string]bool{}
	for _, n := range notes {
		for _, w := range strings.FieldsFunc(n, func(r rune) bool { return strings.ContainsRune(" :,()=", r) }) {
			out[w] = true
		}
	}
	return out
}

type silence struct {
	t        *testing.T
	path     string
	root     *cib.Element
	services any
	notes    []string
	listed   map[string]bool
	looked   int
}

// visit looks at all that lies in an element. Covered elements are in one that is
// listed.
func (s *silence) visit(e *cib.Element, covered bool) {
	for i := 0; i < len(e.Children); i++ {
		c := e.Children[i]
		all := e.Children
		told := covered || s.listed[c.ID()] || harmless(c)
		if !told {
			e.Children = append(slices.Clone(all[:i]), all[i+1:]...)
			s.check("element", c, c.Name)
			e.Children = all
		}
		if !told || harmless(c) || c.Name == "primitive" && c.Attr("class") != "stonith" || c.Name == "group" || c.Name == "clone" || c.Name == "master" {
			s.visit(c, covered || s.listed[c.ID()] && s.out(c.ID()))
		}
		if covered || harmless(c) || told && !s.partly(c) {
			continue
		}
		for k := range maps.Clone(c.Attrs) {
			v := c.Attrs[k]
			if c.Name == "nvpair" || byDefault(k, v) || s.says(c, k) {
				continue
			}
			delete(c.Attrs, k)
			s.check("attribute "+k+" of", c, k+"="+v)
			c.Attrs[k] = v
		}
	}
}

// partly reports whether the notes on a constraint say something of it and not that
// it is left out, so that its attributes have to be looked at one by one.
func (s *silence) partly(e *cib.Element) bool {
	if !strings.HasPrefix(e.Name, "rsc_") {
		return false
	}
	for _, n := range s.notes {
		if _, said, is := strings.Cut(n, e.Name+" "+e.ID()+": "); is && (strings.HasPrefix(said, "it ") || strings.Contains(said, " before ")) &&
			!strings.HasPrefix(said, "it is about ") {
			return false
		}
	}
	return true
}

// says reports whether a note names an element and one of its attributes.
func (s *silence) says(e *cib.Element, attribute string) bool {
	return slices.ContainsFunc(s.notes, func(n string) bool {
		return strings.HasPrefix(n, e.Name+" "+e.ID()+": ") && strings.Contains(n, attribute)
	})
}

// byDefault reports whether an attribute says what holds without it, or only names.
func byDefault(name, value string) bool {
	switch name {
	case "id", "description", "provider", "uname":
		return true
	}
	switch name + "=" + strings.ToLower(value) {
	case "type=member", "first-action=start", "then-action=start", "kind=mandatory", "role=started", "rsc-role=started", "with-rsc-role=started",
		"symmetrical=true", "sequential=true", "require-all=true", "action=start", "boolean-op=and", "score=0":
		return true
	}
	return false
}

// harmless elements say nothing that an import could lose.
func harmless(e *cib.Element) bool {
	switch e.Name {
	case "nvpair":
		switch e.Attr("name") {
		case "stonith-enabled", "fencing-enabled", "dc-version", "cluster-infrastructure", "cluster-name", "have-watchdog", "last-lrm-refresh":
			return true
		}
		switch e.Attr("name") + "=" + strings.ToLower(e.Attr("value")) {
		case "clone-node-max=1", "target-role=started", "target-role=promoted", "target-role=#default", "globally-unique=false",
			"promoted-max=1", "is-managed=1", "is-managed=true", "is-managed=#default", "resource-stickiness=0", "priority=0", "migration-threshold=infinity":
			return true
		}
	case "node":
		return true // nodes are not imported
	case "cluster_property_set", "meta_attributes", "instance_attributes", "utilization", "crm_config", "group", "clone":
		return !slices.ContainsFunc(e.Children, func(c *cib.Element) bool { return !harmless(c) })
	case "fencing-topology", "alerts", "tags", "acls":
		return true // what is in it is looked at
	case "operations", "constraints", "nodes", "rsc_defaults", "op_defaults":
		return len(e.Children) == 0
	}
	return false
}

// out reports whether a note says that all of a resource is left out.
func (s *silence) out(id string) bool {
	return slices.ContainsFunc(s.notes, func(n string) bool {
		return strings.Contains(n, " "+id+": it is left out, with all") || strings.Contains(n, " "+id+": fence devices") ||
			strings.Contains(n, " "+id+": no kind of part")
	})
}

// twice reports whether the document says the same of the same name once more.
func (s *silence) twice(e *cib.Element) bool {
	n := 0
	s.root.Child("configuration").Walk(func(o *cib.Element) {
		if o.Name == "nvpair" && o.Attr("name") == e.Attr("name") && strings.EqualFold(o.Attr("value"), e.Attr("value")) {
			n++
		}
	})
	return n > 0 // e itself is taken away
}

// redundant reports whether all that a set says is said elsewhere too, or means
// nothing for its kind of resource.
func redundant(e *cib.Element) bool {
	switch e.ID() {
	case "res_Dummy1-meta_attributes", // the clone around it is stopped already
		"instance_attributes.id21887", "instance_attributes.id21914", "nvpair.id21921", // the group says so first
		"PROMOTABLE_RSC_A-meta_attributes-promotable", // the element around it says so
		"o8", "n1-b", "n1-b1", "n1-v", "ip-l", "ip-l1", // a set of a higher score says it too
		"rd-class", "rd3", "rd-from", "rd4": // there is no resource of that agent
		return true
	}
	return false
}

func (s *silence) check(what string, e *cib.Element, name string) {
	s.looked++
	services, notes := imported(s.root)
	if e.Name == "nvpair" && s.twice(e) || redundant(e) {
		return
	}
	if cmp.Equal(s.services, any(services)) && slices.Equal(s.notes, notes) {
		s.t.Errorf("%s: without the %s %s %s the import is the same, and no note names it (%s)", s.path, what, e.Name, e.ID(), name)
	}
}
