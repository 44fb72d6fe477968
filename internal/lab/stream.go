package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/keelson/keelson/internal/lab/probe"
)

// MaxSeen is how many lines a [Stream] keeps: an hour at one every 5 ms, with
// room to spare. What comes later is counted, not kept.
const MaxSeen = 1 << 20

// Stream is a client that runs in a host and tells what it sees. It is safe
// for concurrent use.
type Stream[T any] struct {
	process *Process
	stop    *io.PipeWriter // the client ends when its input does
	errs    limited

	mu      sync.Mutex
	partial []byte
	seen    []T
	dropped int
	broken  error
	more    chan struct{} // closed and replaced when something was seen
}

// ProbeHTTP starts the HTTP client in the host.
func (h *Host) ProbeHTTP(ctx context.Context, c probe.HTTP) (*Stream[probe.HTTPResult], error) {
	return watch[probe.HTTPResult](ctx, h, RoleHTTP, c)
}

// ProbeARP starts the ARP client in the host, on the link of network 1 unless
// c says otherwise.
func (h *Host) ProbeARP(ctx context.Context, c probe.ARP) (*Stream[probe.ARPAnswer], error) {
	if c.Interface == "" {
		c.Interface = "eth0"
	}
	return watch[probe.ARPAnswer](ctx, h, RoleARP, c)
}

// Load starts the load client in the host.
func (h *Host) Load(ctx context.Context, c probe.Load) (*Stream[probe.LoadCount], error) {
	return watch[probe.LoadCount](ctx, h, RoleLoad, c)
}

func watch[T any](ctx context.Context, h *Host, role Role, config any) (*Stream[T], error) {
	text, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("write the configuration of %s: %w", role, err)
	}
	stdin, stop := io.Pipe()
	s := &Stream[T]{stop: stop, more: make(chan struct{})}
	s.process, err = h.Start(ctx, Command{
		Role: role, Args: []string{string(text)}, Stdin: stdin, Stdout: s, Stderr: &s.errs,
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Write takes the client's output; it is there for the process alone.
func (s *Stream[T]) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.partial = append(s.partial, p...)
	for {
		line, rest, ok := bytes.Cut(s.partial, []byte("\n"))
		if !ok {
			break
		}
		s.take(line)
		s.partial = rest
	}
	s.partial = bytes.Clone(s.partial)
	close(s.more)
	s.more = make(chan struct{})
	return len(p), nil
}

func (s *Stream[T]) take(line []byte) {
	var v T
	switch err := json.Unmarshal(line, &v); {
	case err != nil:
		s.broken = fmt.Errorf("read a line of the client: %w", err)
	case len(s.seen) >= MaxSeen:
		s.dropped++
	default:
		s.seen = append(s.seen, v)
	}
}

// Since returns what was seen after the first n; the caller must not change
// it.
func (s *Stream[T]) Since(n int) []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[min(n, len(s.seen)):len(s.seen):len(s.seen)]
}

// Await waits until something that is so was seen, from the start of the
// stream, and returns the first of it.
func (s *Stream[T]) Await(ctx context.Context, so func(T) bool) (T, error) {
	for next := 0; ; {
		s.mu.Lock()
		more := s.more
		s.mu.Unlock()
		fresh := s.Since(next)
		for _, v := range fresh {
			if so(v) {
				return v, nil
			}
		}
		next += len(fresh)
		var none T
		select {
		case <-more:
		case <-ctx.Done():
			return none, fmt.Errorf("wait for the client to see it: %w", ctx.Err())
		case <-s.process.Done():
			if _, err := s.process.Wait(ctx); err != nil {
				return none, err
			}
			if len(s.Since(next)) == 0 {
				return none, fmt.Errorf("the client ended: %s", s.errs.bytes())
			}
		}
	}
}

// Stop ends the client and returns all it saw. Stopping twice is fine.
func (s *Stream[T]) Stop(ctx context.Context) ([]T, error) {
	err := s.stop.Close()
	exit, waited := s.process.Wait(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case waited != nil:
		err = errors.Join(err, waited, s.process.Kill(ctx))
	case exit.Code != 0:
		err = errors.Join(err, fmt.Errorf("the client ended with status %d: %s", exit.Code, s.errs.bytes()))
	case s.dropped > 0:
		err = errors.Join(err, fmt.Errorf("the client saw %d things too many to keep", s.dropped))
	}
	return s.seen[:len(s.seen):len(s.seen)], errors.Join(err, s.broken)
}
