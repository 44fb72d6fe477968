// Package specfile turns the operator's files into specs and back.
//
// A file is YAML: one or more documents, each one service in the form of
// docs/service.md. Reading is strict: whatever is not understood to the
// letter is a [Problem] that names file, line, column and key, and the nearest
// key that would have been right. A file with a problem yields no service at
// all. It refuses YAML's anchors, aliases, tags and merge keys, which let a
// small file mean a large one or a value be something other than it looks.
package specfile

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/keelson/keelson/internal/model/spec"
)

// Limits of a file.
const (
	MaxBytes     = 1 << 20
	MaxDocuments = 256
	// MaxTokens bounds the keys, values and marks of a file. The parser's time
	// grows with the square of their number.
	MaxTokens = 50_000
	// MaxDepth bounds how deep values are nested, counted in brackets or in
	// columns at which something begins. The deepest valid file needs 16.
	MaxDepth = 48
)

// File is a file that was read without a problem.
type File struct {
	// Services are the services in the order of the file, normalized and valid.
	Services []spec.Service

	source source
	places []places // by service
}

// Parse returns the services of a file, normalized and valid, in the order of
// the file. The error is of type [Problems]; then no service is returned. name
// appears in problems only. Parse never panics, whatever content is.
func Parse(name string, content []byte) ([]spec.Service, error) {
	f, err := Read(name, content)
	if err != nil {
		return nil, err
	}
	return f.Services, nil
}

// Read is [Parse] for callers who want to check the file against a cell too.
func Read(name string, content []byte) (*File, error) {
	src := source{name: name}
	if len(content) > MaxBytes {
		return nil, Problems{src.problem(place{}, "", TooLarge,
			fmt.Sprintf("the file has %v", spec.Size(len(content))), fmt.Sprintf("split it; a file may have at most %v", spec.Size(MaxBytes)))}
	}
	documents, err := src.read(content)
	if err != nil {
		return nil, err
	}

	f := &File{source: src}
	var found Problems
	for _, doc := range documents {
		d := &decoder{source: src, places: places{}, unread: map[string]unread{}}
		s := d.document(doc).Normalize()
		if _, ok := doc.Body.(*ast.MappingNode); ok {
			d.judge(s)
		}
		found = append(found, d.problems...)
		f.Services = append(f.Services, s)
		f.places = append(f.places, d.places)
	}
	found = append(found, f.twice()...)
	if len(documents) == 0 && len(found) == 0 {
		found = Problems{src.problem(place{}, "", Empty, "the file holds no service", "begin with kind: service")}
	}
	if len(found) == 0 {
		_, err := f.CheckAgainst(nil)
		if err != nil {
			return nil, err
		}
		return f, nil
	}
	slices.SortStableFunc(found, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return nil, found
}

// twice reports services that the file defines more than once.
func (f *File) twice() Problems {
	var found Problems
	first := make(map[spec.ServiceName]int)
	for i, s := range f.Services {
		at := f.places[i].find("name")
		line, seen := first[s.Name]
		switch {
		case s.Name == "":
		case seen:
			found = append(found, f.source.problem(at, "name", DuplicateService,
				fmt.Sprintf("service %q is in this file twice", s.Name), fmt.Sprintf("the first is in line %d; remove or rename one", line)))
		default:
			first[s.Name] = at.line
		}
	}
	return found
}

// CheckAgainst returns what is wrong with the file's services beside those of
// the cell, in which a service of the same name is taken as replaced. Warnings
// do not stand in the way of using the file. err is of type [Problems].
func (f *File) CheckAgainst(cell []spec.Service) (warnings Problems, err error) {
	all := slices.Clone(f.Services)
	for _, s := range cell {
		if !slices.ContainsFunc(f.Services, func(mine spec.Service) bool { return mine.Name == s.Name }) {
			all = append(all, s)
		}
	}
	return f.sort(func(s spec.Service) []spec.Problem { return spec.Conflicts(s, all) })
}

// CheckOn returns what is wrong with the file's services on the nodes of the cell,
// as [File.CheckAgainst] does.
func (f *File) CheckOn(hosts []spec.Host) (warnings Problems, err error) {
	return f.sort(func(s spec.Service) []spec.Problem { return spec.Unfit(s, hosts) })
}

// sort tells warnings from what stands in the way.
func (f *File) sort(judge func(spec.Service) []spec.Problem) (warnings Problems, err error) {
	var wrong Problems
	for i, s := range f.Services {
		for _, p := range f.source.place(f.places[i], judge(s)) {
			if p.Warning {
				warnings = append(warnings, p)
			} else {
				wrong = append(wrong, p)
			}
		}
	}
	if len(wrong) > 0 {
		slices.SortStableFunc(wrong, func(a, b Problem) int {
			return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
		})
		return warnings, wrong
	}
	return warnings, nil
}

// read returns the documents of content that are not empty, and keeps its lines for
// the problems to come.
func (s *source) read(content []byte) ([]*ast.DocumentNode, error) {
	text := strings.TrimPrefix(string(content), "\ufeff")
	s.lines = strings.Split(text, "\n")
	if p, ok := s.notText(); ok {
		return nil, Problems{p}
	}
	return s.parse(text)
}

// notText reports the first thing in the file that no text editor would show.
func (s source) notText() (Problem, bool) {
	for i, line := range s.lines {
		if !utf8.ValidString(line) {
			p := s.problem(place{i + 1, 1}, "", NotText, "the file is not UTF-8 text", "save it as UTF-8")
			p.Excerpt = "" // it cannot be shown
			return p, true
		}
		if column := strings.IndexFunc(line, control); column >= 0 {
			r, _ := utf8.DecodeRuneInString(line[column:])
			return s.problem(place{i + 1, utf8.RuneCountInString(line[:column]) + 1}, "", NotText,
				fmt.Sprintf("the file contains the control character %U", r), "remove it"), true
		}
	}
	return Problem{}, false
}

func control(r rune) bool {
	return r < ' ' && r != '\t' && r != '\r' || r >= 0x7f && r < 0xa0 && r != 0x85 || r == '\ufeff'
}

// parse returns the documents of text that are not empty.
func (s source) parse(text string) (documents []*ast.DocumentNode, err error) {
	// The parser is somebody else's code and reads what anybody may send.
	defer func() {
		if r := recover(); r != nil {
			documents, err = nil, Problems{s.problem(place{}, "", Syntax, "the file cannot be read as YAML", "check its indentation and quotes")}
		}
	}()
	tokens := lexer.Tokenize(text)
	if p, ok := s.refuse(tokens); ok {
		return nil, Problems{p}
	}
	file, err := parser.Parse(withoutEmpty(tokens), 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, Problems{s.syntax(err)}
	}
	for _, doc := range file.Docs {
		if doc.Body != nil {
			documents = append(documents, doc)
		}
	}
	return documents, nil
}

// withoutEmpty leaves out comments, and the heads of documents in which nothing
// is: the parser would lose the document after one.
func withoutEmpty(tokens token.Tokens) token.Tokens {
	out := tokens[:0]
	for _, t := range tokens {
		if t.Type == token.CommentType {
			continue
		}
		if last := len(out) - 1; t.Type == token.DocumentHeaderType && last >= 0 && out[last].Type == t.Type {
			out[last] = t
			continue
		}
		out = append(out, t)
	}
	return out
}

// syntax turns an error of the parser into a problem.
func (s source) syntax(err error) Problem {
	var known yaml.Error
	if errors.As(err, &known) {
		at := placeOf(known.GetToken())
		if line, column := s.tab(at.line); line > 0 {
			return s.problem(place{line, column}, "", Syntax, "the file is not valid YAML: a tab indents this line", "indent with spaces")
		}
		return s.problem(placeOf(known.GetToken()), "", Syntax, "the file is not valid YAML: "+known.GetMessage(), "")
	}
	return s.problem(place{}, "", Syntax, "the file is not valid YAML", "check its indentation and quotes")
}

// tab returns where a tab indents the line or the one after it; zeros if none does.
func (s source) tab(near int) (line, column int) {
	for line := max(near, 1); line <= min(near+1, len(s.lines)); line++ {
		text := s.lines[line-1]
		indent := text[:len(text)-len(strings.TrimLeft(text, " \t"))]
		if column := strings.IndexByte(indent, '\t'); column >= 0 {
			return line, column + 1
		}
	}
	return 0, 0
}

// refuse looks at the tokens before they are parsed, for what the parser would
// take too long or too much memory for, and for what is not allowed here.
func (s source) refuse(tokens token.Tokens) (Problem, bool) {
	var columns []int
	brackets, documents := 0, 1
	if len(tokens) > MaxTokens {
		return s.problem(place{}, "", TooLarge, fmt.Sprintf("the file has %d keys, values and marks", len(tokens)),
			fmt.Sprintf("split it; a file may have at most %d", MaxTokens)), true
	}
	for _, t := range tokens {
		at := placeOf(t)
		switch t.Type { //nolint:exhaustive // the other types are of no interest
		case token.AnchorType, token.AliasType, token.TagType, token.MergeKeyType, token.DirectiveType:
			return s.problem(at, "", Unsupported, "anchors, aliases, tags, merge keys and directives are not allowed",
				"write the value out, or put quotes around it if it is plain text"), true
		case token.DocumentHeaderType:
			documents, columns = documents+1, nil
		case token.MappingStartType, token.SequenceStartType:
			brackets++
		case token.MappingEndType, token.SequenceEndType:
			brackets--
		}
		if brackets <= 0 {
			for len(columns) > 0 && columns[len(columns)-1] >= at.column {
				columns = columns[:len(columns)-1]
			}
			columns = append(columns, at.column)
		}
		if brackets > MaxDepth || len(columns) > MaxDepth {
			return s.problem(at, "", TooDeep, "values are nested too deep here", "a service needs no more than a few levels"), true
		}
		if documents > MaxDocuments+1 {
			return s.problem(at, "", TooManyDocuments, "the file has too many documents",
				fmt.Sprintf("split it; a file may have at most %d", MaxDocuments)), true
		}
	}
	return Problem{}, false
}
