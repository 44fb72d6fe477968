package cli

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/keelson/keelson/api/client"
)

// format is how a command prints what it got.
type format string

const (
	asTable format = "table"
	asJSON  format = "json"
	asYAML  format = "yaml"
)

// String, Set and Type make a format a flag.
func (f *format) String() string { return string(*f) }

// Set takes the word after -o.
func (f *format) Set(word string) error {
	switch format(word) {
	case asTable, asJSON, asYAML:
		*f = format(word)
		return nil
	}
	return fmt.Errorf("%q is no form of output: choose table, json or yaml", word)
}

// Type names the value in messages.
func (f *format) Type() string { return "table|json|yaml" }

func outputFlag(c *cobra.Command) *format {
	f := asTable
	c.Flags().VarP(&f, "output", "o", "")
	register(c, "output", "table", "json", "yaml")
	return &f
}

// register lists the words that complete a flag.
func register(c *cobra.Command, flag string, words ...string) {
	err := c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(err) // the flag does not exist: a fault of the caller
	}
}

// show prints v, a value of the API, or the table that stands for it.
func (s *shell) show(f format, v any, asTable func(width int, color bool) string) error {
	switch f {
	case asJSON:
		text, err := client.JSON(v)
		if err != nil {
			return err
		}
		s.tty.Printf("%s\n", text)
	case asYAML:
		text, err := toYAML(v)
		if err != nil {
			return err
		}
		s.tty.Printf("%s", text)
	default:
		columns, _ := s.tty.Size()
		s.tty.Printf("%s", asTable(columns, s.tty.Color))
	}
	return nil
}

// showNext prints one of a series of values: JSON on one line each, YAML as
// one document each.
func (s *shell) showNext(f format, v any, asTable func(width int, color bool) string) error {
	switch f {
	case asJSON:
		text, err := client.JSON(v)
		if err != nil {
			return err
		}
		var line bytes.Buffer
		if err := json.Compact(&line, text); err != nil {
			return err
		}
		s.tty.Printf("%s\n", line.String())
		return nil
	case asYAML:
		s.tty.Printf("---\n")
	case "table":
	}
	return s.show(f, v, asTable)
}

func toYAML(v any) ([]byte, error) {
	text, err := client.JSON(v)
	if err != nil {
		return nil, err
	}
	return yaml.JSONToYAML(text)
}
