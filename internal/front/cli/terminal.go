package cli

import (
	"context"
	"fmt"

	"github.com/keelson/keelson/internal/model/request"
)

// errDeclined means that a person answered no.
var errDeclined = &request.Error{Kind: request.Canceled, Code: "declined", Text: "nothing was changed"}

// confirm says what will happen and asks. Without a terminal it refuses: there
// --yes must be given.
func (s *shell) confirm(ctx context.Context, yes bool, will, question string) error {
	if yes {
		return nil
	}
	if !s.tty.Ask {
		return wrong("add --yes if you are sure", "%s Without a terminal to ask on, this needs --yes", will)
	}
	sure, err := s.tty.Confirm(ctx, will+"\n"+question)
	switch {
	case err != nil:
		return &request.Error{
			Kind: request.Canceled, Code: "interrupted", Text: "interrupted; nothing was changed",
			Err: fmt.Errorf("wait for an answer: %w", err),
		}
	case !sure:
		return errDeclined
	}
	return nil
}
