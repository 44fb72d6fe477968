package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/lab"
	"github.com/keelson/keelson/internal/lab/probe"
	"github.com/keelson/keelson/internal/model/event"
)

// Limits of watching.
const (
	firstAnswer   = 5 * time.Second        // for the first answer before the demo's own fault
	anyAnswer     = 500 * time.Millisecond // for one before another, when the service may be down
	steadyTime    = 400 * time.Millisecond // of asking before a fault
	steadyTail    = 600 * time.Millisecond // of asking after the takeover, for the picture
	thawTail      = 2 * time.Second        // of asking after a thaw: two holders would be seen
	quietTime     = 2 * time.Second        // without a failed question: there was no outage
	takeoverLimit = 20 * time.Second       // for the service to answer again after the demo's own fault
	answerLimit   = 10 * time.Second       // and after others, of which it may well not survive
	lookEvery     = 20 * time.Millisecond
	eventsLimit   = 8 * time.Second // for the cell to have recorded how it was taken over
	eventsShort   = 2 * time.Second // for that it was not
	eventsEvery   = 100 * time.Millisecond
	askLimit      = 3 * time.Second // for one question to keelson on a host
	stopLimit     = 3 * time.Second // for the clients to end
	holdGap       = 60 * time.Millisecond
	eventsAsked   = "200"
)

// clients are the two that ask.
type clients struct {
	http *lab.Stream[probe.HTTPResult]
	arp  *lab.Stream[probe.ARPAnswer]
}

func (s *show) startClients(ctx context.Context) (clients, error) {
	var c clients
	var err error
	if c.http, err = s.lab.Host(client).ProbeHTTP(ctx, probe.HTTP{URL: url, Every: interval}); err != nil {
		return c, fmt.Errorf("start the client: %w", err)
	}
	if c.arp, err = s.lab.Host(client).ProbeARP(ctx, probe.ARP{Address: address, Every: interval}); err != nil {
		_, stopped := c.http.Stop(ctx)
		return c, errors.Join(fmt.Errorf("start the client that asks by ARP: %w", err), stopped)
	}
	return c, nil
}

// breakIt carries an order out while the clients ask, and returns what they saw.
func (s *show) breakIt(ctx context.Context, o order) (incident, error) {
	i := incident{order: o}
	c, err := s.startClients(ctx)
	if err != nil {
		return i, err
	}
	err = s.attempt(ctx, c, &i)
	return i, errors.Join(err, s.judge(ctx, c, &i))
}

func (s *show) attempt(ctx context.Context, c clients, i *incident) error {
	err := s.voice.step("a client that asks every 5 ms", func(func(string)) (string, error) {
		var err error
		limit, _ := i.patience()
		i.before, err = s.steady(ctx, c, limit)
		if err == nil && i.rehearsed && i.before.Host == "" {
			err = fmt.Errorf("waited %s for an answer at %s in vain", firstAnswer, url)
		}
		return answering(i.before), err
	})
	if err != nil {
		return err
	}
	if i.verb == verbService || i.rehearsed {
		i.host = i.before.Host
	}
	if i.verb == verbService && i.host == "" {
		return errNoProgram
	}
	err = s.voice.step(i.sentence(), func(func(string)) (string, error) {
		at, err := s.carryOut(ctx, i.order)
		if err == nil {
			i.fault = at
		}
		return "", err
	})
	if err != nil {
		return err
	}
	return s.watch(ctx, c, i)
}

// steady asks for a while and returns who answered last.
func (s *show) steady(ctx context.Context, c clients, limit time.Duration) (probe.Holder, error) {
	waiting, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	good := func(r probe.HTTPResult) bool { return r.OK }
	if _, err := c.http.Await(waiting, good); err != nil && waiting.Err() == nil {
		return probe.Holder{}, err
	}
	if err := s.Clock.Sleep(ctx, steadyTime); err != nil {
		return probe.Holder{}, err
	}
	var last probe.HTTPResult
	for _, r := range c.http.Since(0) {
		if r.OK && r.Sent > last.Sent {
			last = r
		}
	}
	return probe.Holder{Host: last.Host, Epoch: last.Epoch}, nil
}

// carryOut does what the order says, and returns the moment at which it began
// to.
func (s *show) carryOut(ctx context.Context, o order) (time.Duration, error) {
	h := s.lab.Host(o.host)
	at := s.Clock.Boot()
	switch o.verb {
	case verbKill:
		return at, h.Kill(ctx)
	case verbCut:
		return at, h.Cut(ctx)
	case verbHeal:
		return at, h.Heal(ctx)
	case verbFreeze:
		return at, h.Freeze(ctx)
	case verbThaw:
		return at, h.Thaw(ctx)
	case verbBoot:
		return at, s.cell.Boot(ctx, o.host)
	case verbService:
		return s.killProgram(ctx, h, []string{lab.SelfPath, listen})
	case verbMove:
		args := []string{"move", service, "--no-wait"}
		if o.host != "" {
			args = append(args, o.host)
		}
		_, err := s.ask(ctx, args...)
		return at, err
	}
	return at, fmt.Errorf("there is no verb %q", o.verb)
}

// watch waits until the service answers again, and a little longer.
func (s *show) watch(ctx context.Context, c clients, i *incident) error {
	err := s.voice.step(i.awaited(), func(func(string)) (string, error) {
		if err := s.awaitEnd(ctx, c, i); err != nil {
			return "", err
		}
		return answering(i.after), s.Clock.Sleep(ctx, steadyTail)
	})
	if err != nil || !i.rehearsed || i.verb != verbFreeze || i.after.Host == "" {
		return err
	}
	return s.voice.step("thawing "+i.host+" and watching whether it lets go", func(func(string)) (string, error) {
		if _, err := s.carryOut(ctx, order{verb: verbThaw, host: i.host}); err != nil {
			return "", err
		}
		return "", s.Clock.Sleep(ctx, thawTail)
	})
}

// awaitEnd waits until what the fault did to the service is over, or for
// as long as it may take.
func (s *show) awaitEnd(ctx context.Context, c clients, i *incident) error {
	_, limit := i.patience()
	for {
		now := s.Clock.Boot()
		if last, over := i.over(c.http.Since(0), now); over {
			i.after = probe.Holder{Host: last.Host, Epoch: last.Epoch}
			return nil
		}
		if now-i.fault > limit {
			return nil
		}
		if err := s.Clock.Sleep(ctx, lookEvery); err != nil {
			return err
		}
	}
}

// judge ends the clients and works out what they saw.
func (s *show) judge(ctx context.Context, c clients, i *incident) error {
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	results, err := c.http.Stop(stopping)
	answers, err2 := c.arp.Stop(stopping)
	if err := errors.Join(err, err2); err != nil || i.fault == 0 || ctx.Err() != nil {
		return err
	}
	i.results = results
	i.outage, _ = probe.Worst(results, i.fault)
	i.two = twoHolders(results, answers, s.nameOf)
	if i.outage.Failed == 0 {
		return nil
	}
	return s.voice.step("asking the cell what happened", func(func(string)) (string, error) {
		happened, err := s.happened(ctx, *i)
		i.stages = stagesOf(*i, happened)
		return "", err
	})
}

// nameOf names the owner of a hardware address.
func (s *show) nameOf(mac string) string {
	if h := s.lab.HostByMAC(mac); h != nil {
		return h.Name()
	}
	return mac
}

// twoHolders is how long two hosts held the address at once: by what they
// answered, by ARP and by HTTP, taken together.
func twoHolders(results []probe.HTTPResult, answers []probe.ARPAnswer, nameOf func(mac string) string) time.Duration {
	seen := probe.SeenByARP(answers)
	for n := range seen {
		seen[n].Who = nameOf(seen[n].Who)
	}
	return probe.TwoHolders(slices.Concat(seen, probe.SeenByHTTP(results)), interval, holdGap)
}

// happened asks the cell for what happened since the fault, until it has
// recorded all that is to be expected.
func (s *show) happened(ctx context.Context, i incident) ([]event.Event, error) {
	limit := eventsLimit
	if i.after.Host == "" {
		limit = eventsShort
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var events []event.Event
	for {
		text, err := s.ask(ctx, "events", "--limit", eventsAsked, "-o", "json")
		if err == nil {
			if events, err = parseEvents(text); err != nil {
				return nil, err
			}
			if complete(i, events) {
				return events, nil
			}
		}
		if s.Clock.Sleep(ctx, eventsEvery) != nil {
			return events, nil // what is missing is shown as not seen
		}
	}
}

// ask runs keelson on the first host that is well and answers.
func (s *show) ask(ctx context.Context, args ...string) ([]byte, error) {
	states, err := s.lab.State(ctx)
	if err != nil {
		return nil, err
	}
	var failed []error
	for _, node := range s.nodes {
		if !well(states, node) {
			continue
		}
		out, err := s.askOn(ctx, node, args...)
		if err == nil {
			return out, nil
		}
		failed = append(failed, err)
		if errors.Is(err, errSaidNo) {
			break // the next would say the same
		}
	}
	if len(failed) == 0 {
		return nil, errors.New("no host is on and connected: boot, heal or thaw one first")
	}
	return nil, failed[0]
}

// askOn runs keelson on one host.
func (s *show) askOn(ctx context.Context, node string, args ...string) ([]byte, error) {
	limited, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	r, err := s.cell.Keelson(limited, node, args...)
	switch {
	case err != nil && ctx.Err() == nil && limited.Err() != nil:
		return nil, fmt.Errorf("%s did not answer `keelson %s` within %s: the cell may lack a majority, `status` says", node, args[0], askLimit)
	case err != nil:
		return nil, fmt.Errorf("keelson %s on %s: %w", args[0], node, err)
	case r.Exit.Code == 1:
		return nil, fmt.Errorf("%w: %s", errSaidNo, words(r.Stderr))
	case r.Exit.Code != 0:
		return nil, fmt.Errorf("keelson %s on %s: %s", args[0], node, words(r.Stderr))
	}
	return r.Stdout, nil
}

// words is what keelson said on standard error, in one line.
func words(stderr []byte) string {
	text := strings.TrimPrefix(strings.TrimSpace(string(stderr)), "keelson: ")
	return strings.ReplaceAll(text, "\n", "; ")
}

// well reports whether a host is on, runs and is connected.
func well(states []lab.HostState, node string) bool {
	return slices.ContainsFunc(states, func(h lab.HostState) bool {
		return h.Name == node && h.On && !h.Frozen && !h.Cut && !h.Isolated
	})
}

// errSaidNo means that the cell refused; the error has its words.
var errSaidNo = errors.New("the cell said no")

// answering says who answers.
func answering(h probe.Holder) string {
	if h.Host == "" {
		return "nobody answers"
	}
	return h.Host + " answers"
}
