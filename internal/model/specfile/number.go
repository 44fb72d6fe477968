package specfile

import (
	"encoding"
	"errors"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/keelson/keelson/internal/model/spec"
)

// unread is a number that could not be read. What is said of it waits for its
// range, which the checks of the service know: until then a number beyond every
// range stands in its place.
type unread struct {
	problem Problem
	also    string // what else could be done; may be empty
}

// hold keeps a problem with a number back until its range is known.
func (d *decoder) hold(v value, code spec.Code, message, hint string) {
	d.unread[v.path] = unread{problem: d.source.problem(v.at, v.path, code, message, hint)}
}

// give says the range, as the hint of p has it.
func (u unread) give(p spec.Problem) Problem {
	out := u.problem
	span, known := strings.CutPrefix(p.Hint, "give ")
	switch {
	case out.Hint == "":
		out.Hint = p.Hint + u.also
	case known && strings.Contains(out.Hint, "a number and a unit"):
		out.Hint += ", from " + span
	}
	return out
}

// judge adds what is wrong with the content of s. Where the form is wrong, what
// that alone may explain is left out: what is missing, and what does not go with
// something else.
func (d *decoder) judge(s spec.Service) {
	wrongForm := len(d.problems)+len(d.unread) > 0
	broken := slices.AppendSeq(slices.Clone(d.missing), maps.Keys(d.unread))
	for _, p := range d.problems {
		if p.Code != MissingKey {
			broken = append(broken, p.Path)
		}
	}
	for _, p := range s.Normalize().Validate() {
		if held, is := d.unread[p.Path]; is {
			if p.Code == spec.OutOfRange {
				d.problems = append(d.problems, held.give(p))
				delete(d.unread, p.Path)
			}
			continue
		}
		if wrongForm && (p.Code == spec.Clash || d.explained(p.Path, broken)) {
			continue
		}
		d.add(d.source.place(d.places, []spec.Problem{p}))
	}
	for _, path := range slices.Sorted(maps.Keys(d.unread)) {
		d.problems = append(d.problems, d.unread[path].problem)
	}
}

// explained tells whether what is wrong at path may come of what is broken: in
// the value itself or, if there is none, in what it would stand in.
func (d *decoder) explained(path string, broken []string) bool {
	at := d.places.nearest(path)
	return slices.ContainsFunc(broken, func(b string) bool {
		return within(at, b) || within(b, at)
	})
}

// within tells whether path is outer or leads into it.
func within(path, outer string) bool {
	rest, ok := strings.CutPrefix(path, outer)
	return ok && (rest == "" || outer == "" || rest[0] == '.' || rest[0] == '[')
}

// unit reads a text with a unit: a duration, a size.
func unit[T ~int64](d *decoder, to *T) func(value) {
	return func(v value) {
		s, ok := scalarText(v.node)
		if !ok {
			*to = math.MaxInt64
			d.hold(v, WrongType, "expected a number with a unit, found "+describe(v.node), "")
			return
		}
		err := any(to).(encoding.TextUnmarshaler).UnmarshalText([]byte(s)) //nolint:forcetypeassert // only such types are read
		switch {
		case errors.Is(err, spec.ErrOutOfRange):
			*to = math.MaxInt64
			d.hold(v, spec.OutOfRange, err.Error(), "")
		case err != nil:
			*to = math.MaxInt64
			message, hint := err.Error(), ""
			if cut := strings.LastIndex(message, ": "); cut >= 0 {
				message, hint = message[:cut], message[cut+2:]
			}
			d.hold(v, BadValue, message, hint)
		}
	}
}

// some refuses a zero for a value whose zero means "not set": who writes 0 does
// not expect the default.
func some[T ~int | ~int64](d *decoder, to *T, read func(value)) func(value) {
	return notZero(d, to, ", or remove the key to have the default", read)
}

// limit refuses a zero, which reads like "none at all" and would mean "no limit".
func limit[T ~int | ~int64 | ~float64](d *decoder, to *T, read func(value)) func(value) {
	return notZero(d, to, ", or remove the key to have no limit", read)
}

// notZero refuses a zero; also says what else to do about it.
func notZero[T ~int | ~int64 | ~float64](d *decoder, to *T, also string, read func(value)) func(value) {
	return func(v value) {
		read(v)
		if *to != 0 {
			return
		}
		*to = math.MaxInt
		d.hold(v, spec.OutOfRange, "0 is out of range", "")
		held := d.unread[v.path]
		held.also = also
		d.unread[v.path] = held
	}
}

func whole(d *decoder, to *int) func(value) {
	return func(v value) {
		s, _ := scalarText(v.node)
		n, err := strconv.Atoi(s)
		if err == nil && !quoted(v.node) {
			*to = n
			return
		}
		*to = math.MaxInt
		_, integer := v.node.(*ast.IntegerNode)
		switch {
		case quoted(v.node):
			d.hold(v, WrongType, "expected a whole number, found "+describe(v.node), "remove the quotes")
		case errors.Is(err, strconv.ErrRange):
			d.hold(v, spec.OutOfRange, clip(s, 60)+" is out of range", "")
		case integer:
			d.hold(v, WrongType, "expected a whole number in decimal digits, found "+describe(v.node), "")
		default:
			d.hold(v, WrongType, "expected a whole number, found "+describe(v.node), "")
		}
	}
}

func number(d *decoder, to *float64) func(value) {
	return func(v value) {
		s, _ := scalarText(v.node)
		n, err := strconv.ParseFloat(s, 64)
		plain := !quoted(v.node) && !strings.ContainsAny(s, "xX")
		if err == nil && plain {
			*to = n
			return
		}
		*to = math.Inf(1)
		_, infinite := v.node.(*ast.InfinityNode)
		switch {
		case quoted(v.node):
			d.hold(v, WrongType, "expected a number, found "+describe(v.node), "remove the quotes")
		case infinite || plain && errors.Is(err, strconv.ErrRange):
			d.hold(v, spec.OutOfRange, clip(s, 60)+" is out of range", "")
		default:
			d.hold(v, WrongType, "expected a decimal number, found "+describe(v.node), "")
		}
	}
}

// amounts reads how much of each unit, by the unit's name.
func amounts(d *decoder, to *map[string]int) func(value) {
	return func(v value) {
		entries := d.entries(v, "a mapping such as {cpu: 2}")
		*to = make(map[string]int, len(entries))
		for _, e := range entries {
			var n int
			whole(d, &n)(e.value)
			(*to)[e.name] = n
		}
	}
}
