package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
)

// doubled is punctuation that no sentence has: two marks in a row, or a mark after
// a blank. "..." and "|" lists of what can be said are not meant.
var doubled = regexp.MustCompile(`[a-z0-9%)"` + "`" + `]([.,;:][.,;]|[!?][.,;])( [A-Za-z]|$)|[a-z%][a-z] [.,;:]( |$)`)

func TestSentencesHaveNoDoubledPunctuation(t *testing.T) {
	for _, p := range packages(t) {
		for _, f := range p.GoFiles {
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, filepath.Join(p.Dir, f), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				lit, ok := n.(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING || lit.Value[0] == '`' {
					return true
				}
				text, err := strconv.Unquote(lit.Value)
				if err == nil && doubled.MatchString(text) {
					t.Errorf("%s: %q has doubled punctuation", fset.Position(lit.Pos()), text)
				}
				return true
			})
		}
	}
}

func TestDoubledPunctuationIsFound(t *testing.T) {
	for text, want := range map[string]bool{
		"it failed.. Look": true, "it failed: %v.,": true, "one,, two": true, "it ended .": true, "so?.": true,
		"it failed. Look": false, "wait...": false, "a, b": false, "../x": false, "10.0.0.1:80": false,
	} {
		if doubled.MatchString(text) != want {
			t.Errorf("%q: found is %v, want %v", text, !want, want)
		}
	}
}

// bareCommand is a command that a sentence names without marking where it begins and
// ends, which is done with backticks everywhere. A literal that is a command and
// nothing else is meant for a program, and one on a line of its own needs no marks.
var bareCommand = regexp.MustCompile("([a-z,:;.)] )(keelson (apply|clear|delete|describe|drain|events|get|init|join|leave|logs|maintenance|move|node|plan|replay|status|token|trust|undrain|whatif|why)|systemctl [a-z]+)( [^n]|$)")

func TestSentencesMarkCommandsWithBackticks(t *testing.T) {
	for _, p := range packages(t) {
		if floor, path, ok := floorOf(p.ImportPath); !ok || floor == "lab" || floor == "sim" || path == "app/demo" {
			continue
		}
		for _, f := range p.GoFiles {
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, filepath.Join(p.Dir, f), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				hint := ""
				if field, is := n.(*ast.KeyValueExpr); is {
					if key, named := field.Key.(*ast.Ident); named && key.Name == "Hint" {
						n, hint = field.Value, ": "
					}
				}
				lit, ok := n.(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING || lit.Value[0] == '`' {
					return true
				}
				text, err := strconv.Unquote(lit.Value)
				text = hint + text
				if err == nil && bareCommand.MatchString(text) {
					t.Errorf("%s: %q names a command without backticks", fset.Position(lit.Pos()), text)
				}
				return true
			})
		}
	}
}
