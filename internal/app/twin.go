package app

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/engine/agent/guardclient"
	"github.com/keelson/keelson/internal/engine/pki"
	"github.com/keelson/keelson/internal/model/spec"
)

// A copy of a node's data directory on another server has that node's name, key,
// place in the cell and vote in the store. It is told by the node's address,
// which that server does not have. It must not start even while the node is off:
// its store would speak for the node, and the node could not go on from its own
// afterwards. Where the kernel lets programs use addresses that the host does not
// have (ip_nonlocal_bind), nothing but this would stop it.
//
// A copy that has the address too is not told from the node on new hardware; two
// of them at once are the network's own conflict.

// Timing of the question who answers at this node's address.
const (
	twinLimit = 2 * time.Second // for an answer
	twinEvery = 5 * time.Second // between two questions while the agent runs
)

// present reports whether an address is one of this host's.
func present(addr netip.Addr) (bool, error) {
	if addr.IsLoopback() {
		return true, nil
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return false, err
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.Equal(addr.AsSlice()) {
			return true, nil
		}
	}
	return leadsBack(addr), nil
}

// leadsBack reports whether a host has an address by its routes alone. It sends
// nothing.
func leadsBack(addr netip.Addr) bool {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, discard)))
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	from := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	return from.Addr().Unmap().WithZone("") == addr.WithZone("")
}

// discard is a port that is never sent to.
const discard = 9

// alone makes sure, before anything is started, that this server is the node
// that its data says it is. A guard that runs here for a copy is ended.
func (n *node) alone(ctx context.Context) error {
	if n.atHome() {
		return nil
	}
	if err := n.twin(ctx); err != nil {
		n.dismiss(ctx)
		return err
	}
	return refused("no-such-address",
		"bring the address back (`ip address` shows what there is) and start again; if this is a copy of another server's data, remove "+
			n.folders.data+" and join under a name of its own: `keelson join`",
		"this server does not have the address %s of node %s, and nobody answers there; nothing was started", n.local.Address, n.local.Node)
}

// watchTwin asks again while the agent runs: the node that this one is a copy of
// may have been off before. It gives all leases back when that one answers.
func (n *node) watchTwin(ctx context.Context) error {
	for {
		if err := n.clock.Sleep(ctx, twinEvery); err != nil {
			return err
		}
		if n.atHome() {
			continue
		}
		if err := n.twin(ctx); err != nil {
			n.log.Error("another server runs under this node's name, this one gives up what it holds", logkey.Err, err)
			if left := n.depart(ctx); !errors.Is(left, errLeft) {
				return left
			}
			return err
		}
	}
}

// atHome reports whether this host has the node's address. If that cannot be
// told, it is taken for granted: the ports will tell.
func (n *node) atHome() bool {
	addr, err := netip.ParseAddr(n.local.Address)
	if err != nil {
		return true
	}
	here, err := n.present(addr)
	if err != nil {
		n.log.Warn("addresses of this host not read, a copy of another node would not be noticed", logkey.Err, err)
		return true
	}
	return here
}

// twin returns an error for the operator if a node of this name answers at this
// node's address, which this host does not have.
func (n *node) twin(ctx context.Context) error {
	trust := pki.Trust{Cell: n.local.CellID, Files: pki.NewFiles(n.folders.pki()), Clock: n.clock}
	where := hostPort(n.local.Address, n.local.Ports.API)
	if err := answers(ctx, trust, n.local.Node, where); err != nil {
		n.log.Debug("nobody answers under this node's name elsewhere", logkey.Err, err)
		return nil
	}
	return refused("copied-node",
		"if so, stop keelson here, remove "+n.folders.data+", and let this server join under a name of its own: "+
			"`keelson token create` on "+string(n.local.Node)+", then `keelson join "+n.local.Address+" --token TOKEN` here",
		"%s looks like a copy of the data directory of %s, which runs at %s; this server does not have that address",
		n.folders.data, n.local.Node, n.local.Address)
}

// answers returns nil if the node of that name answers at where.
func answers(ctx context.Context, trust pki.Trust, name spec.NodeName, where string) error {
	ctx, cancel := context.WithTimeout(ctx, twinLimit)
	defer cancel()
	conf, err := trust.Client(name)
	if err != nil {
		return err
	}
	show := conf.GetClientCertificate
	conf.GetClientCertificate = func(ask *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if own, err := show(ask); err == nil {
			return own, nil
		}
		return &tls.Certificate{}, nil // an old copy has one that has expired; the port lets it in without
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", where)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	return tls.Client(conn, conf).HandshakeContext(ctx)
}

// dismiss ends a guard that runs here, if one does, and what it holds. It reports
// whether none runs then.
func (n *node) dismiss(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), quitTimeout)
	c := guardclient.New(guardclient.Options{Socket: n.folders.guard(), Clock: n.clock, Log: n.log})
	var task sync.WaitGroup
	task.Go(func() { _ = c.Run(ctx) }) // returns nil
	defer task.Wait()
	defer cancel()
	asked := false
	for n.clock.Sleep(ctx, 20*time.Millisecond) == nil {
		v := c.Latest()
		switch {
		case v.Gone, asked && !v.Up:
			return true
		case v.Up && !asked:
			c.Quit()
			asked = true
		}
	}
	n.log.Error("the guard that runs here could not be ended; switch this server off, or end it by hand")
	return false
}
