package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/keelson/keelson/internal/front/cli/reasons"
	"github.com/keelson/keelson/internal/front/cli/screen"
	"github.com/keelson/keelson/internal/model/request"
)

// Exit statuses; scripts rely on them.
const (
	exitDone        = 0
	exitFailed      = 1 // the cell said no, or it failed
	exitUsage       = 2
	exitUnreachable = 3
	exitTimeout     = 4
)

// usageError is a command that was not understood.
type usageError struct{ text, hint string }

func (e *usageError) Error() string { return e.text }

func wrong(hint, format string, args ...any) error {
	return &usageError{text: fmt.Sprintf(format, args...), hint: hint}
}

// explain turns an error into an exit status and the words for it.
func explain(err error) (status int, text, hint string) {
	var usage *usageError
	var known *request.Error
	var exit *reasons.ExitError
	switch {
	case errors.As(err, &exit):
		return exit.Status, "", ""
	case errors.As(err, &usage):
		return exitUsage, usage.text, usage.hint
	case errors.As(err, &known):
		// What is wrapped around it says what was tried.
		switch known.Kind {
		case request.Unreachable:
			return exitUnreachable, err.Error(), known.Hint
		case request.Expired:
			return exitTimeout, err.Error(), known.Hint
		default:
			return exitFailed, err.Error(), known.Hint
		}
	case errors.Is(err, context.Canceled):
		return exitFailed, "interrupted", ""
	}
	return exitFailed, err.Error(), ""
}

// complain tells a person about err and returns the exit status.
func (s *shell) complain(err error) int {
	status, text, hint := explain(err)
	if text == "" {
		return status // all is said
	}
	s.tty.Errorf("keelson: %s\n", screen.CleanLines(strings.TrimRight(text, "\n")))
	if hint != "" {
		s.tty.Errorf("hint: %s\n", screen.CleanLines(hint))
	}
	return status
}
