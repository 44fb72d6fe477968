// Package etcdstore is the store on etcd: a client for any etcd cluster, and
// the embedded server that a voter of the cell runs.
//
// Its main rule is that a write happens at most once, however often it was
// tried: every transaction carries a marker that only its first success can
// pass. It refuses to bring the process down: what etcd would end it for
// becomes an error. It deletes nothing from a data directory; what is in the
// way is renamed. Package zap, gRPC and etcd's own types end here.
package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/store"
)

// DefaultElection is the election timeout of a cell's own voters.
const DefaultElection = 500 * time.Millisecond

const (
	// maxAttempts is how often a call is tried before it ends with
	// [store.ErrUnavailable]. One attempt takes at most 1.25 election timeouts,
	// and a pause of a quarter follows.
	maxAttempts = 8

	// slots is how many transactions of one client may be under way at once.
	slots = 8

	keepAlive        = 10 * time.Second // gRPC allows no less
	keepAliveTimeout = 3 * time.Second  // also bounds unacknowledged data
	redialFirst      = 100 * time.Millisecond
	redialMost       = 2 * time.Second
	dialTimeout      = 2 * time.Second
)

// ClientOptions say which etcd cluster to use and how.
type ClientOptions struct {
	// Name tells this client from all others of the cell; a node's name. Two
	// clients of one name are safe but slow each other down.
	Name string
	// Endpoints are HOST:PORT of the cluster's client ports, at least one.
	Endpoints []string
	// Prefix comes before all keys and ends with a slash.
	Prefix string
	TLS    TLSFiles
	// External is true if the cluster is the operator's own: its members are
	// left alone.
	External bool
	// Election is the cluster's election timeout; 0 means [DefaultElection].
	Election time.Duration

	Clock clock.Clock
	Log   *slog.Logger
}

// Client is a [store.Store] on an etcd cluster. Make one with [NewClient] and
// end it with [Client.Close]. It is safe for concurrent use.
type Client struct {
	options ClientOptions
	etcd    *clientv3.Client
	logger  *zap.Logger
	slots   chan *slot

	handshake atomic.Pointer[error] // why the last TLS handshake failed
}

var errNoEndpoint = errors.New("no endpoint given")

// NewClient returns a client. It does not wait for a connection; it fails only
// if the options are wrong or a file of o.TLS cannot be read.
func NewClient(o ClientOptions) (*Client, error) {
	if len(o.Endpoints) == 0 {
		return nil, fmt.Errorf("open the store: %w", errNoEndpoint)
	}
	if o.Election == 0 {
		o.Election = DefaultElection
	}
	c := &Client{options: o, logger: newQuiet(o.Log).zap(), slots: make(chan *slot, slots)}
	for i := range slots {
		c.slots <- &slot{key: fmt.Sprintf("%stxn/%s/%d", o.Prefix, o.Name, i)}
	}
	etcd, err := c.dial(o.Endpoints)
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	c.etcd = etcd
	return c, nil
}

func (c *Client) dial(endpoints []string) (*clientv3.Client, error) {
	config := clientv3.Config{
		Endpoints:            c.urls(endpoints),
		DialTimeout:          dialTimeout,
		DialKeepAliveTime:    keepAlive,
		DialKeepAliveTimeout: keepAliveTimeout,
		MaxUnaryRetries:      1, // this package repeats by itself
		Logger:               c.logger,
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: redialFirst, Multiplier: 1.6, Jitter: 0.2, MaxDelay: redialMost},
			MinConnectTimeout: dialTimeout,
		})},
	}
	secure, err := c.options.TLS.client()
	if err != nil {
		return nil, err
	}
	if secure != nil {
		config.TLS = secure
		config.DialOptions = append(config.DialOptions,
			grpc.WithTransportCredentials(listening{credentials.NewTLS(secure), &c.handshake}))
	}
	return clientv3.New(config)
}

func (c *Client) urls(endpoints []string) []string {
	scheme := "https://"
	if c.options.TLS == (TLSFiles{}) {
		scheme = "http://"
	}
	urls := make([]string, 0, len(endpoints))
	for _, e := range endpoints {
		urls = append(urls, scheme+e)
	}
	return urls
}

// SetEndpoints makes the client use these HOST:PORT from now on. An empty list
// is ignored: a client without endpoints could never learn of new ones.
func (c *Client) SetEndpoints(endpoints []string) {
	if len(endpoints) > 0 {
		c.etcd.SetEndpoints(c.urls(endpoints)...)
	}
}

// Close ends the client's connections. Calls under way end with an error.
func (c *Client) Close() error {
	err := c.etcd.Close()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// data returns the key in etcd that key of the store has.
func (c *Client) data(key string) string { return c.options.Prefix + "data/" + key }

// try makes attempts until one is answered, and returns a translated error. An
// attempt gets its own context with a deadline.
func (c *Client) try(ctx context.Context, attempt func(context.Context) error) error {
	var last error
	for range maxAttempts {
		if err := ctx.Err(); err != nil && last == nil {
			return err
		}
		last = c.once(ctx, attempt)
		if last == nil {
			return nil
		}
		if !passing(last) {
			return translate(ctx, last)
		}
		if c.options.Clock.Sleep(ctx, c.options.Election/4) != nil {
			break
		}
	}
	return c.unavailable(ctx, last)
}

func (c *Client) once(ctx context.Context, attempt func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, c.options.Election*5/4)
	defer cancel()
	return attempt(bounded)
}

// unavailable explains why no attempt was answered.
func (c *Client) unavailable(ctx context.Context, last error) error {
	if failed := c.handshake.Load(); failed != nil && ctx.Err() == nil {
		if timeFault(*failed) {
			return fmt.Errorf("%w: %w: %w: check this host's clock and the voters'", store.ErrUnavailable, ErrCertificate, *failed)
		}
		if err := c.options.TLS.check(c.options.Clock.Now()); err != nil {
			return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		}
	}
	return translate(ctx, last)
}
