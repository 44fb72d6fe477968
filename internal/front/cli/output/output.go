// Package output puts what a command has to say into the form that was asked for:
// words for people, or JSON and YAML for programs.
//
// Its main rule is that a program gets one object on standard output, and one on
// standard error if the command fails, and nothing else there. It decides nothing.
package output

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/front/cli/screen"
)

// Form is how a command prints what it got.
type Form string

// The forms of output.
const (
	Table Form = "table" // words and tables for people
	JSON  Form = "json"
	YAML  Form = "yaml"
)

// String returns the word after -o.
func (f *Form) String() string { return string(*f) }

// Set takes the word after -o.
func (f *Form) Set(word string) error {
	switch Form(word) {
	case Table, JSON, YAML:
		*f = Form(word)
		return nil
	}
	return fmt.Errorf("%q is no form of output: choose one of %s", word, f.Type())
}

// Type names the words to choose from, as package usage takes them apart.
func (f *Form) Type() string { return "table|json|yaml" }

// flag is the long name of -o.
const flag = "output"

// FlagHelp is what the help text of a command says of -o.
const FlagHelp = `    -o, --output FORMAT  table, json or yaml
`

// Flag adds -o to a command and returns what it is set to.
func Flag(c *cobra.Command) *Form {
	f := Table
	c.Flags().VarP(&f, flag, "o", "")
	words := cobra.FixedCompletions([]string{string(Table), string(JSON), string(YAML)}, cobra.ShellCompDirectiveNoFileComp)
	if err := c.RegisterFlagCompletionFunc(flag, words); err != nil {
		panic(err) // the flag does not exist: a fault of this package
	}
	return &f
}

// Of returns the form that a command was asked for; [Table] if it knows no forms.
func Of(c *cobra.Command) Form {
	if c == nil {
		return Table
	}
	if set := c.Flags().Lookup(flag); set != nil {
		if f, known := set.Value.(*Form); known {
			return *f
		}
	}
	return Table
}

// Plain is a value that no definition of the API knows: it has the JSON form that
// its own fields give it.
type Plain struct{ Value any }

// Show prints v, a [Plain] or a value of the API, or the table that stands for it.
func Show(t *screen.Terminal, f Form, v any, table func(width int, color bool) string) error {
	if f == Table || f == "" {
		columns, _ := t.Size()
		t.Printf("%s", table(columns, t.Color))
		return nil
	}
	text, err := encode(f, v)
	if err != nil {
		return err
	}
	t.Printf("%s", text)
	return nil
}

// ShowNext prints one of a series of values: JSON on one line each, YAML as one
// document each.
func ShowNext(t *screen.Terminal, f Form, v any, table func(width int, color bool) string) error {
	switch f {
	case JSON:
		text, err := encode(f, v)
		if err != nil {
			return err
		}
		var line bytes.Buffer
		if err := json.Compact(&line, text); err != nil {
			return err
		}
		t.Printf("%s\n", bytes.TrimRight(line.Bytes(), "\n"))
		return nil
	case YAML:
		t.Printf("---\n")
	case Table:
	}
	return Show(t, f, v, table)
}

// encode returns v as JSON or YAML, with a line's end.
func encode(f Form, v any) ([]byte, error) {
	var text []byte
	var err error
	if plain, is := v.(Plain); is {
		text, err = marshal(plain.Value)
	} else {
		text, err = client.JSON(v)
	}
	if err != nil || f == JSON {
		return append(bytes.TrimRight(text, "\n"), '\n'), err
	}
	return yaml.JSONToYAML(text)
}

// marshal is JSON for reading: what a sentence has is not escaped for browsers.
func marshal(v any) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return out.Bytes(), err
}
