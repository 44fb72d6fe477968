// Package rival runs the stacks that Keelson is measured against on hosts of a
// lab: Pacemaker with Corosync, and keepalived, as Debian packages them.
//
// Its one rule: a rival is set up as well as its own manuals say, and what it
// is given to do is what Keelson is given. It gets the same address and the same
// web program, an agent that costs it less than those it is shipped with, no
// syslog, and no service that nobody asked about. It keeps all its files in the
// host's own mounts and ends with its host. The package measures nothing.
package rival

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/lab"
)

// ErrMissing means that the machine lacks a program of the rival. Its text says
// which, and what to install.
var ErrMissing = errors.New("not installed on this machine")

const (
	// pollEvery is how often a cluster is looked at while something is awaited.
	pollEvery = 200 * time.Millisecond
	// commandLimit bounds one command in a host.
	commandLimit = 20 * time.Second
	// home is where the package keeps its own files in a host; they outlive a
	// reboot.
	home = "/var/lib/lab"
	// port is that of the web program.
	port = "80"
)

// Site is where a cluster stands, and what it is to keep alive: an address and
// the lab's web program on port 80 of it.
type Site struct {
	Lab     *lab.Lab
	Hosts   []string
	Address netip.Prefix
}

// file is one to be put on a host.
type file struct {
	path string
	mode uint32
	text []byte
}

// command runs a program on a host to its end, within a limit. A status other
// than 0 is an error with what it said.
func (s Site) command(ctx context.Context, host string, c lab.Command) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	r, err := s.Lab.Host(host).Exec(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("%s on %s: %w", c.Args[0], host, err)
	}
	if r.Exit.Code != 0 {
		return r.Stdout, fmt.Errorf("%s on %s: status %d: %s", c.Args[0], host, r.Exit.Code, strings.TrimSpace(string(r.Stderr)))
	}
	return r.Stdout, nil
}

// run runs a program on a host to its end.
func (s Site) run(ctx context.Context, host string, args ...string) ([]byte, error) {
	return s.command(ctx, host, lab.Command{Args: args})
}

// await looks again and again until so returns nil. When ctx ends it returns
// what so said last.
func await(ctx context.Context, so func(context.Context) error) error {
	for {
		err := so(ctx)
		if err == nil {
			return nil
		}
		if (clock.System{}).Sleep(ctx, pollEvery) != nil {
			return err
		}
	}
}

// need returns [ErrMissing] if the machine lacks one of the programs.
func need(name, packages string, programs ...string) error {
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			return fmt.Errorf("%s is %w (there is no %s): apt-get install %s", name, ErrMissing, p, packages)
		}
	}
	return nil
}

// Versions returns those of the Debian packages that the rivals are made of, by
// name. Packages that are not installed are left out.
func Versions(ctx context.Context) map[string]string {
	out := map[string]string{}
	for _, name := range []string{"corosync", "keepalived", "libknet1", "pacemaker", "resource-agents"} {
		ctx, cancel := context.WithTimeout(ctx, commandLimit)
		text, err := exec.CommandContext(ctx, "dpkg-query", "-W", "-f", "${Version}", name).Output()
		cancel()
		if version := strings.TrimSpace(string(text)); err == nil && version != "" {
			out[name] = version
		}
	}
	return out
}
