package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keelson/keelson/internal/store"
)

// session is a lease of etcd. Its goroutine ends with the renewal, which ends
// with Close or with the session's context.
type session struct {
	client *Client
	id     clientv3.LeaseID
	stop   context.CancelFunc
	done   chan struct{}
}

// Session implements [store.Store]. An election of the cluster's leader starts
// its time anew.
func (c *Client) Session(ctx context.Context, ttl time.Duration) (store.Session, error) {
	seconds := max(1, int64((ttl+time.Second-1)/time.Second))
	var grant *clientv3.LeaseGrantResponse
	err := c.try(ctx, func(ctx context.Context) (err error) {
		grant, err = c.etcd.Grant(ctx, seconds)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open a session: %w", err)
	}
	renewal, stop := context.WithCancel(ctx)
	renewed, err := c.etcd.KeepAlive(renewal, grant.ID)
	if err != nil {
		stop()
		return nil, fmt.Errorf("open a session: %w", translate(ctx, err))
	}
	s := &session{client: c, id: grant.ID, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		for range renewed { // answers only have to be taken
		}
	}()
	return s, nil
}

// Done implements [store.Session].
func (s *session) Done() <-chan struct{} { return s.done }

// Close implements [store.Session].
func (s *session) Close(ctx context.Context) error {
	s.stop()
	<-s.done
	err := s.client.try(ctx, func(ctx context.Context) error {
		_, err := s.client.etcd.Revoke(ctx, s.id)
		return err
	})
	if err != nil && !errors.Is(err, store.ErrSessionEnded) {
		return fmt.Errorf("close a session: %w", err)
	}
	return nil
}
