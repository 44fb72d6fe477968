package lab_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/lab"
)

func TestNetworkFaults(t *testing.T) {
	l := raise(t, lab.Options{Hosts: []string{"h1", "h2", "h3"}})
	networkFaults(t, l)
}

// networkFaults is also run as an ordinary user.
func networkFaults(t *testing.T, l *lab.Lab) {
	t.Helper()
	h1, h2, h3 := l.Host("h1"), l.Host("h2"), l.Host("h3")
	for _, c := range []struct {
		name string
		do   func(t *testing.T)
	}{
		{"a cut host loses its carrier, also over a reboot, until it is healed", func(t *testing.T) {
			ctx := within(t)
			must(t, h3.Cut(ctx))
			must(t, h3.Cut(ctx))
			unreachable(t, h1, h3)
			if got := sh(t, h3, "cat /sys/class/net/eth0/carrier"); got != "0" {
				t.Errorf("the carrier is %q", got)
			}
			must(t, h3.Reboot(ctx))
			unreachable(t, h1, h3)
			must(t, h3.Heal(ctx))
			reaches(t, h1, h3)
		}},
		{"an isolated host keeps its carrier", func(t *testing.T) {
			ctx := within(t)
			must(t, h3.Isolate(ctx))
			unreachable(t, h1, h3)
			unreachable(t, h3, h2)
			reaches(t, h1, h2)
			if got := sh(t, h3, "cat /sys/class/net/eth0/carrier"); got != "1" {
				t.Errorf("the carrier is %q", got)
			}
			must(t, h3.Heal(ctx))
			reaches(t, h1, h3)
		}},
		{"a partition separates its sides and nothing else", func(t *testing.T) {
			ctx := within(t)
			must(t, l.Partition(ctx, []string{"h1", "h2"}, []string{"h3"}))
			unreachable(t, h1, h3)
			unreachable(t, h3, h2)
			reaches(t, h1, h2)
			must(t, l.HealAll(ctx))
			reaches(t, h1, h3)
		}},
		{"one-way drops unicast and broadcast in one direction", oneWay(l)},
		{"a heal of one host heals what it shares with others", func(t *testing.T) {
			ctx := within(t)
			must(t, l.OneWay(ctx, "h1", "h2"))
			must(t, h3.Isolate(ctx))
			must(t, h2.Heal(ctx))
			reaches(t, h1, h2)
			unreachable(t, h1, h3)
			must(t, l.HealAll(ctx))
			reaches(t, h1, h3)
		}},
		{"a loss of 30 percent between two loses half of their pings, and none of a third", func(t *testing.T) {
			ctx := within(t)
			reaches(t, h1, h2) // so that no question for the MAC is lost
			reaches(t, h3, h2)
			must(t, l.LossBetween(ctx, 30, []string{"h1", "h2"}))
			if got := pings(t, h1, h2.Address(1), 60); got < 12 || got > 48 {
				t.Errorf("%d of 60 pings were answered", got)
			}
			if got := pings(t, h3, h2.Address(1), 20); got != 20 {
				t.Errorf("%d of 20 pings from the side were answered", got)
			}
			must(t, l.HealAll(ctx))
			reaches(t, h1, h2)
		}},
		{"a loss of 30 percent each way loses half of the pings", func(t *testing.T) {
			ctx := within(t)
			reaches(t, h1, h2) // so that no question for the MAC is lost
			must(t, h2.Loss(ctx, 30))
			got := pings(t, h1, h2.Address(1), 60)
			if got < 12 || got > 48 { // 29 expected; five standard deviations are 19
				t.Errorf("%d of 60 pings were answered", got)
			}
			must(t, h2.Loss(ctx, 0))
			reaches(t, h1, h2) // the MAC may have been forgotten under the loss
			if got := pings(t, h1, h2.Address(1), 20); got < 19 {
				t.Errorf("%d of 20 pings were answered without loss", got)
			}
		}},
		{"a fault that makes no sense is refused", func(t *testing.T) {
			ctx := within(t)
			if err := l.OneWay(ctx, "h1", "nobody"); !errors.Is(err, lab.ErrNoHost) {
				t.Errorf("one-way to nobody: %v", err)
			}
			if h2.Loss(ctx, 101) == nil || h2.Cut(ctx, 2) == nil {
				t.Error("a loss of 101 percent or a cut of a network that is not there was accepted")
			}
		}},
	} {
		t.Run(c.name, c.do)
	}
}

func oneWay(l *lab.Lab) func(*testing.T) {
	return func(t *testing.T) {
		ctx := within(t)
		h1, h2 := l.Host("h1"), l.Host("h2")
		reaches(t, h1, h2) // both know each other's MAC from here on
		var at1, at2 line
		for h, at := range map[*lab.Host]*line{h1: &at1, h2: &at2} {
			_, err := h.Start(ctx, withOutput(toolCommand("hear", "7001"), at))
			must(t, err)
			await(t, "a listener", func() bool { return at.len() > 0 })
		}
		must(t, l.OneWay(ctx, "h1", "h2"))
		tool(t, h1, "say", h2.Address(1)+":7001", "unicast-1")
		tool(t, h1, "say", "10.77.0.255:7001", "broadcast-1")
		tool(t, h2, "say", "10.77.0.255:7001", "broadcast-2")
		tool(t, h2, "say", h1.Address(1)+":7001", "unicast-2")
		await(t, "what h2 sent", func() bool { return strings.Contains(at1.String(), "unicast-2") })
		must(t, l.HealAll(ctx))
		tool(t, h1, "say", h2.Address(1)+":7001", "healed")
		await(t, "what h1 sent after", func() bool { return strings.Contains(at2.String(), "healed") })
		for who, want := range map[*line]string{
			&at1: "listening broadcast-1 broadcast-2 unicast-2", &at2: "listening broadcast-2 healed",
		} {
			if diff := cmp.Diff(want, strings.Join(strings.Fields(who.String()), " ")); diff != "" {
				t.Errorf("what was heard (-want +got):\n%s", diff)
			}
		}
	}
}

func TestFaultsOfOneNetworkLeaveTheOtherAlone(t *testing.T) {
	l := raise(t, lab.Options{Hosts: []string{"h1", "h2"}, Networks: 2})
	ctx := within(t)
	h1, h2 := l.Host("h1"), l.Host("h2")
	second := func() int { return pings(t, h1, h2.Address(2), 3) }
	must(t, h2.Cut(ctx, 1))
	unreachable(t, h1, h2)
	if got := second(); got == 0 {
		t.Error("the second network is cut as well")
	}
	must(t, h2.Heal(ctx))
	must(t, l.OneWay(ctx, "h1", "h2", 2))
	reaches(t, h1, h2)
	if got := second(); got != 0 {
		t.Errorf("%d pings passed one-way", got)
	}
}

func TestTwoLabsSideBySideDoNotMeet(t *testing.T) {
	a := raise(t, lab.Options{Hosts: []string{"h1", "h2"}})
	b := raise(t, lab.Options{Hosts: []string{"h1", "h2"}})
	must(t, b.Host("h2").Kill(within(t)))
	reaches(t, a.Host("h1"), a.Host("h2"))
	unreachable(t, b.Host("h1"), b.Host("h2"))
}

func TestNineHostsAreUpInNoTime(t *testing.T) {
	var names []string
	for i := range 9 {
		names = append(names, fmt.Sprintf("h%d", i+1))
	}
	start := time.Now()
	l := raise(t, lab.Options{Hosts: names})
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("nine hosts took %s", took)
	}
	reaches(t, l.Host("h1"), l.Host("h9"))
	ctx := within(t)
	start = time.Now()
	must(t, l.Host("h5").Kill(ctx))
	killed := time.Since(start)
	start = time.Now()
	must(t, l.Host("h5").Boot(ctx))
	t.Logf("kill %s, boot %s", killed.Round(time.Millisecond), time.Since(start).Round(time.Millisecond))
}
