package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/keelson/keelson/internal/front/cli/screen"
	"github.com/keelson/keelson/internal/lab"
)

const prompt = "keelson demo> "

const promptHelp = `  status          the cell, as one of its hosts sees it
  events          what the cell recorded last
  logs HOST       what the agent there said last
  kill HOST       cut the power            boot HOST   switch it on again
  cut HOST        pull the network cable   heal HOST   plug it in again
  freeze HOST     stop all its processes   thaw HOST   let them go on
  service         kill the web program only
  move [HOST]     move the service, as an operator does
  help, quit      Ctrl-C and Ctrl-D end it too
`

const (
	eventsShown = "15"
	maxLine     = 1024 // bytes of a line at the prompt
)

// converse lets a person look and break more, until they have enough or ctx
// ends.
func (s *show) converse(ctx context.Context) error {
	s.voice.printf("  It stays up: look around and break more. `help` says how, Ctrl-C ends it.\n\n")
	done := make(chan struct{})
	defer close(done)
	lines, heard := s.read(done), false
	for {
		if s.Terminal {
			s.voice.printf("%s", s.voice.paint(prompt, screen.Faint))
		}
		select {
		case line, more := <-lines:
			if !more && !heard && !s.Terminal {
				// A service manager, or nohup: nobody has said anything, and nobody will.
				s.voice.printf("  There is no input: it stays up until it is interrupted.\n")
				lines = nil
				continue
			}
			if !more {
				s.voice.printf("\n")
				return nil
			}
			heard = true
			if !s.Terminal {
				s.voice.printf("%s%s\n", prompt, screen.Clean(line))
			}
			if again, err := s.obey(ctx, strings.Fields(line)); err != nil || !again {
				return s.leave(ctx, err)
			}
		case <-s.lab.Ended():
			return errors.New("the hosts are gone: the process that holds them was killed")
		case <-ctx.Done():
			s.voice.printf("\n")
			return nil
		}
	}
}

// leave ends the conversation: by a person's wish, that is no failure.
func (s *show) leave(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		s.voice.printf("\n")
		return nil
	}
	return err
}

// read passes on the lines of the input and closes the channel at its end.
func (s *show) read(done <-chan struct{}) <-chan string {
	lines := make(chan string)
	go func() {
		// Ends with the process at the latest: a read of a terminal cannot be
		// taken back.
		defer close(lines)
		in := bufio.NewScanner(s.In)
		in.Buffer(nil, maxLine)
		for in.Scan() {
			select {
			case lines <- in.Text():
			case <-done:
				return
			}
		}
	}()
	return lines
}

// obey does what a line says. It returns false if that is to end, and an error
// only if the demo cannot go on.
func (s *show) obey(ctx context.Context, line []string) (again bool, err error) {
	if len(line) == 0 {
		return true, nil
	}
	o, err := parseOrder(line, s.nodes)
	switch {
	case err != nil:
		s.voice.printf("  %s\n\n", sentence(err))
		return true, nil
	case o.verb == "quit":
		return false, nil
	case o.verb == "help":
		s.voice.printf("\n%s\n", promptHelp)
		return true, nil
	case o.verb == "status":
		err = s.print(ctx, "status")
		s.ended(ctx)
	case o.verb == "logs":
		s.printLog(o.host)
	case o.verb == "events":
		err = s.print(ctx, "events", "--limit", eventsShown)
	default:
		err = s.perform(ctx, o)
	}
	if err != nil && (ctx.Err() != nil || errors.Is(err, lab.ErrClosed)) {
		return false, err
	}
	if err != nil {
		s.voice.printf("\n  %s\n\n", sentence(err))
	}
	return true, nil
}

// print shows what keelson says on a host.
func (s *show) print(ctx context.Context, args ...string) error {
	text, err := s.ask(ctx, args...)
	if err != nil {
		return err
	}
	s.voice.printf("\n")
	for line := range strings.Lines(string(text)) {
		s.voice.printf("%s\n", indent(s.fit(screen.Clean(strings.TrimRight(line, "\n")))))
	}
	s.voice.printf("\n")
	return nil
}

// ended tells of agents that have ended on hosts that run: here nothing starts
// them again by itself, as a system would.
func (s *show) ended(ctx context.Context) {
	states, err := s.lab.State(ctx)
	for _, h := range states {
		p := s.cell.Agent(h.Name)
		if err != nil || p == nil || !h.On {
			continue
		}
		select {
		case <-p.Done():
			s.voice.printf("  The agent on %s has ended: `logs %s` says why, `boot %s` starts it again.\n\n", h.Name, h.Name, h.Name)
		default:
		}
	}
}

// printLog shows the end of a host's log.
func (s *show) printLog(host string) {
	s.voice.printf("\n")
	for _, line := range lastLines(fmt.Sprint(s.logs.of(host)), shownLog) {
		s.voice.printf("%s\n", indent(s.fit(screen.Clean(line))))
	}
	s.voice.printf("\n")
}

// fit makes a line of keelson's output fit the terminal: sentences are broken,
// tables cut.
func (s *show) fit(line string) string {
	width := s.Columns - 3
	switch {
	case !s.Terminal:
		return line
	case strings.HasPrefix(line, "! "):
		return strings.Join(screen.Wrap(line, width-2), "\n  ")
	}
	return screen.Cut(line, width)
}

// perform carries an order out and tells what came of it.
func (s *show) perform(ctx context.Context, o order) error {
	s.voice.printf("\n")
	i, err := s.breakIt(ctx, o)
	if err != nil {
		return err
	}
	s.tell(i)
	return nil
}

// sentence is an error as a line at the prompt.
func sentence(err error) string {
	text := screen.Clean(err.Error())
	return strings.ToUpper(text[:1]) + text[1:]
}

// parseOrder reads a line at the prompt. Verbs and hosts may be cut short.
func parseOrder(line, nodes []string) (order, error) {
	plain := []string{"status", "events", "help", "quit", verbService}
	hosted := []string{verbKill, verbCut, verbHeal, verbFreeze, verbThaw, verbBoot, verbMove, "logs"}
	verb, err := expand("command", line[0], slices.Concat(plain, hosted, []string{"exit"}))
	if err != nil {
		return order{}, err
	}
	if verb == "exit" {
		verb = "quit"
	}
	switch {
	case slices.Contains(plain, verb) && len(line) > 1:
		return order{}, fmt.Errorf("%s stands alone", verb)
	case len(line) > 2:
		return order{}, fmt.Errorf("%s takes one host", verb)
	case slices.Contains(hosted, verb) && len(line) == 1 && verb != verbMove:
		return order{}, fmt.Errorf("%s needs a host: %s", verb, strings.Join(nodes, ", "))
	case len(line) == 1:
		return order{verb: verb}, nil
	}
	host, err := expand("host", line[1], nodes)
	return order{verb: verb, host: host}, err
}

// expand returns the one word that begins with what was typed.
func expand(kind, typed string, all []string) (string, error) {
	typed = strings.ToLower(typed)
	var fits []string
	for _, w := range all {
		if w == typed {
			return w, nil
		}
		if strings.HasPrefix(w, typed) {
			fits = append(fits, w)
		}
	}
	switch len(fits) {
	case 1:
		return fits[0], nil
	case 0:
		if kind == "host" {
			return "", fmt.Errorf("there is no host %q: choose %s", typed, strings.Join(all, ", "))
		}
		return "", fmt.Errorf("there is no command %q: `help` lists them", typed)
	}
	return "", fmt.Errorf("%q may mean %s", typed, strings.Join(fits, " or "))
}
