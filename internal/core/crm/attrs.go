package crm

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/model/cib"
)

// attrs are name and value pairs.
type attrs map[string]string

// get returns the value of the first of the names that is set.
func (a attrs) get(names ...string) string {
	for _, n := range names {
		if v, ok := a[n]; ok {
			return v
		}
	}
	return ""
}

// fill takes over what is not set yet.
func (a attrs) fill(from attrs) {
	for k, v := range from {
		if _, set := a[k]; !set {
			a[k] = v
		}
	}
}

// sets reads all attribute sets of a name that apply. Of two that name the same
// attribute the one with the higher score counts, then the earlier one.
func (d *document) sets(e *cib.Element, name string, about *subject) attrs {
	type scored struct {
		set   *cib.Element
		score int
	}
	var all []scored
	for _, set := range e.All(name) {
		set = d.refer(set)
		if set == nil {
			continue
		}
		if rule := set.Child("rule"); rule != nil && !d.holds(rule, about) {
			continue
		}
		all = append(all, scored{set, number(set.Attr("score"), 0)})
	}
	slices.SortStableFunc(all, func(a, b scored) int { return cmp.Compare(b.score, a.score) })
	out := attrs{}
	for _, s := range all {
		own := attrs{}
		for _, pair := range s.set.All("nvpair") {
			value := d.refer(pair)
			key := pair.Attr("name")
			if key == "" {
				key = value.Attr("name")
			}
			own[key] = value.Attr("value")
		}
		out.fill(own)
	}
	return out
}

// refer returns the element that e refers to, or e.
func (d *document) refer(e *cib.Element) *cib.Element {
	if ref := e.Attr("id-ref"); ref != "" {
		return d.byID[ref]
	}
	return e
}

// truth reads a boolean.
func truth(s string) bool {
	switch strings.ToLower(s) {
	case "true", "on", "yes", "y", "1":
		return true
	}
	return false
}

// isSet reports whether a boolean is true, or missing and true by default.
func isSet(s string, byDefault bool) bool {
	if s == "" {
		return byDefault
	}
	return truth(s)
}

// number reads the leading integer of a text.
func number(s string, byDefault int) int {
	s = strings.TrimSpace(s)
	if s == "" {
		return byDefault
	}
	end := 0
	for end < len(s) && (s[end] >= '0' && s[end] <= '9' || end == 0 && (s[end] == '-' || s[end] == '+')) {
		end++
	}
	n, err := strconv.Atoi(strings.TrimPrefix(s[:end], "+"))
	if err != nil {
		return byDefault
	}
	return n
}

// duration reads a time with its unit, seconds if it has none.
func duration(s string) time.Duration {
	s = strings.TrimSpace(s)
	if strings.HasPrefix(s, "P") {
		return isoDuration(s)
	}
	n := number(s, 0)
	unit := strings.TrimSpace(strings.TrimLeft(s, "+-0123456789"))
	switch unit {
	case "ms", "msec":
		return time.Duration(n) * time.Millisecond
	case "us", "usec":
		return time.Duration(n) * time.Microsecond
	case "m", "min":
		return time.Duration(n) * time.Minute
	case "h", "hr":
		return time.Duration(n) * time.Hour
	}
	return time.Duration(n) * time.Second
}

// isoDuration reads an ISO 8601 duration of days and less.
func isoDuration(s string) time.Duration {
	var total time.Duration
	inTime := false
	rest := s[1:]
	for rest != "" {
		if rest[0] == 'T' {
			inTime, rest = true, rest[1:]
			continue
		}
		n := number(rest, 0)
		rest = strings.TrimLeft(rest, "0123456789")
		if rest == "" {
			break
		}
		switch {
		case rest[0] == 'W':
			total += time.Duration(n) * 7 * 24 * time.Hour
		case rest[0] == 'D':
			total += time.Duration(n) * 24 * time.Hour
		case rest[0] == 'H':
			total += time.Duration(n) * time.Hour
		case rest[0] == 'M' && inTime:
			total += time.Duration(n) * time.Minute
		case rest[0] == 'S':
			total += time.Duration(n) * time.Second
		}
		rest = rest[1:]
	}
	return total
}
