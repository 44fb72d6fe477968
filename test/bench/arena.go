package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/lab"
	"github.com/keelson/keelson/internal/lab/cell"
	"github.com/keelson/keelson/internal/lab/probe"
)

const (
	client = "client"
	// eye is where the other clients are: the one that asks by ARP, since the
	// answers would keep changing the mind of the kernel of the first, and the
	// one that sends to a certain host whatever ARP says.
	eye = "eye"

	hostsEach = 3

	raiseLimit  = 4 * time.Minute
	settleLimit = 3 * time.Minute
	answerLimit = 90 * time.Second
	stopLimit   = 10 * time.Second
	// verbLimit bounds a fault or its repair.
	verbLimit = 30 * time.Second
)

// arena is a lab with a contestant in it.
type arena struct {
	contestant
	lab     *lab.Lab
	cluster cluster
	hosts   []string
	clock   clock.System

	asked *lab.Stream[probe.HTTPResult]
	heard *lab.Stream[probe.ARPAnswer]
	told  *lab.Stream[probe.HTTPResult] // by the eye
}

// The service's address, the same in every lab.
func address() netip.Prefix { return netip.MustParsePrefix("10.77.0.100/24") }

func url() string { return "http://" + address().Addr().String() + "/" }

// hostNames are h1 to hN.
func hostNames(n int) []string {
	var out []string
	for i := range n {
		out = append(out, "h"+strconv.Itoa(i+1))
	}
	return out
}

// raise makes a lab and a contestant's cluster of n hosts in it, with the
// service running.
func raise(ctx context.Context, o options, c contestant, n int) (*arena, error) {
	ctx, cancel := context.WithTimeout(ctx, raiseLimit)
	defer cancel()
	a := &arena{contestant: c, hosts: hostNames(n)}
	logs := logsOf(o.dir, c.name)
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return nil, err
	}
	var err error
	a.lab, err = lab.New(ctx, lab.Options{
		Hosts: slices.Concat(a.hosts, []string{client, eye}), Shares: []lab.Share{cell.Share(o.binary)},
	})
	if err != nil {
		return nil, err
	}
	a.cluster, err = c.start(ctx, place{lab: a.lab, hosts: a.hosts, address: address(), logs: logs, spec: o.spec})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", c.title, err), a.lab.Close())
	}
	return a, nil
}

// ask starts the clients.
func (a *arena) ask(ctx context.Context, every time.Duration) error {
	var err error
	if a.asked, err = a.lab.Host(client).ProbeHTTP(ctx, probe.HTTP{URL: url(), Every: every}); err != nil {
		return err
	}
	a.heard, err = a.lab.Host(eye).ProbeARP(ctx, probe.ARP{Address: address().Addr().String(), Every: every})
	return err
}

// askDirectly starts the client that sends to one host alone: for it the
// address belongs to that host, whatever anybody announces.
func (a *arena) askDirectly(ctx context.Context, host string) error {
	e := a.lab.Host(eye)
	out, code, err := e.Run(ctx, "ip", "neighbour", "replace", address().Addr().String(),
		"lladdr", a.lab.Host(host).MAC(1), "dev", "eth0", "nud", "permanent")
	if err != nil || code != 0 {
		return errors.Join(err, fmt.Errorf("bind the address to %s: status %d: %s", host, code, out))
	}
	a.told, err = e.ProbeHTTP(ctx, probe.HTTP{URL: url()})
	return err
}

// seen is all that the clients saw.
type seen struct {
	asked []probe.HTTPResult
	heard []probe.ARPAnswer
	told  []probe.HTTPResult
}

// stop ends the clients. Those that do not run are fine.
func (a *arena) stop(ctx context.Context) (seen, error) {
	ctx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	var s seen
	var failed [3]error
	if a.asked != nil {
		s.asked, failed[0] = a.asked.Stop(ctx)
	}
	if a.heard != nil {
		s.heard, failed[1] = a.heard.Stop(ctx)
	}
	if a.told != nil {
		s.told, failed[2] = a.told.Stop(ctx)
	}
	a.asked, a.heard, a.told = nil, nil, nil
	return s, errors.Join(failed[:]...)
}

// answer waits for a good answer to a question sent after since.
func (a *arena) answer(ctx context.Context, since time.Duration, so func(probe.HTTPResult) bool) (probe.HTTPResult, error) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	return a.asked.Await(ctx, func(r probe.HTTPResult) bool { return r.OK && r.Sent > since && so(r) })
}

func anyone(probe.HTTPResult) bool { return true }

// settle waits until the cluster is whole and the service is answered.
func (a *arena) settle(ctx context.Context) (probe.HTTPResult, error) {
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	if err := a.cluster.Settled(ctx); err != nil {
		return probe.HTTPResult{}, fmt.Errorf("wait for the cluster to be whole: %w", err)
	}
	return a.answer(ctx, a.clock.Boot(), anyone)
}

// program returns the process id of the web program on a host, or an error if
// there is not one and no more.
func (a *arena) program(ctx context.Context, host string) (string, error) {
	const list = `for p in /proc/[0-9]*; do [ "$(tr '\0' ' ' <$p/cmdline 2>/dev/null)" = "` +
		lab.SelfPath + ` $1 " ] && echo ${p#/proc/}; done; true`
	out, _, err := a.lab.Host(host).Run(ctx, "/bin/sh", "-c", list, "list", address().Addr().String()+":80")
	found := strings.Fields(string(out))
	if err != nil || len(found) != 1 {
		return "", errors.Join(err, fmt.Errorf("%s has %d web programs: %s", host, len(found), out))
	}
	return found[0], nil
}

// signal kills a process of a host.
func (a *arena) signal(ctx context.Context, host, pid string) error {
	out, code, err := a.lab.Host(host).Run(ctx, "/bin/kill", "-"+strconv.Itoa(int(syscall.SIGKILL)), pid)
	if err == nil && code != 0 {
		err = fmt.Errorf("kill process %s of %s: %s", pid, host, out)
	}
	return err
}

// chance waits for a time of chance, at least a second.
func (a *arena) chance(ctx context.Context, d time.Duration) error {
	return a.clock.Sleep(ctx, time.Second+rand.N(d))
}

// loadAverage is that of the machine over the last minute.
func loadAverage() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	one, _, _ := strings.Cut(string(text), " ")
	v, err := strconv.ParseFloat(one, 64)
	if err != nil {
		return 0
	}
	return v
}

// Close ends the lab and all in it.
func (a *arena) Close() error { return a.lab.Close() }
