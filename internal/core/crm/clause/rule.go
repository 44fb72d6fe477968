package clause

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/model/cib"
)

// Subject is what a rule is asked about. All fields may be zero, and so may the
// subject.
type Subject struct {
	// Attribute returns an attribute of the node; nil if the rule is asked about
	// none.
	Attribute func(name string) (string, bool)
	// Agent is the element with the resource's class, provider and type; nil if
	// the rule is asked about no resource.
	Agent *cib.Element
	// Base is the name of the resource in the configuration.
	Base         string
	Params, Meta Attrs
	// Op and Interval are those of the operation; empty for none.
	Op       string
	Interval time.Duration
}

// Holds reports whether a rule applies. One that refers to itself does not.
func (r *Reader) Holds(rule *cib.Element, about *Subject) bool {
	if about == nil {
		about = &Subject{}
	}
	return r.holds(rule, about, maxNested)
}

// maxNested bounds how deep rules lie within rules.
const maxNested = 32

func (r *Reader) holds(rule *cib.Element, about *Subject, left int) bool {
	rule = r.Refer(rule)
	if rule == nil || left <= 0 {
		return false
	}
	all := rule.Attr("boolean-op") != "or"
	for _, e := range rule.Children {
		var yes bool
		switch e.Name {
		case "rule":
			yes = r.holds(e, about, left-1)
		case "expression":
			yes = r.expression(e, about)
		case "date_expression":
			yes = r.date(e)
		case "rsc_expression":
			yes = about.Agent != nil && isAgent(about.Agent, e)
		case "op_expression":
			yes = about.Op == e.Attr("name") &&
				(!e.Has("interval") || Duration(e.Attr("interval")) == about.Interval)
		default:
			continue
		}
		if yes != all {
			return !all
		}
	}
	return all
}

// isAgent reports whether an agent is what an expression names.
func isAgent(agent, e *cib.Element) bool {
	for _, k := range [...]string{"class", "provider", "type"} {
		if e.Has(k) && e.Attr(k) != agent.Attr(k) {
			return false
		}
	}
	return true
}

// expression compares an attribute of a node.
func (r *Reader) expression(e *cib.Element, about *Subject) bool {
	name := e.Attr("attribute")
	got, has := "", false
	if about.Attribute != nil {
		if about.Agent != nil && !strings.HasPrefix(name, "#") {
			name = strings.ReplaceAll(name, "%@", about.Base)
		}
		got, has = about.Attribute(name)
	}
	want := e.Attr("value")
	switch e.Attr("value-source") {
	case "param":
		if about.Agent != nil {
			want = about.Params[want]
		}
	case "meta":
		if about.Agent != nil {
			want = about.Meta[want]
		}
	}
	switch e.Attr("operation") {
	case "defined":
		return has
	case "not_defined":
		return !has
	}
	if !has {
		return e.Attr("operation") == "ne"
	}
	order := compare(got, want, e.Attr("type"), e.Attr("operation"))
	switch e.Attr("operation") {
	case "eq":
		return order == 0
	case "ne":
		return order != 0
	case "lt":
		return order < 0
	case "lte":
		return order <= 0
	case "gt":
		return order > 0
	case "gte":
		return order >= 0
	}
	return false
}

// compare compares two texts as what a rule says they are. Without a type,
// order is by number and equality by text.
func compare(a, b, kind, operation string) int {
	if kind == "" {
		kind = "string"
		switch operation {
		case "lt", "lte", "gt", "gte":
			kind = "integer"
			if strings.Contains(a, ".") || strings.Contains(b, ".") {
				kind = "number"
			}
		}
	}
	switch kind {
	case "integer", "number":
		x, errX := strconv.ParseFloat(strings.TrimSpace(a), 64)
		y, errY := strconv.ParseFloat(strings.TrimSpace(b), 64)
		if errX != nil || errY != nil {
			return cmp.Compare(strings.ToLower(a), strings.ToLower(b))
		}
		if kind == "integer" {
			return cmp.Compare(int64(x), int64(y))
		}
		return cmp.Compare(x, y)
	case "version":
		return CompareVersions(a, b)
	}
	return cmp.Compare(strings.ToLower(a), strings.ToLower(b))
}

// CompareVersions compares two versions, number by number.
func CompareVersions(a, b string) int {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(x), len(y)) {
		var m, n int
		if i < len(x) {
			m = Number(x[i], 0)
		}
		if i < len(y) {
			n = Number(y[i], 0)
		}
		if m != n {
			return cmp.Compare(m, n)
		}
	}
	return 0
}

// date reports whether a date expression holds now.
func (r *Reader) date(e *cib.Element) bool {
	now := r.Now
	start, hasStart := Moment(e.Attr("start"))
	end, hasEnd := Moment(e.Attr("end"))
	if span := e.Child("duration"); span != nil && hasStart && !hasEnd {
		end, hasEnd = addDuration(start, span), true
	}
	switch e.Attr("operation") {
	case "gt":
		return hasStart && now.After(start)
	case "lt":
		return hasEnd && now.Before(end)
	case "date_spec":
		return matchesSpec(now, e.Child("date_spec"))
	}
	if !hasStart && !hasEnd {
		return false
	}
	return (!hasStart || !now.Before(start)) && (!hasEnd || !now.After(end))
}

func addDuration(t time.Time, span *cib.Element) time.Time {
	n := func(k string) int { return Number(span.Attr(k), 0) }
	t = t.AddDate(n("years"), n("months"), 7*n("weeks")+n("days"))
	return t.Add(time.Duration(n("hours"))*time.Hour + time.Duration(n("minutes"))*time.Minute + time.Duration(n("seconds"))*time.Second)
}

// matchesSpec reports whether all fields of a date specification hold.
func matchesSpec(t time.Time, spec *cib.Element) bool {
	if spec == nil {
		return false
	}
	weekday := int(t.Weekday())
	if weekday == 0 {
		weekday = 7
	}
	isoYear, week := t.ISOWeek()
	fields := []struct {
		key   string
		value int
	}{
		{"years", t.Year()},
		{"months", int(t.Month())},
		{"monthdays", t.Day()},
		{"hours", t.Hour()},
		{"minutes", t.Minute()},
		{"seconds", t.Second()},
		{"yeardays", t.YearDay()},
		{"weekyears", isoYear},
		{"weeks", week},
		{"weekdays", weekday},
	}
	for _, f := range fields {
		if spec.Has(f.key) && !inRange(spec.Attr(f.key), f.value) {
			return false
		}
	}
	return true
}

func inRange(text string, v int) bool {
	low, high, isRange := strings.Cut(text, "-")
	if !isRange {
		return Number(text, v-1) == v
	}
	return (low == "" || v >= Number(low, v)) && (high == "" || v <= Number(high, v))
}

// Moment reads a point in time.
func Moment(s string) (time.Time, bool) {
	s = strings.TrimSpace(s)
	for _, layout := range [...]string{
		time.RFC3339, "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05 -07:00", "2006-01-02T15:04:05",
		"2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02", "2006-002", "20060102",
	} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), true
		}
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n > 100_000_000 {
		return time.Unix(n, 0).UTC(), true
	}
	return time.Time{}, false
}
