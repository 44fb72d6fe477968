package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/app/hostaddress"
	"github.com/keelson/keelson/internal/front/cli"
)

// canListen makes sure, before anything is made, that a new node will be able to
// open its ports. A node without a store of its own may get one later.
func canListen(ctx context.Context, n cli.NewNode, external bool) error {
	p := withDefaults(n.Ports)
	for _, ip := range hostaddress.Moving(n.Folders.Run, defaultRun) {
		if ip.String() == n.Address || slices.Contains(n.Links, ip.String()) {
			return refused("service-address", "give an address that stays on this server with --address (and --link)",
				"%s belongs to a service that runs here, and moves with it; nothing was changed", ip)
		}
	}
	type port struct {
		network, flag, host string
		number              int
	}
	ports := []port{{"tcp", "--api-port", n.Address, p.API}, {"udp", "--link-port", n.Address, p.Link}}
	for _, l := range n.Links {
		ports = append(ports, port{"udp", "--link-port", l, p.Link})
	}
	if !external {
		ports = append(ports, port{"tcp", "--peer-port", n.Address, p.Peer}, port{"tcp", "--client-port", n.Address, p.Client})
	}
	for _, want := range ports {
		err := try(ctx, want.network, hostPort(want.host, want.number))
		switch {
		case errors.Is(err, unix.EADDRINUSE):
			return refused("port-in-use", "stop that program (`ss -lntup` names it), or give this node another port with "+want.flag,
				"%s port %d on %s is used by another program; nothing was changed", want.network, want.number, want.host)
		case errors.Is(err, unix.EADDRNOTAVAIL):
			return refused("no-such-address", "give an address of this server with --address (and --link); `ip address` shows them",
				"this server does not have the address %s; nothing was changed", want.host)
		case errors.Is(err, unix.EACCES):
			return refused("not-allowed", "run this as root, or give this node a port above 1023 with "+want.flag,
				"you may not open %s port %d", want.network, want.number)
		case err != nil:
			return fmt.Errorf("try to listen on %s port %d of %s: %w", want.network, want.number, want.host, err)
		}
	}
	return nil
}

// try listens for a moment.
func try(ctx context.Context, network, where string) error {
	lc := net.ListenConfig{}
	if network == "udp" {
		conn, err := lc.ListenPacket(ctx, network, where)
		if err != nil {
			return err
		}
		return conn.Close()
	}
	l, err := lc.Listen(ctx, network, where)
	if err != nil {
		return err
	}
	return l.Close()
}
