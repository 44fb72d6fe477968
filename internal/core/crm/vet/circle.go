package vet

import (
	"strings"

	"github.com/keelson/keelson/internal/model/cib"
)

// circles notes orders that go in a circle, and so hold for nobody in it. Only orders
// of the same action that must be kept are looked at, and of sets only the chain.
func (c *checker) circles(constraints *cib.Element) {
	next := map[string][]string{}
	var names []string
	add := func(first, then, action string) {
		from, to := first+" "+action, then+" "+action
		if _, known := next[from]; !known {
			names = append(names, from)
		}
		next[from] = append(next[from], to)
	}
	for _, o := range constraints.All("rsc_order") {
		if kind := strings.ToLower(o.Attr("kind")); kind != "" && kind != "mandatory" || kind == "" && strings.TrimSpace(o.Attr("score")) == "0" {
			continue
		}
		action := orStart(o.Attr("first-action"))
		if then := o.Attr("then-action"); o.Has("first") && (then == "" || then == action) {
			add(o.Attr("first"), o.Attr("then"), action)
		}
		last := ""
		for _, set := range o.All("resource_set") {
			for _, ref := range set.All("resource_ref") {
				if last != "" && !strings.EqualFold(set.Attr("sequential"), "false") {
					add(last, ref.ID(), orStart(set.Attr("action")))
				}
				last = ref.ID()
			}
		}
	}
	done := map[string]bool{}
	for _, name := range names {
		c.circle(name, next, done)
	}
}

func orStart(action string) string {
	if action == "" {
		return "start"
	}
	return action
}

// circle follows the orders from one on, and notes the first way that leads back.
func (c *checker) circle(from string, next map[string][]string, done map[string]bool) {
	type at struct {
		name string
		then int
	}
	on := map[string]int{}
	var way []at
	push := func(name string) {
		on[name], done[name] = len(way), true
		way = append(way, at{name: name})
	}
	if !done[from] {
		push(from)
	}
	for len(way) > 0 {
		top := &way[len(way)-1]
		if top.then >= len(next[top.name]) {
			delete(on, top.name)
			way = way[:len(way)-1]
			continue
		}
		to := next[top.name][top.then]
		top.then++
		if begin, back := on[to]; back {
			var said []string
			for _, a := range way[begin:] {
				said = append(said, quoted(a.name[:strings.LastIndexByte(a.name, ' ')]))
			}
			if len(said) > maxSteps {
				said = append(said[:maxSteps], "...")
			}
			c.note("rsc_order: these go in a circle: %s before %s", strings.Join(said, " before "), said[0])
			continue
		}
		if !done[to] {
			push(to)
		}
	}
}
