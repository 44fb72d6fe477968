// Package reasons is the part of the command line that asks about decisions: why
// something is where it is, what would happen, what was decided, and whether a
// change stays.
//
// Its rule is that of the command line: tables and sentences for people, JSON and
// YAML for programs, and an exit status that can be trusted. It works nothing out
// by itself; the sentences come from the cell.
package reasons

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/front/cli/output"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
)

// Exit statuses of --exit-code; scripts rely on them.
const (
	exitChanges = 5
	exitLosses  = 6
)

// maxSaved bounds a file with a decision, in bytes.
const maxSaved = 64 << 20

// ExitError is a command that has said all and ends with another status than 0.
type ExitError struct{ Status int }

// Error says the status.
func (e *ExitError) Error() string { return fmt.Sprintf("exit status %d", e.Status) }

// Names completes the names of what the cell has.
type Names = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// Shell is what the commands need of the command line around them. All but
// Replay is required.
type Shell struct {
	// Dial calls the cell that the flags name.
	Dial func(*pflag.FlagSet) (*client.Client, error)
	// Output adds the flag -o to a command. What it returns prints a value of the
	// API in the form that was asked for.
	Output func(*cobra.Command) func(v any, text func(width int, color bool) string) error
	Stdin  io.Reader
	// Wrong makes the error of a command that was not understood.
	Wrong func(hint, format string, args ...any) error
	// Arguments checks that at least least of the named arguments are there.
	Arguments func(least int, names ...string) cobra.PositionalArgs
	Services  Names
	Nodes     Names
	// Replay takes a decision again on this machine; nil: only the cell can.
	Replay func(snapshot, recorded []byte) (client.Replayed, error)
}

// Commands are all commands of the package.
func Commands(s Shell) []*cobra.Command {
	return []*cobra.Command{s.why(), s.plan(), s.whatIf(), s.replay(), s.confirm(), s.revert()}
}

// Text is the form of an answer for people.
type text = func(width int, color bool) string

// ask calls the cell.
func (s Shell) ask(c *cobra.Command, f func(*client.Client) error) error {
	api, err := s.Dial(c.Flags())
	if err != nil {
		return err
	}
	defer api.Close()
	return f(api)
}

func (s Shell) why() *cobra.Command {
	c := &cobra.Command{Use: "why", Long: whyHelp, Args: s.Arguments(1, "a SERVICE"), ValidArgsFunction: s.Services}
	show := s.Output(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return s.ask(c, func(api *client.Client) error {
			w, err := api.Why(c.Context(), spec.ServiceName(args[0]))
			if err != nil {
				return err
			}
			return show(w, func(width int, color bool) string { return Why(w, width, color) })
		})
	}
	return c
}

func (s Shell) plan() *cobra.Command {
	var files []string
	var status bool
	c := &cobra.Command{Use: "plan", Long: planHelp, Args: s.Arguments(0)}
	show := s.Output(c)
	c.Flags().StringArrayVarP(&files, "file", "f", nil, "")
	c.Flags().BoolVar(&status, "exit-code", false, "")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if len(files) == 0 {
			return s.Wrong("see `keelson plan --help`", "keelson plan needs -f FILE")
		}
		file, err := Join(files, s.Stdin)
		if err != nil {
			return err
		}
		return s.ask(c, func(api *client.Client) error {
			o, err := api.Plan(c.Context(), request.Plan{File: file.File})
			if err != nil {
				return file.OwnError(err)
			}
			o.Notes = file.OwnAll(o.Notes)
			return s.outlook(show, o, "nothing would change", status && o.Changed())
		})
	}
	return c
}

func (s Shell) whatIf() *cobra.Command {
	var ask request.WhatIf
	var status bool
	c := &cobra.Command{Use: "whatif", Long: whatIfHelp, Args: s.Arguments(0)}
	show := s.Output(c)
	c.Flags().StringArrayVar(&ask.Fail, "fail", nil, "")
	c.Flags().StringArrayVar(&ask.Drain, "drain", nil, "")
	c.Flags().BoolVar(&status, "exit-code", false, "")
	for _, flag := range []string{"fail", "drain"} {
		if err := c.RegisterFlagCompletionFunc(flag, s.Nodes); err != nil {
			panic(err) // the flag does not exist: a fault of this package
		}
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		return s.ask(c, func(api *client.Client) error {
			o, err := api.WhatIf(c.Context(), ask)
			if err != nil {
				return err
			}
			return s.outlook(show, o, "nothing would move", status && o.Moved())
		})
	}
	return c
}

// outlook shows what would happen and, with status, says it by the exit status.
func (s Shell) outlook(show func(any, text) error, o client.Outlook, calm string, status bool) error {
	err := show(o, func(width int, color bool) string { return Outlook(o, calm, width, color) })
	switch {
	case err != nil || !status:
		return err
	case o.Lost():
		return &ExitError{exitLosses}
	}
	return &ExitError{exitChanges}
}

func (s Shell) replay() *cobra.Command {
	var o replayOptions
	c := &cobra.Command{Use: "replay", Long: replayHelp, Args: s.Arguments(0, "EVENT")}
	show := s.Output(c)
	flags := c.Flags()
	flags.BoolVar(&o.list, "list", false, "")
	flags.BoolVar(&o.reasons, "show", false, "")
	flags.StringVar(&o.save, "save", "", "")
	flags.StringVar(&o.file, "file", "", "")
	c.RunE = func(c *cobra.Command, args []string) error {
		const hint = "see `keelson replay --help`"
		told := len(args)
		for _, is := range []bool{o.list, o.file != ""} {
			if is {
				told++
			}
		}
		switch {
		case told != 1:
			return s.Wrong(hint, "keelson replay needs an EVENT, or --list, or --file FILE")
		case o.list && (o.reasons || o.save != ""), o.file != "" && o.save != "":
			return s.Wrong(hint, "--list goes with no other flag, and --save with an EVENT only")
		case o.list:
			return s.ask(c, func(api *client.Client) error { return s.decisions(c, api, show) })
		case o.file != "":
			return s.replayFile(o, show)
		}
		return s.ask(c, func(api *client.Client) error {
			r, err := api.Replay(c.Context(), request.Replay{Which: args[0], Full: o.save != ""})
			if err != nil {
				return err
			}
			if o.save != "" {
				if err := save(o.save, r); err != nil {
					return err
				}
			}
			return s.replayed(o, r, show)
		})
	}
	return c
}

// replayOptions is what `keelson replay` was told.
type replayOptions struct {
	list, reasons bool
	save, file    string
}

func (s Shell) decisions(c *cobra.Command, api *client.Client, show func(any, text) error) error {
	list, err := api.Decisions(c.Context())
	if err != nil {
		return err
	}
	return show(list, func(width int, color bool) string { return Decisions(list, width, color) })
}

// replayed shows a decision that was taken again. What is not the same is an
// error.
func (s Shell) replayed(o replayOptions, r client.Replayed, show func(any, text) error) error {
	err := show(r, func(width int, color bool) string { return Replayed(r, o.reasons, width, color) })
	if err != nil {
		return err
	}
	if r.Compared && !r.Same {
		return &request.Error{
			Kind: request.Refused, Code: "not-the-same", Text: fmt.Sprintf("decision %s would be another now: %s", r.Decision.Plan, r.Difference),
			Hint: "another version of Keelson may have taken it; `keelson version` shows this one",
		}
	}
	return nil
}

// replayFile takes the decision of a file again on this machine.
func (s Shell) replayFile(o replayOptions, show func(any, text) error) error {
	if s.Replay == nil {
		return s.Wrong("", "this program can take no decision by itself")
	}
	info, err := os.Stat(o.file)
	if err == nil && info.Size() > maxSaved {
		err = errors.New("it has more than 64 MiB")
	}
	var content []byte
	if err == nil {
		content, err = os.ReadFile(o.file)
	}
	if err != nil {
		return unusable(o.file, err)
	}
	kept := record.Recorded{Snapshot: content}
	var both record.Recorded
	if json.Unmarshal(content, &both) == nil && len(both.Snapshot) > 0 {
		kept = both
	}
	r, err := s.Replay(kept.Snapshot, kept.Plan)
	if err != nil {
		return unusable(o.file, err)
	}
	r.Snapshot, r.Plan = nil, nil
	return s.replayed(o, r, show)
}

func unusable(path string, err error) error {
	e := unreadable(path, err)
	e.Hint = "`keelson replay EVENT --save FILE` writes a file that can be used"
	return e
}

// save writes what a decision was taken on, and the decision, to a new file.
func save(path string, r client.Replayed) error {
	text, err := json.Marshal(record.Recorded{Snapshot: r.Snapshot, Plan: r.Plan})
	if err == nil {
		err = os.WriteFile(path, append(text, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("save the decision: %w", err)
	}
	return nil
}

func (s Shell) confirm() *cobra.Command {
	return s.end(&cobra.Command{Use: "confirm", Long: confirmHelp}, false, "stays")
}

func (s Shell) revert() *cobra.Command {
	return s.end(&cobra.Command{Use: "revert", Long: revertHelp}, true, "is taken back")
}

// end makes a command that ends the trial of a change.
func (s Shell) end(c *cobra.Command, back bool, what string) *cobra.Command {
	c.Args = s.Arguments(0, "CHANGE")
	show := s.Output(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		ask := request.Confirm{TakeBack: back}
		if len(args) > 0 {
			ask.Change = args[0]
		}
		return s.ask(c, func(api *client.Client) error {
			done, err := api.Confirm(c.Context(), ask)
			if err != nil {
				return err
			}
			did := output.Done{Action: c.Name(), Outcome: output.Finished, Change: done.Change, Services: done.Services}
			did.Text = fmt.Sprintf("change %s %s: %s", done.Change, what, joined(done.Services))
			return show(output.Plain{Value: did}, func(int, bool) string { return did.Text + "\n" })
		})
	}
	return c
}
