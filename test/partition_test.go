//go:build integration

package test

import (
	"slices"
	"time"

	"github.com/keelson/keelson/internal/lab"
	"github.com/keelson/keelson/internal/lab/probe"
)

// secondClient stands on the side of the few when the network is divided.
const secondClient = "client2"

// partition divides the network, with the few, who serve, and a client of
// their own on the one side and all else on the other, and mends it again.
func (b *bench) partition(few ...string) {
	b.t.Helper()
	theirs := append(slices.Clone(few), secondClient)
	rest := append(b.others(few...), client)
	there := b.lab.Host(secondClient)
	asked, err := there.ProbeHTTP(b.t.Context(), probe.HTTP{URL: b.url})
	b.ready(err)
	heard, err := there.ProbeARP(b.t.Context(), probe.ARP{Address: b.ip})
	b.ready(err)
	fault := boot()
	b.ready(b.lab.Partition(b.t.Context(), theirs, rest))
	now := b.movedFrom(fault, few...)
	for _, h := range few {
		b.gone(h)
	}
	b.lastAnswer(fault, asked, few)
	b.ready(b.lab.HealAll(b.t.Context()))
	b.whole()
	b.stays(now)

	mine, mineByARP := b.stop()
	other, err := asked.Stop(b.t.Context())
	b.ready(err)
	otherByARP, err := heard.Stop(b.t.Context())
	b.ready(err)
	oneHolder(b.t, append(slices.Clone(mine), other...), nil)
	oneHolder(b.t, nil, unnumbered(mineByARP, otherByARP))
}

// unnumbered puts the answers to two clients together. Each has counted its
// questions by itself.
func unnumbered(both ...[]probe.ARPAnswer) []probe.ARPAnswer {
	out := slices.Concat(both...)
	for i := range out {
		out[i].Request = 0
	}
	return out
}

// gone waits until the program of the service has ended on a host.
func (b *bench) gone(host string) {
	b.t.Helper()
	for until := boot() + overdue; len(b.served(host)) > 0; time.Sleep(50 * time.Millisecond) {
		if boot() > until {
			b.t.Fatalf("the program still runs on %s: %v", host, b.served(host))
		}
	}
}

// lastAnswer prints when those on the side of the few were answered last.
func (b *bench) lastAnswer(fault time.Duration, asked *lab.Stream[probe.HTTPResult], few []string) {
	last := time.Duration(0)
	for _, r := range asked.Since(0) {
		if r.OK && slices.Contains(few, r.Host) {
			last = max(last, r.Sent-fault)
		}
	}
	b.t.Logf("on the side of %v the last answer came %s after the fault", few, last.Round(time.Millisecond))
}

// power kills or boots hosts at the same time.
func (b *bench) power(verb string, hosts ...string) {
	b.t.Helper()
	done := make(chan error, len(hosts))
	for _, h := range hosts {
		go func() {
			if verb == "kill" {
				done <- b.lab.Host(h).Kill(b.t.Context())
				return
			}
			done <- b.cell.Boot(b.t.Context(), h)
		}()
	}
	for range hosts {
		b.ready(<-done)
	}
}
