package probe

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/keelson/keelson/internal/base/clock"
)

// HTTP asks a URL again and again, each time on a new connection, without
// waiting for the answers before.
type HTTP struct {
	URL     string        `json:"url"` // http only; the host as a number, so that no name is looked up
	Every   time.Duration `json:"every,omitempty"`
	Timeout time.Duration `json:"timeout,omitempty"`
}

// HTTPResult is what came of one question.
type HTTPResult struct {
	Seq   uint64        `json:"seq"`
	Sent  time.Duration `json:"sent"` // CLOCK_BOOTTIME, before the connection was opened
	Done  time.Duration `json:"done"` // when the answer was complete, or given up
	OK    bool          `json:"ok"`   // a complete answer with a status from 200 to 399
	Host  string        `json:"host,omitempty"`
	Epoch uint64        `json:"epoch,omitempty"`
	Err   string        `json:"err,omitempty"`
	// Late: the address was there, it was connected to, and the program gave no
	// answer in time. An address that is cut off is not connected to.
	Late bool `json:"late,omitempty"`
}

// maxBody bounds an answer's body in bytes.
const maxBody = 64 << 10

func (c HTTP) run(ctx context.Context, out *lines) error {
	c.Every, c.Timeout = orDefault(c.Every, DefaultEvery), orDefault(c.Timeout, DefaultTimeout)
	where, err := parseURL(c.URL)
	if err != nil {
		return err
	}
	if c.Timeout/c.Every > maxInFlight {
		return fmt.Errorf("a timeout of %s is over %d times %s", c.Timeout, maxInFlight, c.Every)
	}
	// Those in flight are let finish: half a question is no result.
	askCtx := context.WithoutCancel(ctx)
	var asking sync.WaitGroup
	defer asking.Wait()
	tick := clock.System{}.Tick(c.Every)
	defer tick.Stop()
	for seq := uint64(1); ; seq++ {
		asking.Go(func() { out.put(c.ask(askCtx, where, seq)) })
		select {
		case <-ctx.Done():
			return out.failed()
		case <-tick.C:
		}
		if err := out.failed(); err != nil {
			return err
		}
	}
}

// parseURL reads an http URL and fills in its port.
func parseURL(text string) (*url.URL, error) {
	where, err := url.Parse(text)
	if err != nil || where.Scheme != "http" || where.Host == "" {
		return nil, fmt.Errorf("%q is no http URL", text)
	}
	if where.Port() == "" {
		where.Host = net.JoinHostPort(where.Hostname(), "80")
	}
	return where, nil
}

// ask asks once.
func (c HTTP) ask(ctx context.Context, where *url.URL, seq uint64) HTTPResult {
	r := HTTPResult{Seq: seq, Sent: clock.System{}.Boot()}
	body, err := get(ctx, where, c.Timeout)
	r.Done = clock.System{}.Boot()
	if err != nil {
		r.Err, r.Late = err.Error(), errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, errUnconnected)
		return r
	}
	r.OK = true
	var who struct {
		Host  string `json:"host"`
		Epoch uint64 `json:"epoch"`
	}
	if json.Unmarshal(body, &who) == nil { // other services answer other things
		r.Host, r.Epoch = who.Host, who.Epoch
	}
	return r
}

var errUnconnected = errors.New("not connected")

// get makes one request on a connection of its own. It ends the connection
// with a reset, since at hundreds of connections a second the ports that wait
// for their time to pass would run out.
func get(ctx context.Context, where *url.URL, timeout time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", where.Host)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnconnected, err)
	}
	defer func() { _ = conn.Close() }()
	if tcp, ok := conn.(*net.TCPConn); ok {
		if err := tcp.SetLinger(0); err != nil {
			return nil, err
		}
	}
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, where.String(), nil)
	if err != nil {
		return nil, err
	}
	if err := request.Write(conn); err != nil {
		return nil, err
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxBody))
	if err != nil {
		return nil, err
	}
	if answer.StatusCode < 200 || answer.StatusCode > 399 {
		return nil, fmt.Errorf("status %d", answer.StatusCode)
	}
	return body, nil
}

func orDefault(d, fallback time.Duration) time.Duration {
	if d <= 0 {
		return fallback
	}
	return d
}
