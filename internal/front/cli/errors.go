package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keelson/keelson/internal/front/cli/newcomer"
	"github.com/keelson/keelson/internal/front/cli/output"
	"github.com/keelson/keelson/internal/front/cli/reasons"
	"github.com/keelson/keelson/internal/model/request"
)

// Exit statuses; scripts rely on them.
const (
	exitDone        = 0
	exitFailed      = 1 // the cell said no, or it failed
	exitUsage       = 2
	exitUnreachable = 3
	exitTimeout     = 4
	exitLost        = 7 // it was taken note of, and has failed for good
)

// usageError is a command that was not understood.
type usageError struct{ text, hint string }

func (e *usageError) Error() string { return e.text }

func wrong(hint, format string, args ...any) error {
	return &usageError{text: fmt.Sprintf(format, args...), hint: hint}
}

// lostError is a wait for what will not come to be by itself.
type lostError struct{ text, hint string }

func (e *lostError) Error() string { return e.text }

// explain turns an error into the words for it and an exit status. The words are
// empty if all is said.
func explain(err error) output.Fault {
	var lost *lostError
	var usage *usageError
	var known *request.Error
	var unfit *newcomer.Error
	var exit *reasons.ExitError
	switch {
	case errors.As(err, &exit):
		return output.Fault{Exit: exit.Status}
	case errors.As(err, &unfit):
		return output.Fault{Exit: exitUsage, Code: "usage", Message: unfit.Text, Next: unfit.Hint}
	case errors.As(err, &usage):
		return output.Fault{Exit: exitUsage, Code: "usage", Message: usage.text, Next: usage.hint}
	case errors.As(err, &lost):
		return output.Fault{Exit: exitLost, Code: "failed-for-good", Message: lost.text, Next: lost.hint}
	case errors.As(err, &known):
		// What is wrapped around it says what was tried.
		f := output.Fault{Exit: exitFailed, Code: cmp.Or(known.Code, "failed"), Message: err.Error(), Next: known.Hint}
		switch known.Kind {
		case request.Unreachable:
			f.Exit = exitUnreachable
		case request.Expired:
			f.Exit = exitTimeout
		default:
		}
		return f
	case errors.Is(err, context.Canceled):
		return output.Fault{Exit: exitFailed, Code: "interrupted", Message: "interrupted"}
	}
	return output.Fault{Exit: exitFailed, Code: "failed", Message: err.Error()}
}

// complain tells why c failed and returns the exit status.
func (s *shell) complain(c *cobra.Command, err error) int {
	f := explain(err)
	f.Message = strings.TrimRight(f.Message, "\n")
	if f.Message != "" {
		f.Complain(s.tty, output.Of(c))
	}
	return f.Exit
}
