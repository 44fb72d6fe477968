package view

import (
	"fmt"
	"strings"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/front/cli/screen"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/status"
)

// Applied says what became of what was applied, or with dry, what would.
func Applied(result client.ApplyResult, dry bool) string {
	var out string
	for _, w := range result.Warnings {
		out += "warning: " + screen.Clean(w) + "\n"
	}
	for _, a := range result.Applied {
		switch {
		case a.Outcome == request.Unchanged:
			out += fmt.Sprintf("%s unchanged (generation %d)\n", a.Name, a.Generation)
		case dry:
			out += fmt.Sprintf("%s would be %s (generation %d)\n", a.Name, a.Outcome, a.Generation)
		default:
			out += fmt.Sprintf("%s %s (generation %d)\n", a.Name, a.Outcome, a.Generation)
		}
	}
	if result.Change != "" && !dry {
		out += fmt.Sprintf("change %s is taken back at %s unless you confirm it:\n    keelson confirm %s\n", result.Change, screen.Moment(result.Deadline), result.Change)
	}
	return out
}

// Progress says how far a service is.
func Progress(s client.Service) string {
	text := fmt.Sprintf("%s is %s", s.Name, s.State)
	if s.State == status.Running && !s.Ready {
		text += " but not ready"
	}
	if at := where(s); at != "" {
		text += " on " + at
	}
	if s.Problem != "" {
		text += ": " + strings.TrimPrefix(s.Problem, string(s.State)+": ")
	}
	return text
}
