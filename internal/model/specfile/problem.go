package specfile

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/token"

	"github.com/keelson/keelson/internal/model/spec"
)

// Codes of problems with the form of a file. Those with its content are codes
// of package spec.
const (
	TooLarge         spec.Code = "file-too-large"
	NotText          spec.Code = "not-text"
	Syntax           spec.Code = "syntax"
	Unsupported      spec.Code = "yaml-feature"
	TooDeep          spec.Code = "too-deep"
	TooManyDocuments spec.Code = "too-many-documents"
	Empty            spec.Code = "empty-file"
	UnknownKey       spec.Code = "unknown-key"
	MissingKey       spec.Code = "missing-key"
	DuplicateKey     spec.Code = "duplicate-key"
	DuplicateService spec.Code = "duplicate-service"
	UnknownKind      spec.Code = "unknown-kind"
	WrongType        spec.Code = "wrong-type"
	BadValue         spec.Code = "bad-value"
)

// MaxProblems is how many problems are printed; the rest is counted.
const MaxProblems = 20

// Problem is one thing that is wrong in a file.
type Problem struct {
	File string `json:"file"`
	// Line and Column begin with 1; 0 means the file as a whole.
	Line   int       `json:"line,omitempty"`
	Column int       `json:"column,omitempty"`
	Path   string    `json:"path,omitempty"` // the key: "parts[1].exec.command"
	Code   spec.Code `json:"code"`
	// Message says what is wrong, Hint what to do about it.
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	// Excerpt is the line of the file, cut to a readable length.
	Excerpt string `json:"excerpt,omitempty"`
	Warning bool   `json:"warning,omitempty"`
}

// String returns the problem in one line: "shop.yaml:7:5: parts[0].exec.comand:
// unknown key "comand": did you mean "command"?".
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	if p.Path != "" {
		b.WriteString(": " + p.Path)
	}
	if p.Warning {
		b.WriteString(": warning")
	}
	b.WriteString(": " + p.Message)
	if p.Hint != "" {
		b.WriteString(": " + p.Hint)
	}
	return b.String()
}

// Problems is all that is wrong in a file, in its order.
type Problems []Problem //nolint:errname // it is a list of problems, and the word is used everywhere

// Error returns each problem in one line, at most [MaxProblems] of them, and
// under each, indented, the line of the file that it is about.
func (ps Problems) Error() string {
	var b strings.Builder
	for i, p := range ps {
		if i > 0 {
			b.WriteByte('\n')
		}
		if i == MaxProblems {
			fmt.Fprintf(&b, "and %d more", len(ps)-i)
			break
		}
		b.WriteString(p.String())
		if p.Excerpt != "" {
			fmt.Fprintf(&b, "\n    %4d | %s", p.Line, p.Excerpt)
		}
	}
	return b.String()
}

// place is where something stands in a file. Lines and columns begin with 1.
type place struct {
	line, column int
}

func placeOf(t *token.Token) place {
	if t == nil || t.Position == nil {
		return place{}
	}
	return place{t.Position.Line, t.Position.Column}
}

// places says where the values of a service stand, by path.
type places map[string]place

// find returns the place of path, or of the nearest value around it.
func (ps places) find(path string) place { return ps[ps.nearest(path)] }

// nearest returns path or, if nothing stands there, what is around it.
func (ps places) nearest(path string) string {
	for {
		if _, ok := ps[path]; ok {
			return path
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			return ""
		}
		path = path[:cut]
	}
}

// source is the file as its author sees it.
type source struct {
	name  string
	lines []string
}

func (s source) problem(at place, path string, code spec.Code, message, hint string) Problem {
	return Problem{
		File: s.name, Line: at.line, Column: at.column, Path: path,
		Code: code, Message: message, Hint: hint, Excerpt: s.excerpt(at.line),
	}
}

// place gives the problems of a service their place in the file.
func (s source) place(at places, problems []spec.Problem) Problems {
	var out Problems
	for _, p := range problems {
		located := s.problem(at.find(p.Path), p.Path, p.Code, p.Message, p.Hint)
		located.Warning = p.Warning
		out = append(out, located)
	}
	return out
}

func (s source) excerpt(line int) string {
	if line < 1 || line > len(s.lines) {
		return ""
	}
	return clip(strings.TrimRight(strings.ReplaceAll(s.lines[line-1], "\t", " "), " \r"), 100)
}

// clip cuts s to most bytes, at a whole character.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + "..."
}
