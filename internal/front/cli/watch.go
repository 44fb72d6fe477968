package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/front/cli/output"
	"github.com/keelson/keelson/internal/front/cli/screen"
	"github.com/keelson/keelson/internal/front/cli/screen/view"
)

// rewatch is the pause before a broken watch is made again.
const rewatch = time.Second

// watch shows the status as it changes, until ctx ends. On a terminal it takes
// the screen and gives it back; there a broken connection is made again.
func (s *shell) watch(ctx context.Context, api *client.Client, out output.Form) error {
	if !s.tty.Interactive() || out != output.Table {
		first := true
		err := api.WatchStatus(ctx, func(c client.Status) error {
			if !first && out == output.Table {
				s.tty.Printf("\n")
			}
			first = false
			return s.showNext(out, c, func(width int, color bool) string { return view.Status(c, width, color) })
		})
		if ctx.Err() != nil {
			return nil
		}
		return err
	}

	// To be in touch once is asked before the screen is taken.
	if _, err := api.Status(ctx); err != nil {
		return err
	}
	s.tty.Printf("%s", screen.Enter)
	defer s.tty.Printf("%s", screen.Leave)
	last := ""
	for ctx.Err() == nil {
		err := api.WatchStatus(ctx, func(c client.Status) error {
			columns, _ := s.tty.Size()
			last = view.Status(c, columns, s.tty.Color)
			s.redraw(last, c.At.Local().Format("15:04:05")+"  Ctrl-C ends this")
			return nil
		})
		if ctx.Err() != nil {
			break
		}
		if !transient(err) {
			return err
		}
		s.redraw(last, fmt.Sprintf("out of touch with %s; trying again", api.Target()))
		if s.env.Clock.Sleep(ctx, rewatch) != nil {
			break
		}
	}
	return nil
}

// redraw puts text on the screen with a line below it.
func (s *shell) redraw(text, foot string) {
	_, lines := s.tty.Size()
	s.tty.Printf("%s", screen.Frame(text, foot, lines))
}
