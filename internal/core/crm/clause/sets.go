// Package clause reads the small language that a cluster information base is
// written in: scores, times and truths, sets of attributes, and the rules on which
// they depend.
//
// Its main rule is that what cannot be read has the value that the incumbent gives
// it, and never stops the reading. It knows nothing of resources or nodes: who asks
// says what a rule is asked about.
//
// The package is pure: the time is part of the reader.
package clause

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/model/cib"
)

// Inf is the score that is a rule and no preference.
const Inf = 1_000_000

// Reader reads clauses of one document.
type Reader struct {
	// Now is when the rules are asked.
	Now time.Time
	// ByID are the elements of the document that others may refer to.
	ByID map[string]*cib.Element
	// Skip, if not nil, is asked of each set that has a rule; a set that it takes is
	// read as if it were not there.
	Skip func(set, rule *cib.Element) bool
}

// Attrs are name and value pairs.
type Attrs map[string]string

// Get returns the value of the first of the names that is set.
func (a Attrs) Get(names ...string) string {
	for _, n := range names {
		if v, ok := a[n]; ok {
			return v
		}
	}
	return ""
}

// Has reports whether an attribute is set, be it to nothing.
func (a Attrs) Has(name string) bool { _, ok := a[name]; return ok }

// Fill takes over what is not set yet.
func (a Attrs) Fill(from Attrs) {
	for k, v := range from {
		if _, set := a[k]; !set {
			a[k] = v
		}
	}
}

// Sets reads all attribute sets of a name that apply. Of two that name the same
// attribute the one with the higher score counts, then the earlier one.
func (r *Reader) Sets(e *cib.Element, name string, about *Subject) Attrs {
	type scored struct {
		set   *cib.Element
		score int
	}
	var all []scored
	for _, set := range e.All(name) {
		set = r.Refer(set)
		if set == nil {
			continue
		}
		if rule := set.Child("rule"); rule != nil && (r.Skip != nil && r.Skip(set, rule) || !r.Holds(rule, about)) {
			continue
		}
		all = append(all, scored{set, Number(set.Attr("score"), 0)})
	}
	slices.SortStableFunc(all, func(a, b scored) int { return cmp.Compare(b.score, a.score) })
	out := Attrs{}
	for _, s := range all {
		own := Attrs{}
		for _, pair := range s.set.All("nvpair") {
			value := r.Refer(pair)
			key := pair.Attr("name")
			if key == "" {
				key = value.Attr("name")
			}
			if !own.Has(key) {
				own[key] = value.Attr("value")
			}
		}
		out.Fill(own)
	}
	return out
}

// Refer returns the element that e refers to, or e.
func (r *Reader) Refer(e *cib.Element) *cib.Element {
	if ref := e.Attr("id-ref"); ref != "" {
		return r.ByID[ref]
	}
	return e
}

// Truth reads a boolean.
func Truth(s string) bool {
	switch strings.ToLower(s) {
	case "true", "on", "yes", "y", "1":
		return true
	}
	return false
}

// IsSet reports whether a boolean is true, or missing and true by default.
func IsSet(s string, byDefault bool) bool {
	if s == "" {
		return byDefault
	}
	return Truth(s)
}

// Number reads the leading integer of a text.
func Number(s string, byDefault int) int {
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

// Duration reads a time with its unit, seconds if it has none.
func Duration(s string) time.Duration {
	s = strings.TrimSpace(s)
	if strings.HasPrefix(s, "P") {
		return isoDuration(s)
	}
	n := Number(s, 0)
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
		n := Number(rest, 0)
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

// Score reads a score.
func Score(s string, byDefault int) int {
	switch strings.ToUpper(strings.TrimSpace(s)) {
	case "":
		return byDefault
	case "INFINITY", "+INFINITY":
		return Inf
	case "-INFINITY":
		return -Inf
	case "RED", "YELLOW", "GREEN":
		return 0
	}
	return max(-Inf, min(Inf, Number(s, byDefault)))
}
