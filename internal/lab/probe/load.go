package probe

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keelson/keelson/internal/base/clock"
)

// Load keeps a service busy over connections that stay open, as most clients
// do, and counts what fails.
type Load struct {
	URL         string        `json:"url"`
	Connections int           `json:"connections,omitempty"` // default 4, at most 256
	Every       time.Duration `json:"every,omitempty"`       // between the requests of one connection; default 5 ms
	Timeout     time.Duration `json:"timeout,omitempty"`     // of one request; default 1 s
}

// LoadCount is the count so far. It is written ten times a second and at the
// end.
type LoadCount struct {
	At       time.Duration `json:"at"` // CLOCK_BOOTTIME
	Requests uint64        `json:"requests"`
	Failed   uint64        `json:"failed"`
	LastErr  string        `json:"last_err,omitempty"`
}

const (
	defaultConnections = 4
	maxConnections     = 256
	loadTimeout        = time.Second
	countEvery         = 100 * time.Millisecond
	maxLoadBody        = 16 << 20 // bytes
)

var errTooLarge = errors.New("it is larger than 16 MiB")

type loadCounter struct {
	requests, failed atomic.Uint64
	lastErr          atomic.Pointer[string]
}

func (n *loadCounter) count() LoadCount {
	// Failed first: it must never exceed Requests.
	c := LoadCount{At: clock.System{}.Boot(), Failed: n.failed.Load()}
	c.Requests = n.requests.Load()
	if text := n.lastErr.Load(); text != nil {
		c.LastErr = *text
	}
	return c
}

func (c Load) run(ctx context.Context, out *lines) error {
	c.Every, c.Timeout = orDefault(c.Every, DefaultEvery), orDefault(c.Timeout, loadTimeout)
	if c.Connections == 0 {
		c.Connections = defaultConnections
	}
	where, err := parseURL(c.URL)
	if err != nil {
		return err
	}
	if c.Connections < 1 || c.Connections > maxConnections {
		return fmt.Errorf("%d connections cannot be: 1 to %d can", c.Connections, maxConnections)
	}
	var n loadCounter
	var working sync.WaitGroup
	for range c.Connections {
		working.Go(func() { c.work(ctx, where, &n) })
	}
	tick := clock.System{}.Tick(countEvery)
	defer tick.Stop()
	for ctx.Err() == nil && out.failed() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			out.put(n.count())
		}
	}
	working.Wait()
	out.put(n.count())
	return out.failed()
}

// work sends requests over one connection, and opens a new one when it breaks.
// It repeats nothing: a request that was lost with its connection has failed.
func (c Load) work(ctx context.Context, where *url.URL, n *loadCounter) {
	var open *connection
	for ctx.Err() == nil {
		var err error
		if open, err = c.request(context.WithoutCancel(ctx), where, open); err != nil {
			text := err.Error()
			n.lastErr.Store(&text)
			n.failed.Add(1)
		}
		n.requests.Add(1)
		_ = clock.System{}.Sleep(ctx, c.Every) // its end ends the loop
	}
	if open != nil {
		_ = open.Close()
	}
}

// connection is one that is kept open between requests.
type connection struct {
	net.Conn
	in *bufio.Reader
}

// request makes one request on a connection, a new one if that is nil, and
// returns the connection if it can be used again.
func (c Load) request(ctx context.Context, where *url.URL, on *connection) (*connection, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	if on == nil {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "tcp", where.Host)
		if err != nil {
			return nil, err
		}
		on = &connection{conn, bufio.NewReader(conn)}
	}
	again, err := c.exchange(ctx, where, on)
	if !again {
		_ = on.Close() // it is of no use any more
		on = nil
	}
	return on, err
}

func (c Load) exchange(ctx context.Context, where *url.URL, on *connection) (again bool, err error) {
	deadline, _ := ctx.Deadline()
	if err := on.SetDeadline(deadline); err != nil {
		return false, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, where.String(), nil)
	if err != nil {
		return false, err
	}
	if err := request.Write(on); err != nil {
		return false, err
	}
	answer, err := http.ReadResponse(on.in, request)
	if err != nil {
		return false, err
	}
	defer func() { _ = answer.Body.Close() }()
	if n, err := io.Copy(io.Discard, io.LimitReader(answer.Body, maxLoadBody+1)); err != nil || n > maxLoadBody {
		return false, fmt.Errorf("the body is incomplete after %d bytes: %w", n, cmp.Or(err, errTooLarge))
	}
	if answer.StatusCode < 200 || answer.StatusCode > 399 {
		return !answer.Close, fmt.Errorf("status %d", answer.StatusCode)
	}
	return !answer.Close, nil
}
