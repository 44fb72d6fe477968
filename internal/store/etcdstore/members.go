package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keelson/keelson/internal/store"
)

var errNobodyElse = errors.New("no other voter can lead")

// Members returns the cluster's servers as a majority knows them.
func (c *Client) Members(ctx context.Context) ([]store.Member, error) {
	if c.options.External {
		return nil, fmt.Errorf("list the members: %w", ErrExternal)
	}
	var answer *clientv3.MemberListResponse
	err := c.try(ctx, func(ctx context.Context) (err error) {
		answer, err = c.etcd.MemberList(ctx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the members: %w", err)
	}
	members := make([]store.Member, 0, len(answer.Members))
	for _, m := range answer.Members {
		members = append(members, member(m))
	}
	return members, nil
}

func member(m *etcdserverpb.Member) store.Member {
	return store.Member{
		ID: strconv.FormatUint(m.ID, 16), Name: m.Name, Learner: m.IsLearner,
		PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs,
	}
}

// AddLearner adds a server that is to be reached at HOST:PORT peer, as a
// learner, and returns it as a member. It is not repeated: list the members to
// see whether an unanswered call happened. [store.ErrUnhealthy] means not now.
func (c *Client) AddLearner(ctx context.Context, peer string) (store.Member, error) {
	var added store.Member
	err := c.change(ctx, "add a learner at "+peer, func(ctx context.Context) error {
		answer, err := c.etcd.MemberAddAsLearner(ctx, []string{peerURL(peer)})
		if err == nil {
			added = member(answer.Member)
		}
		return err
	})
	return added, err
}

// Promote makes a learner a voter. [store.ErrBehind] and [store.ErrUnhealthy] mean not now.
func (c *Client) Promote(ctx context.Context, id string) error {
	return c.changeMember(ctx, "promote", id, func(ctx context.Context, n uint64) error {
		_, err := c.etcd.MemberPromote(ctx, n)
		return err
	})
}

// Remove takes a member out of the cluster for good. It returns
// [store.ErrUnknownMember] if it is out already and [store.ErrUnhealthy] if the rest would
// have no quorum.
func (c *Client) Remove(ctx context.Context, id string) error {
	return c.changeMember(ctx, "remove", id, func(ctx context.Context, n uint64) error {
		_, err := c.etcd.MemberRemove(ctx, n)
		return err
	})
}

// MoveLeader makes another voter the leader if member id leads. It returns when
// the other one leads.
func (c *Client) MoveLeader(ctx context.Context, id string) error {
	return c.changeMember(ctx, "move the leadership away from", id, func(ctx context.Context, n uint64) error {
		list, err := c.etcd.MemberList(ctx)
		if err != nil {
			return err
		}
		var from, to *etcdserverpb.Member
		for _, m := range list.Members {
			switch {
			case m.ID == n:
				from = m
			case !m.IsLearner && len(m.ClientURLs) > 0:
				to = m
			}
		}
		if from == nil || len(from.ClientURLs) == 0 {
			return store.ErrUnknownMember
		}
		status, err := c.etcd.Status(ctx, from.ClientURLs[0])
		if err != nil {
			return err
		}
		if status.Leader != n {
			return nil
		}
		if to == nil {
			return errNobodyElse
		}
		return c.order(ctx, from, to)
	})
}

// order asks the leader itself: no other server takes the order.
func (c *Client) order(ctx context.Context, from, to *etcdserverpb.Member) error {
	direct, err := c.dial([]string{hostPort(from.ClientURLs[0])})
	if err != nil {
		return err
	}
	_, err = direct.MoveLeader(ctx, to.ID)
	if closed := direct.Close(); err == nil && !errors.Is(closed, context.Canceled) {
		err = closed
	}
	return err
}

func (c *Client) changeMember(ctx context.Context, what, id string, call func(context.Context, uint64) error) error {
	n, err := strconv.ParseUint(id, 16, 64)
	if err != nil {
		return fmt.Errorf("%s member %q: %w", what, id, store.ErrUnknownMember)
	}
	return c.change(ctx, what+" member "+id, func(ctx context.Context) error { return call(ctx, n) })
}

// change makes one attempt at a change of members, which the caller bounds.
func (c *Client) change(ctx context.Context, what string, call func(context.Context) error) error {
	if c.options.External {
		return fmt.Errorf("%s: %w", what, ErrExternal)
	}
	if err := call(ctx); err != nil {
		return fmt.Errorf("%s: %w", what, translate(ctx, err))
	}
	return nil
}
