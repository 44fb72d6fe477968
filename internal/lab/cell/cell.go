// Package cell forms a real cell of keelson on the hosts of a lab, by the same
// commands that an operator would give on real servers.
//
// Its one rule: it knows keelson only from outside, by its command line. It
// reads no files of a node and calls no code of keelson.
package cell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/lab"
)

const (
	// pollEvery is how often the status is asked for while something is
	// awaited.
	pollEvery = 50 * time.Millisecond
	// askLimit bounds one question about the status.
	askLimit = 3 * time.Second
	// commandLimit bounds any other command.
	commandLimit = 60 * time.Second
)

// ErrCommand means that keelson refused, ErrUnreached that no agent answered it; the
// error has its words.
var (
	ErrCommand   = errors.New("keelson said no")
	ErrUnreached = errors.New("keelson reached no agent")
)

// unreached is the exit status of a command that reached no agent.
const unreached = 3

// Options says what cell to form. Only Nodes is needed.
type Options struct {
	// Nodes are hosts of the lab; the first makes the cell.
	Nodes []string
	// Witnesses are those of Nodes, not the first, that join as witnesses.
	Witnesses []string
	// Networks is how many of the lab's networks carry heartbeats; 0 means 1.
	Networks int
	// LogDir is a directory of the machine for the agents' output, one file
	// HOST.log each. "" drops it.
	LogDir string
	// Output, if not nil, gets the output of a node's agents instead of a file.
	// What it returns must be safe for concurrent use.
	Output func(node string) io.Writer
	// Progress, if not nil, hears what [Form] is about to do.
	Progress func(what string)
	// LogLevel is that of the agents; "" is theirs.
	LogLevel string
	// InitFlags are added to init, NodeFlags to init and to join.
	InitFlags, NodeFlags []string
	// Env is added to the environment of all commands and agents.
	Env []string
}

// Cell is a cell of keelson in a lab. It is safe for concurrent use. It ends
// with its lab.
type Cell struct {
	lab *lab.Lab
	o   Options

	mu     sync.Mutex
	agents map[string]*lab.Process
}

// Share makes the keelson binary at path visible as [Program] in all hosts; it
// belongs in the lab's options.
func Share(path string) lab.Share { return lab.Share{Source: path, Target: Program} }

// Form makes the cell and returns when it is quorate and all its nodes are
// alive. ctx bounds that.
func Form(ctx context.Context, l *lab.Lab, o Options) (*Cell, error) {
	if len(o.Nodes) == 0 {
		return nil, errors.New("a cell has one node at least")
	}
	c := &Cell{lab: l, o: o, agents: map[string]*lab.Process{}}
	if o.Progress == nil {
		c.o.Progress = func(string) {}
	}
	first := l.Host(o.Nodes[0])
	c.o.Progress("making it on " + first.Name())
	if _, err := c.command(ctx, first, "", initLine(o, first)); err != nil {
		return nil, err
	}
	if err := c.StartAgent(ctx, first.Name()); err != nil {
		return nil, err
	}
	if _, err := c.Await(ctx, "the first node to be a cell", func(s Status) bool { return s.Whole(o.Nodes[:1]) }); err != nil {
		return nil, err
	}
	for _, name := range o.Nodes[1:] {
		if err := c.join(ctx, name); err != nil {
			return nil, err
		}
	}
	c.o.Progress("waiting for all nodes to be alive")
	_, err := c.Await(ctx, "all nodes to be alive", func(s Status) bool { return s.Whole(o.Nodes) })
	return c, err
}

func (c *Cell) join(ctx context.Context, name string) error {
	c.o.Progress(name + " joins")
	first, h := c.lab.Host(c.o.Nodes[0]), c.lab.Host(name)
	text, err := c.command(ctx, first, "", tokenLine())
	if err != nil {
		return err
	}
	token, err := parseToken(text)
	if err != nil {
		return err
	}
	line := joinLine(c.o, h, first, slices.Contains(c.o.Witnesses, name))
	if _, err := c.command(ctx, h, "", line, tokenVariable(token)); err != nil {
		return err
	}
	return c.StartAgent(ctx, name)
}

// StartAgent starts keelson on a node, as its system would after a boot. It
// does nothing if the agent that it started last still runs.
func (c *Cell) StartAgent(ctx context.Context, node string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.agents[node]; p != nil {
		select {
		case <-p.Done():
		default:
			return nil
		}
	}
	command := lab.Command{Args: agentLine(c.o), Env: c.o.Env}
	switch {
	case c.o.Output != nil:
		w := c.o.Output(node)
		command.Stdout, command.Stderr = w, w
	case c.o.LogDir != "":
		command.LogPath = c.LogFile(node)
	}
	p, err := c.lab.Host(node).Start(ctx, command)
	if err != nil {
		return fmt.Errorf("start the agent: %w", err)
	}
	c.agents[node] = p
	return nil
}

// Agent returns the agent that was started last on a node, or nil.
func (c *Cell) Agent(node string) *lab.Process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.agents[node]
}

// LogFile is the file of the machine that gets the output of a node's agents, if
// [Options.LogDir] says so.
func (c *Cell) LogFile(node string) string { return filepath.Join(c.o.LogDir, node+".log") }

// Boot switches a node on and starts its agent.
func (c *Cell) Boot(ctx context.Context, node string) error {
	if err := c.lab.Host(node).Boot(ctx); err != nil {
		return err
	}
	return c.StartAgent(ctx, node)
}

// Status asks a node for the status of the cell.
func (c *Cell) Status(ctx context.Context, node string) (Status, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	text, err := c.command(ctx, c.lab.Host(node), "", statusLine())
	if err != nil {
		return Status{}, err
	}
	return parseStatus(text)
}

// Await asks for the status again and again until so is true, and returns it.
// It asks the nodes in via in turn, all nodes if there are none: one that does
// not answer in time is passed over. what completes "waited for". It gives up
// when ctx ends, and says what it saw last.
func (c *Cell) Await(ctx context.Context, what string, so func(Status) bool, via ...string) (Status, error) {
	if len(via) == 0 {
		via = c.o.Nodes
	}
	last := "nobody answered"
	for {
		for _, node := range via {
			s, err := c.Status(ctx, node)
			if err == nil && so(s) {
				return s, nil
			}
			if err == nil {
				last = fmt.Sprintf("%s last said: %s", node, s)
				break
			}
			if ctx.Err() == nil {
				last = fmt.Sprintf("%s last failed: %v", node, err)
			}
		}
		if err := (clock.System{}).Sleep(ctx, pollEvery); err != nil {
			return Status{}, fmt.Errorf("waited for %s in vain: %w; %s", what, err, last)
		}
	}
}

// Apply applies a spec through the first node that takes it.
func (c *Cell) Apply(ctx context.Context, spec string) error {
	var failed []error
	for _, node := range c.o.Nodes {
		_, err := c.command(ctx, c.lab.Host(node), spec, applyLine())
		if err == nil {
			return nil
		}
		failed = append(failed, err)
		if errors.Is(err, ErrCommand) {
			break // the next node would say the same
		}
	}
	return errors.Join(failed...)
}

// Keelson runs keelson on a node with these arguments, to its end. An exit
// status other than 0 is no error.
func (c *Cell) Keelson(ctx context.Context, node string, args ...string) (lab.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	return c.lab.Host(node).Exec(ctx, lab.Command{Args: append([]string{Program}, args...), Env: c.o.Env})
}

// command runs a line and returns its output, or [ErrCommand] or [ErrUnreached] with
// its words.
func (c *Cell) command(ctx context.Context, h *lab.Host, stdin string, line []string, env ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	command := lab.Command{Args: line, Env: slices.Concat(c.o.Env, env)}
	if stdin != "" {
		command.Stdin = strings.NewReader(stdin)
	}
	r, err := h.Exec(ctx, command)
	what := strings.Join(line[1:min(3, len(line))], " ")
	if err != nil {
		return nil, fmt.Errorf("keelson %s on %s: %w", what, h.Name(), err)
	}
	if r.Exit.Code != 0 {
		said := ErrCommand
		if r.Exit.Code == unreached {
			said = ErrUnreached
		}
		return nil, fmt.Errorf("keelson %s on %s: %w (status %d): %s",
			what, h.Name(), said, r.Exit.Code, strings.TrimSpace(string(r.Stderr)))
	}
	return r.Stdout, nil
}
