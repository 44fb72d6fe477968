//go:build integration

package test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keelson/keelson/internal/lab"
	"github.com/keelson/keelson/internal/lab/cell"
	"github.com/keelson/keelson/internal/lab/probe"
)

// TestLossOfQuorum divides the network with a service that is not exclusive on
// the side of the few. What happens there, its spec says.
func TestLossOfQuorum(t *testing.T) {
	l := raise(t, 3, 1, secondClient)
	b := benchOf(t, l, form(t, l, 3, cell.Options{}), 3)
	t.Run("stop", func(t *testing.T) {
		s := b.sharing(t, "stop")
		few := s.holder()
		other := s.divide(few)
		s.movedFrom(boot(), few)
		s.gone(few)
		s.onOneSide(few, other, false)
		s.together(few)
	})
	t.Run("keep", func(t *testing.T) {
		s := b.sharing(t, "keep")
		was := s.answered(boot())
		started := s.webOn(was.Host).pid
		other := s.divide(was.Host)
		fault := boot()
		s.movedFrom(fault, was.Host)
		s.eventually("the few to say that they keep it", func() bool { return s.says(was.Host, "keeps it running without quorum") })
		s.onOneSide(was.Host, other, true)
		if now := s.webOn(was.Host).pid; now != started {
			t.Errorf("it was restarted: process %d, before it was %d", now, started)
		}
		s.together(was.Host)
	})
	t.Run("keep, and nobody takes over", func(t *testing.T) {
		s := b.sharing(t, "keep")
		was := s.answered(boot())
		s.ready(s.cell.Apply(t.Context(), sharedSpec("keep")+"place: {on: ["+was.Host+"]}\n"))
		s.eventually("it to have no successor", func() bool {
			v := s.status().Service(s.service)
			return len(v.Successors) == 0 && v.State == "running"
		})
		was = s.answered(boot())
		started := s.webOn(was.Host).pid
		other := s.divide(was.Host)
		s.eventually("the few to say that they keep it", func() bool { return s.says(was.Host, "keeps it running without quorum") })
		s.onOneSide(was.Host, other, true)
		healed := boot()
		s.ready(s.lab.HealAll(t.Context()))
		s.await("it to run under a lease again", func(st cell.Status) bool {
			v := st.Service(s.service)
			return st.Whole(s.nodes) && v.Node == was.Host && v.Epoch > was.Epoch
		})
		if now := s.webOn(was.Host).pid; now != started {
			t.Errorf("it was restarted: process %d, before it was %d", now, started)
		}
		asked, err := other.Stop(t.Context())
		s.ready(err)
		if bad := failedSince(asked, healed); bad > 0 {
			t.Errorf("%d requests on its side failed after the network was mended", bad)
		}
		s.stop()
	})
}

// sharedSpec is the web service, not exclusive.
func sharedSpec(loss string) string {
	spec := strings.TrimSpace(cell.WebService(web, webIP+"/24", webIP+":80"))
	return spec + "\nexclusive: false\nfailover: {on_quorum_loss: " + loss + "}\n"
}

// sharing is the bench with the service made so.
func (b *bench) sharing(t *testing.T, loss string) *bench {
	t.Helper()
	s := *b
	s.t = t
	s.ready(s.cell.Apply(t.Context(), sharedSpec(loss)))
	s.whole()
	s.probe()
	time.Sleep(time.Second) // until the guards have heard of it
	s.answered(boot())
	return &s
}

// divide puts few and a client of its own on a side of the network, and returns
// what that client asks.
func (b *bench) divide(few string) *lab.Stream[probe.HTTPResult] {
	b.t.Helper()
	asked, err := b.lab.Host(secondClient).ProbeHTTP(b.t.Context(), probe.HTTP{URL: b.url})
	b.ready(err)
	// It knows where to ask: a question for the MAC that is lost in the division is
	// repeated only after a second.
	b.eventually("the client of the few to be answered", func() bool {
		return slices.ContainsFunc(asked.Since(0), func(r probe.HTTPResult) bool { return r.OK })
	})
	rest := append(b.others(few), client)
	b.ready(b.lab.Partition(b.t.Context(), []string{few, secondClient}, rest))
	return asked
}

// says reports whether a node's status says something.
func (b *bench) says(node, what string) bool {
	b.t.Helper()
	r, err := b.cell.Keelson(b.t.Context(), node, "status")
	b.ready(err)
	return strings.Contains(string(r.Stdout), what)
}

// onOneSide looks for a while whether few answers those on its side, always or
// never.
func (b *bench) onOneSide(few string, asked *lab.Stream[probe.HTTPResult], served bool) {
	b.t.Helper()
	from := boot()
	time.Sleep(5 * time.Second)
	good := 0
	all := asked.Since(0)
	for _, r := range all {
		if r.Sent < from {
			continue
		}
		if r.OK && r.Host == few {
			good++
		} else if served {
			b.t.Errorf("%s after the division a request to %s failed", r.Sent-from, few)
			return
		}
	}
	if (good > 0) != served {
		b.t.Errorf("%s answered %d requests", few, good)
	}
}

// together mends the network and waits until one host alone runs the service,
// which is not few.
func (b *bench) together(few string) {
	b.t.Helper()
	healed := boot()
	b.ready(b.lab.HealAll(b.t.Context()))
	b.eventually("one alone to run it", func() bool {
		running := 0
		for _, n := range b.nodes {
			running += len(b.served(n))
		}
		return running == 1 && len(b.served(few)) == 0
	})
	took := boot() - healed
	b.t.Logf("%s after the network was mended, one alone ran it", took.Round(time.Millisecond))
	if took > 10*time.Second {
		b.t.Errorf("it took %s", took)
	}
	b.whole()
	b.answeredBy(boot(), "the other host", func(r probe.HTTPResult) bool { return r.Host != few })
	b.stop()
}

// failedSince counts the requests that failed.
func failedSince(all []probe.HTTPResult, since time.Duration) int {
	return len(slices.DeleteFunc(slices.Clone(all), func(r probe.HTTPResult) bool { return r.OK || r.Sent < since }))
}
