package cli

import (
	"bytes"
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/front/cli/output"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
)

const logsHelp = `Show what a service's programs wrote.

Usage:
    keelson logs SERVICE [--follow] [--part PART] [--node NODE] [--lines N]
                 [-o FORMAT]

The output is kept on the node where it was written; any node fetches it from
there. If several parts have output, each line begins with its part.

    -f, --follow         then go on as more comes, until Ctrl-C
    --part PART          of one part only
    --node NODE          from another node than where the service is, or was last
    -n, --lines N        so many of the last lines (default 100)
    -o, --output FORMAT  table (the default: as it was written), json (one object
                         a line, with part and line) or yaml (one document a
                         line)

Exit status: 0 shown, 1 there is none, 2 wrong usage, 3 the cell cannot be
reached.

Example:
    $ keelson logs shop -f
`

func (s *shell) logsCommand() *cobra.Command {
	var ask request.Logs
	var node string
	c := &cobra.Command{
		Use: "logs", Long: logsHelp, Args: exactly("a SERVICE"), ValidArgsFunction: s.completeNames(services),
	}
	flags := c.Flags()
	flags.BoolVarP(&ask.Follow, "follow", "f", false, "")
	flags.StringVar(&ask.Part, "part", "", "")
	flags.StringVar(&node, "node", "", "")
	flags.IntVarP(&ask.Lines, "lines", "n", request.DefaultLines, "")
	s.completeFlag(c, "node", nodes)
	out := output.Flag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if ask.Lines < 1 || ask.Lines > request.MaxLines {
			return wrong("choose 1 to 100000", "--lines %d is out of range", ask.Lines)
		}
		ask.Service, ask.Node = spec.ServiceName(args[0]), spec.NodeName(node)
		api, err := s.dial(c.Flags())
		if err != nil {
			return err
		}
		defer api.Close()
		return s.logs(c.Context(), api, ask, *out)
	}
	return c
}

func (s *shell) logs(ctx context.Context, api *client.Client, ask request.Logs, form output.Form) error {
	one, err := api.Service(ctx, ask.Service)
	if err != nil {
		return err
	}
	out := prefixer{to: s.tty, parts: map[string][]byte{}}
	if form != output.Table {
		out.each = func(l logLine) error { return s.showNext(form, output.Plain{Value: l}, nil) }
	}
	if ask.Part == "" && one.Spec != nil {
		programs := 0
		for _, p := range one.Spec.Parts {
			if p.Exec != nil {
				programs++
			}
		}
		out.prefix = programs > 1
	}
	err = api.ReadLogs(ctx, ask, out.write)
	out.flush()
	if ask.Follow && ctx.Err() != nil {
		return nil
	}
	return err
}

// maxLine bounds what is held back of a line that has no end yet, in bytes.
const maxLine = 64 << 10

// logLine is a line of a part's output, for programs.
type logLine struct {
	Part string `json:"part"`
	Line string `json:"line"`
}

// prefixer writes the output of several parts, a line at a time so that they
// don't mix. With one part it passes everything on.
type prefixer struct {
	to     io.Writer
	prefix bool
	each   func(logLine) error // takes the lines, if not nil
	parts  map[string][]byte   // lines without an end yet
	order  []string
}

func (p *prefixer) write(c request.LogChunk) error {
	if !p.prefix && p.each == nil {
		_, err := p.to.Write(c.Data)
		return err
	}
	if _, known := p.parts[c.Part]; !known {
		p.order = append(p.order, c.Part)
	}
	held := append(p.parts[c.Part], c.Data...)
	for {
		line, rest, whole := bytes.Cut(held, []byte("\n"))
		if !whole && len(held) < maxLine {
			break
		}
		if err := p.line(c.Part, line); err != nil {
			return err
		}
		held = rest
	}
	p.parts[c.Part] = held
	return nil
}

func (p *prefixer) line(part string, line []byte) error {
	if p.each != nil {
		return p.each(logLine{part, strings.ToValidUTF8(string(line), "\ufffd")})
	}
	_, err := io.WriteString(p.to, part+" | "+string(line)+"\n")
	return err
}

// flush writes what is held back. There is nobody to tell if that fails.
func (p *prefixer) flush() {
	for _, part := range p.order {
		if held := p.parts[part]; len(held) > 0 {
			_ = p.line(part, held)
		}
	}
}
