// Package probe sees a service as its clients do: it asks again and again,
// notes every answer, and works out afterwards how long there was none and
// whether two gave one at once.
//
// Its one rule: the asking and the judging are apart. The askers run inside a
// host of a lab and write one JSON line for each thing they saw, with times of
// CLOCK_BOOTTIME, which all hosts of one machine share; the judging is pure.
// The askers never ask the cell, only the service.
package probe

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// The roles of the lab's binary that run the askers. Their argument is the
// asker's configuration as JSON.
const (
	RoleHTTP = "probe-http"
	RoleARP  = "probe-arp"
	RoleLoad = "probe-load"
)

const (
	// DefaultEvery is the time between two questions.
	DefaultEvery = 5 * time.Millisecond
	// DefaultTimeout is how long an answer may take.
	DefaultTimeout = 250 * time.Millisecond
	// maxInFlight bounds the questions that wait for an answer at once.
	maxInFlight = 1024
)

// Run runs the asker of the role until stdin ends, and writes what it saw to
// stdout.
func Run(ctx context.Context, role string, args []string, stdin io.Reader, stdout io.Writer) error {
	if len(args) != 1 {
		return errors.New("the configuration is missing")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, stdin) // whoever started this is done with it
		cancel()
	}()
	out := &lines{to: bufio.NewWriter(stdout)}
	switch role {
	case RoleHTTP:
		var c HTTP
		if err := json.Unmarshal([]byte(args[0]), &c); err != nil {
			return fmt.Errorf("read the configuration: %w", err)
		}
		return c.run(ctx, out)
	case RoleARP:
		var c ARP
		if err := json.Unmarshal([]byte(args[0]), &c); err != nil {
			return fmt.Errorf("read the configuration: %w", err)
		}
		return c.run(ctx, out)
	case RoleLoad:
		var c Load
		if err := json.Unmarshal([]byte(args[0]), &c); err != nil {
			return fmt.Errorf("read the configuration: %w", err)
		}
		return c.run(ctx, out)
	default:
		return fmt.Errorf("no asker is called %q", role)
	}
}

// lines writes values as JSON, one a line, at once. It is safe for concurrent
// use and keeps the first error.
type lines struct {
	mu  sync.Mutex
	to  *bufio.Writer
	err error
}

func (l *lines) put(v any) {
	data, err := json.Marshal(v)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		_, err = l.to.Write(append(data, '\n'))
	}
	if err == nil {
		err = l.to.Flush()
	}
	if l.err == nil {
		l.err = err
	}
}

func (l *lines) failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return fmt.Errorf("write what was seen: %w", l.err)
	}
	return nil
}
