package specfile

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/keelson/keelson/internal/model/spec"
)

// decoder reads one document.
type decoder struct {
	source   source
	places   places
	problems Problems
	unread   map[string]unread // by path
	missing  []string          // keys that must be there and are not
}

// value is a value in the document and the path that leads to it.
type value struct {
	node ast.Node
	path string
	at   place
}

// key is a key that a mapping may have, and what becomes of its value.
type key struct {
	name string
	read func(value)
}

func (d *decoder) add(ps Problems) {
	d.problems = append(d.problems, ps...)
}

func (d *decoder) problem(v value, code spec.Code, message, hint string) {
	d.problems = append(d.problems, d.source.problem(v.at, v.path, code, message, hint))
}

// value notes where a value stands. A mapping or list stands where its key does.
func (d *decoder) value(node ast.Node, path string, key place) value {
	at := key
	if _, scalar := scalarText(node); scalar || key == (place{}) {
		at = placeOf(node.GetToken())
	}
	if m, ok := node.(*ast.MappingNode); ok && key == (place{}) && !m.IsFlowStyle && len(m.Values) > 0 {
		at = placeOf(m.Values[0].Key.GetToken())
	}
	d.places[path] = at
	return value{node: node, path: path, at: at}
}

// entry is one key of a mapping with its value.
type entry struct {
	name  string
	at    place
	value value
}

// entries returns the entries of a mapping. Keys that are not plain text or
// come twice are problems and are left out.
func (d *decoder) entries(v value, want string) []entry {
	m, ok := v.node.(*ast.MappingNode)
	if !ok {
		d.wrongType(v, want)
		return nil
	}
	var out []entry
	seen := make(map[string]place)
	for _, pair := range m.Values {
		at := placeOf(pair.Key.GetToken())
		name, plain := scalarText(pair.Key)
		if !plain || pair.Value == nil {
			d.problem(value{path: v.path, at: at}, WrongType, "the key is not plain text", "write it as key: value")
			continue
		}
		path := join(v.path, name)
		if first, twice := seen[name]; twice {
			d.problem(value{path: path, at: at}, DuplicateKey, fmt.Sprintf("the key %q is here twice", clip(name, 60)),
				fmt.Sprintf("the first is in line %d; remove one of them", first.line))
			continue
		}
		seen[name] = at
		out = append(out, entry{name, at, d.value(pair.Value, path, at)})
	}
	return out
}

// mapping reads a mapping with known keys.
func (d *decoder) mapping(v value, want string, keys []key) {
next:
	for _, e := range d.entries(v, want) {
		for _, k := range keys {
			if k.name == e.name {
				k.read(e.value)
				continue next
			}
		}
		if m, hint, known := elsewhere(e.name); known && want == wantPart {
			d.problem(value{path: e.value.path, at: e.at}, spec.NotYet, m, hint)
			continue
		}
		if want == wantPart {
			if m, hint, known := d.inside(e.name); known {
				d.problem(value{path: e.value.path, at: e.at}, UnknownKey, m, hint)
				continue
			}
		}
		names := namesOf(keys)
		d.problem(value{path: e.value.path, at: e.at}, UnknownKey, fmt.Sprintf("unknown key %q", clip(e.name, 60)), suggest(e.name, names))
	}
}

func namesOf(keys []key) []string {
	names := make([]string, 0, len(keys))
	for _, k := range keys {
		names = append(names, k.name)
	}
	return names
}

// items returns the items of a list.
func (d *decoder) items(v value, want string) []value {
	list, ok := v.node.(*ast.SequenceNode)
	if !ok {
		d.wrongType(v, want)
		return nil
	}
	var out []value
	for i, node := range list.Values {
		if node == nil {
			continue
		}
		out = append(out, d.value(node, fmt.Sprintf("%s[%d]", v.path, i), place{}))
	}
	return out
}

// wrongType reports a value that is not what was wanted.
func (d *decoder) wrongType(v value, want string) {
	hint := ""
	if quoted(v.node) {
		hint = "remove the quotes"
	}
	d.problem(v, WrongType, fmt.Sprintf("expected %s, found %s", want, describe(v.node)), hint)
}

func quoted(node ast.Node) bool {
	s, ok := node.(*ast.StringNode)
	return ok && (s.Token.Type == token.SingleQuoteType || s.Token.Type == token.DoubleQuoteType)
}

func describe(node ast.Node) string {
	switch n := node.(type) {
	case *ast.NullNode:
		return "nothing"
	case *ast.MappingNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	default:
		text, _ := scalarText(n)
		return strconv.Quote(clip(text, 60))
	}
}

// scalarText returns a scalar as it is written, without quotes. Nothing at all
// is not a scalar.
func scalarText(node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// text reads text. A number or a truth value is taken as it is written.
func text[T ~string](d *decoder, to *T) func(value) {
	return func(v value) {
		s, ok := scalarText(v.node)
		if !ok {
			d.wrongType(v, "text")
			return
		}
		*to = T(s)
	}
}

// said reads a text of which none means the default. An empty one is refused: who
// leaves a variable of a template empty does not mean to run a program as root.
func said[T ~string](d *decoder, to *T) func(value) {
	return func(v value) {
		text(d, to)(v)
		if s, ok := scalarText(v.node); ok && s == "" {
			d.problem(v, BadValue, `"" says nothing`, "give a value, or remove the key to have the default")
		}
	}
}

// texts reads a list of texts.
func texts[T ~string](d *decoder, to *[]T) func(value) {
	return func(v value) {
		*to = nil
		for _, item := range d.items(v, "a list") {
			var s T
			text(d, &s)(item)
			*to = append(*to, s)
		}
	}
}

// textMap reads a mapping with keys of the operator's own.
func textMap(d *decoder, to *map[string]string) func(value) {
	return func(v value) {
		entries := d.entries(v, "a mapping")
		*to = make(map[string]string, len(entries))
		for _, e := range entries {
			var s string
			text(d, &s)(e.value)
			(*to)[e.name] = s
		}
	}
}

// optional reads a value that knows "not set" by being nil.
func optional[T any](to **T, read func(*T) func(value)) func(value) {
	return func(v value) {
		*to = new(T)
		read(*to)(v)
	}
}

func truth(d *decoder, to *bool) func(value) {
	return func(v value) {
		b, ok := v.node.(*ast.BoolNode)
		if !ok {
			d.wrongType(v, "true or false")
			return
		}
		*to = b.Value
	}
}

func join(path, name string) string {
	name = clip(name, 60)
	if path == "" {
		return name
	}
	return path + "." + name
}

// suggest names the candidate nearest to name or, if none is near, all of them.
// A candidate that name is the beginning of is near.
func suggest(name string, candidates []string) string {
	if best := Nearest(name, candidates); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return "known here: " + strings.Join(candidates, ", ")
}

// Nearest returns the candidate that name was most likely meant to be, empty if none
// is near.
func Nearest(name string, candidates []string) string {
	name = strings.ToLower(clip(name, 60))
	best, least := "", max(2, len(name)/3)+1
	for _, c := range candidates {
		d := distance(name, c)
		if len(name) > 2 && strings.HasPrefix(c, name) {
			d = 0
		}
		if d < least {
			best, least = c, d
		}
	}
	return best
}

// distance is how many characters must be added, removed, replaced or swapped
// with their neighbor to get from a to b, where no part is edited twice
// (Damerau-Levenshtein distance, "optimal string alignment").
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	rows := make([][]int, len(x)+1)
	for i := range rows {
		rows[i] = make([]int, len(y)+1)
		rows[i][0] = i
	}
	for j := range y {
		rows[0][j+1] = j + 1
	}
	for i := range x {
		for j := range y {
			cost := 1
			if x[i] == y[j] {
				cost = 0
			}
			d := min(rows[i][j+1]+1, rows[i+1][j]+1, rows[i][j]+cost)
			if i > 0 && j > 0 && x[i] == y[j-1] && x[i-1] == y[j] {
				d = min(d, rows[i-1][j-1]+1)
			}
			rows[i+1][j+1] = d
		}
	}
	return rows[len(x)][len(y)]
}
