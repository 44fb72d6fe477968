package demo

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/keelson/keelson/internal/lab"
)

func TestTheDemoStaysUpUntilSomebodyEndsIt(t *testing.T) {
	const nobody = "There is no input: it stays up until it is interrupted."
	tests := []struct {
		name     string
		input    string
		terminal bool
		ends     bool // by itself
		says     string
	}{
		{name: "no input at all", says: nobody},
		{name: "the end of a file, after something was said", input: "help\n", ends: true, says: "freeze HOST"},
		{name: "an empty line is something said", input: "\n", ends: true},
		{name: "a person who closes the input", terminal: true, ends: true},
		{name: "a person who has enough", input: "quit\nstatus\n", terminal: true, ends: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, interrupt := context.WithCancel(t.Context())
				defer interrupt()
				var out bytes.Buffer
				o := Options{}
				o.In, o.Out, o.Terminal, o.Nodes = strings.NewReader(tt.input), &out, tt.terminal, 3
				s := &show{Options: o, voice: newVoice(o), nodes: hostNames(3), lab: &lab.Lab{}}
				ended := make(chan error, 1)
				go func() { ended <- s.converse(ctx) }()
				synctest.Wait()
				select {
				case err := <-ended:
					if err != nil || !tt.ends {
						t.Fatalf("it ended by itself, with %v:\n%s", err, out.String())
					}
				default:
					if tt.ends {
						t.Fatalf("it goes on:\n%s", out.String())
					}
					interrupt()
					if err := <-ended; err != nil {
						t.Errorf("an interrupt is no failure: %v", err)
					}
				}
				if !strings.Contains(out.String(), tt.says) || strings.Contains(out.String(), nobody) != (tt.says == nobody) {
					t.Errorf("it says:\n%s", out.String())
				}
			})
		})
	}
}
