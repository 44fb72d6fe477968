package lab

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/keelson/keelson/internal/lab/wire"
)

const (
	// MaxHosts is the largest lab; the last byte of the addresses ends it.
	MaxHosts = 200
	// MaxNetworks is how many networks a lab may have.
	MaxNetworks = 4
	// DefaultDiskBytes is the size of a host's disk unless the caller says
	// otherwise. Only what is written takes memory.
	DefaultDiskBytes = 512 << 20
)

// Options says what lab to make. The zero value with Hosts filled in is good.
type Options struct {
	// Hosts are the names, 1 to [MaxHosts], each 1 to 32 of a-z, 0-9 and '-'.
	// Host N, counted from 1, has the addresses 10.77.0.N/24 and fd77::N/64, the
	// latter in hexadecimal.
	Hosts []string
	// Networks is 1 to [MaxNetworks]; 0 means 1. On network K, counted from 1,
	// the addresses are 10.(76+K).0.N/24 and fd(76+K)::N/64.
	Networks int
	// Shares are files and directories of the machine that every host sees,
	// read-only.
	Shares []Share
	// DiskBytes is the size of each host's disk, mounted at /var and /srv. 0
	// means [DefaultDiskBytes].
	DiskBytes int64
	// Log hears what the lab does. nil means nobody.
	Log *slog.Logger
}

// Share makes Source, a path on the machine, visible as Target, an absolute
// path below /run, /tmp, /var, /srv, /etc or /dev, or an existing one.
type Share struct {
	Source string
	Target string
}

// Network names one of the lab's networks: 1 to [MaxNetworks].
type Network int

func (n Network) bridge() string { return fmt.Sprintf("br%d", int(n)-1) }

// config checks the options and turns them into what the stage needs.
func (o Options) config(id string) (wire.Lab, error) {
	if o.Networks == 0 {
		o.Networks = 1
	}
	if o.DiskBytes == 0 {
		o.DiskBytes = DefaultDiskBytes
	}
	switch {
	case len(o.Hosts) == 0 || len(o.Hosts) > MaxHosts:
		return wire.Lab{}, fmt.Errorf("a lab has 1 to %d hosts, not %d", MaxHosts, len(o.Hosts))
	case o.Networks < 0 || o.Networks > MaxNetworks:
		return wire.Lab{}, fmt.Errorf("a lab has 1 to %d networks, not %d", MaxNetworks, o.Networks)
	case o.DiskBytes < 1<<20:
		return wire.Lab{}, errors.New("a host's disk has 1 MiB at least")
	}
	out := wire.Lab{ID: id, DiskBytes: o.DiskBytes}
	for n := range o.Networks {
		out.Bridges = append(out.Bridges, Network(n+1).bridge())
	}
	word := regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)
	for i, name := range o.Hosts {
		if !word.MatchString(name) {
			return wire.Lab{}, fmt.Errorf("%q is no name for a host: 1 to 32 of a-z, 0-9 and '-'", name)
		}
		if slices.Contains(o.Hosts[:i], name) {
			return wire.Lab{}, fmt.Errorf("two hosts are named %q", name)
		}
		out.Hosts = append(out.Hosts, wire.Host{Name: name, Links: links(i+1, o.Networks)})
	}
	for _, s := range o.Shares {
		source, err := filepath.Abs(s.Source)
		if err != nil {
			return wire.Lab{}, fmt.Errorf("share %s: %w", s.Source, err)
		}
		if !filepath.IsAbs(s.Target) {
			return wire.Lab{}, fmt.Errorf("share %s: the target %q is not absolute", s.Source, s.Target)
		}
		out.Shares = append(out.Shares, wire.Share{Source: source, Target: s.Target})
	}
	return out, nil
}

// links returns those of host number n.
func links(n, networks int) []wire.Link {
	var out []wire.Link
	for k := range networks {
		out = append(out, wire.Link{
			Bridge: Network(k + 1).bridge(), Port: fmt.Sprintf("p%d-%d", k, n), Interface: fmt.Sprintf("eth%d", k),
			MAC:       fmt.Sprintf("02:77:00:%02x:00:%02x", k, n),
			Addresses: []string{fmt.Sprintf("10.%d.0.%d/24", 77+k, n), fmt.Sprintf("fd%d::%x/64", 77+k, n)},
		})
	}
	return out
}

func (o Options) logger() *slog.Logger {
	if o.Log != nil {
		return o.Log
	}
	return slog.New(slog.DiscardHandler)
}
