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
