package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/store"
)

// retry repeats a change of members until the cluster is ready for it. etcd
// wants five quiet seconds between two.
func retry(t *testing.T, change func(context.Context) error) {
	t.Helper()
	ctx := bounded(t)
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := change(ctx)
		if err == nil {
			return
		}
		if !errors.Is(err, store.ErrBehind) && !errors.Is(err, store.ErrUnhealthy) && !errors.Is(err, store.ErrUnavailable) {
			t.Fatal(err)
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-ticker.C:
		}
	}
}

// join makes o a voter of c's cluster.
func join(t *testing.T, c *Client, o ServerOptions) *Server {
	t.Helper()
	var added store.Member
	retry(t, func(ctx context.Context) (err error) {
		added, err = c.AddLearner(ctx, o.AdvertisePeer)
		return err
	})
	members, err := c.Members(bounded(t))
	must(t, err)
	s := NewServer(o)
	must(t, s.StartJoin(t.Context(), members))
	stopAtEnd(t, s)
	must(t, s.Ready(bounded(t)))
	if s.MemberID() != added.ID {
		t.Errorf("member id %s, want %s", s.MemberID(), added.ID)
	}
	retry(t, func(ctx context.Context) error { return c.Promote(ctx, added.ID) })
	return s
}

func leader(t *testing.T, servers ...*Server) *Server {
	t.Helper()
	ctx := bounded(t)
	for ctx.Err() == nil {
		for _, s := range servers {
			if s.Leads() {
				return s
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("nobody leads")
	return nil
}

// kill ends a server without a word to the others.
func kill(s *Server) {
	etcd := s.etcd()
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	for _, l := range etcd.Clients {
		l.Close()
	}
	for _, l := range etcd.Peers {
		l.Close()
	}
	etcd.Server.HardStop()
}

func TestThreeVoters(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	all := []ServerOptions{options(t, ca, "a"), options(t, ca, "b"), options(t, ca, "c")}
	a := startNew(t, all[0])
	c := connect(t, dialOptions(ca, t, all[0].AdvertiseClient))
	put(t, c, "k", "1")
	b := join(t, c, all[1])
	third := join(t, c, all[2])
	c.SetEndpoints([]string{all[0].AdvertiseClient, all[1].AdvertiseClient, all[2].AdvertiseClient})

	members, err := c.Members(bounded(t))
	must(t, err)
	names := map[string]bool{}
	for _, m := range members {
		names[m.Name] = !m.Learner && m.Started()
	}
	if diff := cmp.Diff(map[string]bool{"a": true, "b": true, "c": true}, names); diff != "" {
		t.Errorf("voters (-want +got):\n%s", diff)
	}

	// A watch that began before the kill goes on after it.
	told := make(chan string, 100)
	watching, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	_, from, err := c.List(bounded(t), "")
	must(t, err)
	go func() {
		ended <- c.Watch(watching, "n/", from+1, func(events []store.Event) error {
			for _, e := range events {
				told <- e.Key
			}
			return nil
		})
	}()

	first := leader(t, a, b, third)
	began := time.Now()
	kill(first)
	put(t, c, "n/0", "x")
	t.Logf("first write %s after the leader was killed", time.Since(began).Round(time.Millisecond))
	for i := 1; i < 10; i++ {
		put(t, c, fmt.Sprintf("n/%d", i), "x")
	}
	for i := range 10 {
		select {
		case key := <-told:
			if want := fmt.Sprintf("n/%d", i); key != want {
				t.Fatalf("watched %s, want %s", key, want)
			}
		case err := <-ended:
			t.Fatal(err)
		}
	}
	stop()
	<-ended

	must(t, first.Stop(bounded(t)))
	must(t, first.Restart(t.Context()))
	must(t, first.Ready(bounded(t)))

	// A planned stop moves the leadership first.
	second := leader(t, a, b, third)
	must(t, second.StepDown(bounded(t)))
	if second.Leads() {
		t.Error("still leads after StepDown")
	}
	if health, err := second.Health(); err != nil || !health.Running || !health.HasLeader || health.Fsync == 0 {
		t.Errorf("health %+v, %v", health, err)
	}
	third2 := leader(t, a, b, third)
	retry(t, func(ctx context.Context) error { return c.MoveLeader(ctx, third2.MemberID()) })

	// A removed voter learns of it, also when it comes back later.
	gone := second
	retry(t, func(ctx context.Context) error {
		err := c.Remove(ctx, gone.MemberID())
		if errors.Is(err, store.ErrUnknownMember) {
			return nil // an attempt without an answer did it
		}
		return err
	})
	if err := gone.Wait(bounded(t)); !errors.Is(err, ErrRemoved) {
		t.Errorf("removed server ended with %v, want ErrRemoved", err)
	}
	must(t, gone.Stop(bounded(t)))
	must(t, gone.Restart(t.Context()))
	if err := gone.Ready(bounded(t)); !errors.Is(err, ErrRemoved) {
		t.Errorf("removed server was ready with %v, want ErrRemoved", err)
	}
	must(t, gone.Stop(bounded(t)))
	must(t, gone.Discard(time.Now()))
	want(t, c, "k", "1")
}
