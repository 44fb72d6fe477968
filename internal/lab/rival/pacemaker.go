package rival

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/lab"
)

// Pacemaker says how Pacemaker and Corosync are set up. The zero value is what
// `pcs cluster setup` gives, without fencing.
type Pacemaker struct {
	Totem Totem
	// Monitor is how often an agent is asked whether its part of the service
	// lives; 0 means 10 s, the default of the agents.
	Monitor time.Duration
	// DCDeadtime is how long a host waits for the others when it starts; 0 means
	// 20 s, the default.
	DCDeadtime time.Duration
}

// PacemakerCluster is a cluster of Pacemaker and Corosync. It ends with its lab.
type PacemakerCluster struct {
	site Site
}

// group is the service: the address, then the program.
const group = "service"

// StartPacemaker starts a cluster on all hosts of the site and gives it the
// service. It returns when that runs and all hosts agree on it, [ErrMissing] if
// a program is not to be had, or ctx's error.
func StartPacemaker(ctx context.Context, s Site, p Pacemaker) (*PacemakerCluster, error) {
	if err := need("Pacemaker", "pacemaker corosync resource-agents", "corosync", "pacemakerd", "crm_mon", "cibadmin", "crmadmin", "crm_resource"); err != nil {
		return nil, err
	}
	c := &PacemakerCluster{site: s}
	var addresses []string
	for _, h := range s.Hosts {
		addresses = append(addresses, s.Lab.Host(h).Address(1))
	}
	key := make([]byte, 256)
	_, _ = rand.Read(key) // never fails
	for _, h := range s.Hosts {
		if err := c.write(ctx, h, []file{
			{"/etc/corosync/corosync.conf", 0o644, []byte(p.Totem.text(s.Hosts, addresses))},
			{"/etc/corosync/authkey", 0o400, key},
			{home + "/ocf/lab/web", 0o755, []byte(agent)},
			{home + "/boot", 0o755, []byte(pacemakerBoot)},
		}); err != nil {
			return nil, err
		}
	}
	for _, h := range s.Hosts {
		if err := c.start(ctx, h); err != nil {
			return nil, err
		}
	}
	if err := c.configure(ctx, p); err != nil {
		return nil, err
	}
	return c, c.Settled(ctx)
}

func (c *PacemakerCluster) write(ctx context.Context, host string, files []file) error {
	for _, f := range files {
		if err := c.site.Lab.Host(host).WriteFile(ctx, f.path, f.text, os.FileMode(f.mode)); err != nil {
			return err
		}
	}
	return nil
}

// start starts the daemons, as a host's system would when it boots.
func (c *PacemakerCluster) start(ctx context.Context, host string) error {
	_, err := c.site.run(ctx, host, "/bin/sh", home+"/boot")
	return err
}

// configure gives the cluster its service. It waits for an elected coordinator,
// which is what loads it.
func (c *PacemakerCluster) configure(ctx context.Context, p Pacemaker) error {
	first := c.site.Hosts[0]
	if err := await(ctx, func(ctx context.Context) error {
		v, err := c.view(ctx, first)
		if err == nil && !v.Coordinator.Present {
			err = errors.New("no coordinator is elected yet")
		}
		return err
	}); err != nil {
		return fmt.Errorf("start Pacemaker: %w", err)
	}
	text := p.configuration(c.site.Address)
	return await(ctx, func(ctx context.Context) error {
		_, err := c.site.command(ctx, first, lab.Command{
			Args: []string{"cibadmin", "--replace", "--scope", "configuration", "--xml-pipe"}, Stdin: strings.NewReader(text),
		})
		return err
	})
}

// Boot switches a host on and starts the daemons on it.
func (c *PacemakerCluster) Boot(ctx context.Context, host string) error {
	if err := c.site.Lab.Host(host).Boot(ctx); err != nil {
		return err
	}
	return c.start(ctx, host)
}

// Settled waits until every host sees all hosts and the service on one and the
// same, and the coordinator has nothing left to do. When ctx ends it says what
// is amiss.
func (c *PacemakerCluster) Settled(ctx context.Context) error {
	return await(ctx, func(ctx context.Context) error {
		var all []view
		for _, h := range c.site.Hosts {
			v, err := c.view(ctx, h)
			if err != nil {
				return err
			}
			all = append(all, v)
		}
		if err := agree(c.site.Hosts, all); err != nil {
			return err
		}
		coordinator := all[0].Coordinator.Name
		text, err := c.site.run(ctx, coordinator, "crmadmin", "--status", coordinator)
		if err == nil && !bytes.Contains(text, []byte("S_IDLE")) {
			err = fmt.Errorf("the coordinator is at work: %s", bytes.TrimSpace(text))
		}
		return err
	})
}

// Forgive makes the cluster forget that the service ever failed, as an operator
// does after a repair.
func (c *PacemakerCluster) Forgive(ctx context.Context) error {
	_, err := c.site.run(ctx, c.site.Hosts[0], "crm_resource", "--cleanup")
	return err
}

// Move moves the service to a host, on request.
func (c *PacemakerCluster) Move(ctx context.Context, to string) error {
	_, err := c.site.run(ctx, c.site.Hosts[0], "crm_resource", "--resource", group, "--move", "--node", to)
	return err
}

// Stay lifts the constraint that a move leaves behind.
func (c *PacemakerCluster) Stay(ctx context.Context) error {
	_, err := c.site.run(ctx, c.site.Hosts[0], "crm_resource", "--resource", group, "--clear")
	return err
}

// Alarms returns how many memberships there have been since the first host was
// switched on, however short they were.
func (c *PacemakerCluster) Alarms(ctx context.Context) (int, error) {
	var logs []string
	for _, h := range c.site.Hosts {
		text, err := c.site.Lab.Host(h).ReadFile(ctx, corosyncLog)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
		logs = append(logs, string(text))
	}
	return memberships(logs...), nil
}

// view asks a host how it sees the cluster.
func (c *PacemakerCluster) view(ctx context.Context, host string) (view, error) {
	text, err := c.site.run(ctx, host, "crm_mon", "-1", "--output-as=xml")
	if err != nil {
		return view{}, err
	}
	return parseView(text)
}

// agree says what keeps the cluster from being settled, as all hosts see it.
func agree(hosts []string, all []view) error {
	var holder string
	for i, v := range all {
		if on := v.online(); !slices.Equal(on, slices.Sorted(slices.Values(hosts))) {
			return fmt.Errorf("%s sees %v", hosts[i], on)
		}
		if !v.Coordinator.Present {
			return fmt.Errorf("%s sees no coordinator", hosts[i])
		}
		on := v.holders()
		if len(on) != 1 {
			return fmt.Errorf("%s sees the service whole on %v", hosts[i], on)
		}
		if holder == "" {
			holder = on[0]
		}
		if on[0] != holder {
			return fmt.Errorf("%s sees the service on %s, another on %s", hosts[i], on[0], holder)
		}
	}
	return nil
}
