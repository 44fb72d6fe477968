package rival

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"
	"time"
)

const (
	keepalivedConf = "/etc/keepalived/keepalived.conf"
	keepalivedLog  = "/var/log/keepalived.log"
)

// Keepalived says how keepalived is set up.
type Keepalived struct {
	// Advert is how often the master tells that it lives, at least 10 ms. Below
	// 1 s it takes VRRP version 3, in steps of 10 ms. Source: RFC 5798.
	Advert time.Duration
}

// text returns keepalived.conf for the host of that rank, from 0. The address
// goes back to the first host whenever that lives, which is the default.
func (k Keepalived) text(host string, rank int, address netip.Prefix) string {
	version := ""
	if k.Advert < time.Second {
		version = "    vrrp_version 3\n"
	}
	return fmt.Sprintf(`global_defs {
    router_id %s
%s}
vrrp_instance lab {
    state BACKUP
    interface eth0
    virtual_router_id 51
    priority %d
    advert_int %g
    virtual_ipaddress {
        %s
    }
}
`, host, version, 150-50*rank, k.Advert.Seconds(), address)
}

// maxRanks is how many hosts the priorities are for.
const maxRanks = 3

// KeepalivedCluster is a set of hosts with keepalived. It ends with its lab.
//
// The web program runs on all hosts all the time, so nothing has to start when
// the address moves; and nobody starts it again if it dies.
type KeepalivedCluster struct {
	site Site
}

// StartKeepalived starts keepalived and the web program on all hosts, at most 3,
// and returns when the address is where it belongs: on the first. It returns
// [ErrMissing] if the program is not to be had, or ctx's error.
func StartKeepalived(ctx context.Context, s Site, k Keepalived) (*KeepalivedCluster, error) {
	if err := need("keepalived", "keepalived", "keepalived"); err != nil {
		return nil, err
	}
	if len(s.Hosts) > maxRanks {
		return nil, fmt.Errorf("keepalived is set up for %d hosts here, not %d", maxRanks, len(s.Hosts))
	}
	c := &KeepalivedCluster{site: s}
	for i, h := range s.Hosts {
		text := k.text(h, i, s.Address)
		if err := s.Lab.Host(h).WriteFile(ctx, keepalivedConf, []byte(text), 0o644); err != nil {
			return nil, err
		}
		if err := s.Lab.Host(h).WriteFile(ctx, home+"/boot", []byte(keepalivedBoot), 0o755); err != nil {
			return nil, err
		}
	}
	for _, h := range s.Hosts {
		if err := c.start(ctx, h); err != nil {
			return nil, err
		}
	}
	return c, c.Settled(ctx)
}

func (c *KeepalivedCluster) start(ctx context.Context, host string) error {
	_, err := c.site.run(ctx, host, "/bin/sh", home+"/boot")
	return err
}

// Boot switches a host on and starts keepalived and the web program on it.
func (c *KeepalivedCluster) Boot(ctx context.Context, host string) error {
	if err := c.site.Lab.Host(host).Boot(ctx); err != nil {
		return err
	}
	return c.start(ctx, host)
}

// settledLooks is how many looks in a row have to find it so.
const settledLooks = 3

// Settled waits until the first host, and no other, has the address.
func (c *KeepalivedCluster) Settled(ctx context.Context) error {
	found := 0
	return await(ctx, func(ctx context.Context) error {
		for i, h := range c.site.Hosts {
			text, err := c.site.run(ctx, h, "ip", "-o", "-4", "address", "show", "dev", "eth0")
			if err != nil {
				return err
			}
			if has := strings.Contains(string(text), " "+c.site.Address.String()+" "); has != (i == 0) {
				found = 0
				return fmt.Errorf("whether %s has the address: %t", h, has)
			}
		}
		if found++; found < settledLooks {
			return errors.New("the address only just came to where it belongs")
		}
		return nil
	})
}

// Alarms returns how often a host took the address, since the first was switched
// on.
func (c *KeepalivedCluster) Alarms(ctx context.Context) (int, error) {
	taken := 0
	for _, h := range c.site.Hosts {
		text, err := c.site.Lab.Host(h).ReadFile(ctx, keepalivedLog)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
		taken += strings.Count(string(text), "Entering MASTER STATE")
	}
	return taken, nil
}
