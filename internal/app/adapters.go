package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/app/sentence"
	"github.com/keelson/keelson/internal/engine/cell"
	"github.com/keelson/keelson/internal/engine/cell/remark"
	"github.com/keelson/keelson/internal/engine/recorder"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
)

// emitter passes what engines tell to the recorder.
type emitter struct{ to *recorder.Recorder }

func (e emitter) Emit(ev event.Event) { e.to.Add(ev) }

// nodes changes what is asked of nodes.
type nodes struct{ n *node }

func (x nodes) Drain(ctx context.Context, ask request.Drain) error { return x.n.clerk.Drain(ctx, ask) }

func (x nodes) Undrain(ctx context.Context, ask request.Undrain) error {
	return x.n.clerk.Undrain(ctx, ask)
}

func (x nodes) SetMaintenance(ctx context.Context, ask request.Maintenance) error {
	return x.n.clerk.SetMaintenance(ctx, ask)
}

func (x nodes) Remove(ctx context.Context, ask request.Remove) error {
	return x.n.clerk.Remove(ctx, ask)
}

// members lets nodes in.
type members struct{ n *node }

func (x members) CreateToken(ctx context.Context, ask request.Token) (request.TokenMade, error) {
	made, err := x.n.registrar.CreateToken(ctx, ask)
	if err != nil {
		return made, sentence.Unanswered("no token was made", err)
	}
	made.Address = hostPort(x.n.local.Address, x.n.local.Ports.API)
	x.n.recorder.Add(event.Event{Kind: event.TokenCreated, Actor: ask.By, Text: "a join token was made; it is valid until " + made.Expires.UTC().Format("2006-01-02 15:04:05 MST")})
	return made, nil
}

func (x members) Join(ctx context.Context, ask request.Join) (request.Joined, error) {
	joined, err := x.n.registrar.Join(ctx, ask)
	if err != nil {
		return joined, sentence.Unanswered(fmt.Sprintf("%s was not let in", ask.Name), err)
	}
	records, _, err := cell.Load(ctx, x.n.store)
	if err != nil {
		return joined, sentence.Unanswered(fmt.Sprintf("%s was not told all", ask.Name), err)
	}
	joined.Endpoints = voterEndpoints(records)
	if x.n.config.Store != nil {
		joined.Endpoints = endpoints(x.n.config.Store.Endpoints)
	}
	joined.Notes = append(joined.Notes, remark.Newcomer(ask.Name, records.Nodes, records.Lease)...)
	x.n.recorder.Add(event.Event{Kind: event.NodeJoined, About: ask.Name, Text: fmt.Sprintf("%s joined the cell", ask.Name)})
	return joined, nil
}

func (x members) Renew(ctx context.Context, ask request.Renew) (request.Renewed, error) {
	renewed, err := x.n.registrar.RenewCertificate(ctx, ask)
	return renewed, sentence.Unanswered(fmt.Sprintf("the certificate of %s was not renewed", ask.Node), err)
}

func voterEndpoints(r cell.Records) []string {
	var out []string
	for _, m := range r.Nodes {
		if m.Member != "" {
			out = append(out, hostPort(m.Address, withDefaults(m.Ports).Client))
		}
	}
	slices.Sort(out)
	return out
}

// logs reads the output of programs, here or on another node.
type logs struct{ n *node }

func (x logs) Where(ctx context.Context, name spec.ServiceName) (spec.NodeName, error) {
	return x.n.observer.Where(ctx, name)
}

// maxChunk is how much output is sent at once, in bytes.
const maxChunk = 32 << 10

func (x logs) ReadLogs(ctx context.Context, ask request.Logs, f func(request.LogChunk) error) error {
	records, _ := x.n.mirror.Records()
	service, ok := records.Services[ask.Service]
	if !ok {
		return &request.Error{Kind: request.NotFound, Code: "no-such-service", Text: fmt.Sprintf("there is no service %q", string(ask.Service)), Hint: "see `keelson get services`"}
	}
	var parts []spec.Part
	for _, p := range service.Spec.Parts {
		if p.Exec != nil && (ask.Part == "" || ask.Part == p.Name) {
			parts = append(parts, p)
		}
	}
	if len(parts) == 0 {
		return &request.Error{Kind: request.NotFound, Code: "no-output", Text: fmt.Sprintf("%s has no such part with output", ask.Service), Hint: "see `keelson describe " + string(ask.Service) + "`"}
	}
	return x.read(ctx, ask, parts, f)
}

func (x logs) read(ctx context.Context, ask request.Logs, parts []spec.Part, f func(request.LogChunk) error) error {
	lines := ask.Lines
	if lines == 0 {
		lines = request.DefaultLines
	}
	type piece struct {
		part, line string
	}
	pieces := make(chan piece)
	var readers []organ
	for _, run := range x.runs(ask.Service, parts) {
		log, name := x.n.programs.Log(run), run.Part.Name
		if run.Copy > 0 {
			name = fmt.Sprintf("%d/%s", run.Copy, name)
		}
		each := func(line string) error {
			select {
			case pieces <- piece{name, line}:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		readers = append(readers, organ{name, func(ctx context.Context) error {
			if ask.Follow {
				return log.Follow(ctx, lines, each)
			}
			return log.Tail(ctx, lines, each)
		}})
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- each(ctx, readers) }()
	for {
		select {
		case p := <-pieces:
			for data := []byte(p.line + "\n"); len(data) > 0; {
				n := min(len(data), maxChunk)
				if err := f(request.LogChunk{Part: p.part, Data: data[:n]}); err != nil {
					cancel()
					return errors.Join(err, notCanceled(<-done))
				}
				data = data[n:]
			}
		case err := <-done:
			return err
		}
	}
}

// notCanceled leaves out what only says that somebody was told to stop.
func notCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// each runs readers at the same time and returns the first error.
func each(ctx context.Context, readers []organ) error {
	errs := make(chan error, len(readers))
	for _, r := range readers {
		go func() { errs <- r.run(ctx) }()
	}
	var first error
	for range readers {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}

// runs names the parts for their driver, as the agent does: those of each copy
// that has left output here, if copies differ.
func (x logs) runs(service spec.ServiceName, parts []spec.Part) []instance.Run {
	numbers := []int{0}
	entries, _ := os.ReadDir(x.n.folders.logs()) // nothing was kept yet
	for _, e := range entries {
		if n := instance.Name(e.Name()); n.Valid() && n.Service() == service && n.Number() > 0 {
			numbers = append(numbers, n.Number())
		}
	}
	var out []instance.Run
	for _, number := range numbers {
		for _, p := range parts {
			name := string(instance.NameOf(service, number))
			out = append(out, instance.Run{
				Cell: x.n.local.Cell, Node: x.n.local.Node, Service: service, Copy: number, Part: p,
				RunDir: filepath.Join(x.n.folders.parts(), name, p.Name), LogDir: filepath.Join(x.n.folders.logs(), name, p.Name),
			})
		}
	}
	return out
}

func (x logs) ReadLogsOf(ctx context.Context, ask request.Logs, f func(request.LogChunk) error) error {
	records, _ := x.n.mirror.Records()
	other, ok := records.Nodes[ask.Node]
	if !ok {
		return &request.Error{Kind: request.NotFound, Code: "no-such-node", Text: fmt.Sprintf("there is no node %q", string(ask.Node)), Hint: "see `keelson get nodes`"}
	}
	c, err := x.n.peer(other)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.ReadLogs(ctx, ask, f)
}

// peer returns a client of another node's API.
func (n *node) peer(other record.Node) (*client.Client, error) {
	conf, err := n.trust.Client(other.Name)
	if err != nil {
		return nil, err
	}
	return client.New(client.Options{Servers: []string{hostPort(other.Address, withDefaults(other.Ports).API)}, TLS: conf, Proxied: true})
}
