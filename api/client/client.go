// Package client calls the API of a Keelson cell.
//
// It reaches a node by its local socket or over TLS with a client certificate;
// any node answers for the whole cell. What goes in and comes out are plain
// values, and every error is an [*Error] with a stable code and a hint. A call
// is never repeated behind the caller's back once a node may have seen it.
package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"github.com/keelson/keelson/api/keelson/v1/keelsonv1connect"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/status"
)

// The words of the API, by names that can be used outside of this module.
type (
	// Error is an answer of no.
	Error = request.Error
	// Status is the whole cell at a glance.
	Status = status.Cell
	// Node is a member of the cell.
	Node = status.Node
	// Service is a service and how it is.
	Service = status.Service
	// Event is one thing that happened.
	Event = event.Event
	// ApplyResult is what became of a file.
	ApplyResult = request.ApplyResult
)

// DefaultSocket is the API's socket on a node.
const DefaultSocket = "/run/keelson/api.sock"

// Limits of a client.
const (
	// DialTimeout bounds the attempt to reach one address.
	DialTimeout = 3 * time.Second
	// CallTimeout bounds a call that is no stream, JoinTimeout a join.
	CallTimeout = 25 * time.Second
	JoinTimeout = 70 * time.Second

	// maxMessage bounds an answer: a status of a thousand services fits.
	maxMessage  = 64 << 20
	pingEvery   = 5 * time.Second
	pingTimeout = 5 * time.Second
)

// Options says whom to call.
type Options struct {
	// Servers are "host:port" of nodes, tried in this order. Empty: use Socket.
	Servers []string
	// TLS is needed for Servers; see [Files.TLS].
	TLS *tls.Config
	// Socket is the local API socket; empty: [DefaultSocket].
	Socket string
	// Proxied marks calls that a node makes for somebody else.
	Proxied bool
}

// Client calls a cell. It is safe for concurrent use. Close it after use.
type Client struct {
	transport *http.Transport
	cell      keelsonv1connect.CellServiceClient
	join      keelsonv1connect.JoinServiceClient
	peer      keelsonv1connect.PeerServiceClient
	target    string
	socket    bool // target is a socket of this host
}

// New returns a client. It does not connect yet. It returns an error if o
// names servers without TLS.
func New(o Options) (*Client, error) {
	c := &Client{transport: &http.Transport{
		ForceAttemptHTTP2:   true,
		TLSHandshakeTimeout: DialTimeout,
		IdleConnTimeout:     time.Minute,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: pingEvery, PingTimeout: pingTimeout},
	}}
	base := "http://keelson"
	switch {
	case len(o.Servers) == 0:
		socket := o.Socket
		if socket == "" {
			socket = DefaultSocket
		}
		c.target, c.socket = socket, true
		c.transport.DialContext = dialer([]address{{"unix", socket}})
	case o.TLS == nil:
		return nil, &Error{
			Kind: request.Invalid, Code: "no-certificate", Text: "calling a server over the network needs a client certificate",
			Hint: "give --cert, --key and --ca",
		}
	default:
		servers := make([]address, len(o.Servers))
		for i, s := range o.Servers {
			servers[i] = address{"tcp", s}
		}
		c.target = o.Servers[0]
		c.transport.TLSClientConfig = o.TLS.Clone()
		c.transport.DialContext = dialer(servers)
		base = "https://" + o.Servers[0]
	}
	options := []connect.ClientOption{connect.WithReadMaxBytes(maxMessage)}
	var caller connect.HTTPClient = &http.Client{Transport: c.transport}
	if o.Proxied {
		caller = proxied{caller}
	}
	c.cell = keelsonv1connect.NewCellServiceClient(caller, base, options...)
	c.join = keelsonv1connect.NewJoinServiceClient(caller, base, options...)
	c.peer = keelsonv1connect.NewPeerServiceClient(caller, base, options...)
	return c, nil
}

// Close lets go of idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Target says whom the client calls, for messages.
func (c *Client) Target() string { return c.target }

// proxied adds the header by which nodes know each other's forwarded calls.
type proxied struct{ next connect.HTTPClient }

// Do sends a request with the header.
func (p proxied) Do(r *http.Request) (*http.Response, error) {
	r.Header.Set("Keelson-Proxied", "1")
	return p.next.Do(r)
}

type address struct{ network, address string }

// errNobody means that no address could be reached: no node has seen the call.
var errNobody = errors.New("nobody answers")

// dialer returns a dial function that tries all addresses in order.
func dialer(addresses []address) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		var failed []error
		for _, a := range addresses {
			d := net.Dialer{Timeout: DialTimeout}
			conn, err := d.DialContext(ctx, a.network, a.address)
			if err == nil {
				return conn, nil
			}
			failed = append(failed, err)
		}
		return nil, fmt.Errorf("%w: %w", errNobody, errors.Join(failed...))
	}
}
