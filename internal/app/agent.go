package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/app/sentence"
	"github.com/keelson/keelson/internal/base/descriptors"
	"github.com/keelson/keelson/internal/base/footprint"
	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/base/thread"
	"github.com/keelson/keelson/internal/driver/interfaces"
	"github.com/keelson/keelson/internal/driver/part/address"
	partexec "github.com/keelson/keelson/internal/driver/part/exec"
	"github.com/keelson/keelson/internal/engine/agent"
	"github.com/keelson/keelson/internal/engine/agent/guardclient"
	"github.com/keelson/keelson/internal/engine/agent/health"
	"github.com/keelson/keelson/internal/engine/cell"
	"github.com/keelson/keelson/internal/engine/mirror"
	"github.com/keelson/keelson/internal/engine/pki"
	"github.com/keelson/keelson/internal/engine/recorder"
	"github.com/keelson/keelson/internal/front/cli"
	"github.com/keelson/keelson/internal/front/cli/agentfile"
	"github.com/keelson/keelson/internal/front/rpc"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/store/etcdstore"
)

// node is a running agent: what its organs share.
type node struct {
	*app

	store     *etcdstore.Client
	server    *etcdstore.Server // nil with an external store
	trust     pki.Trust
	revoked   *pki.Revocations
	registrar *pki.Registrar
	mirror    *mirror.Mirror
	recorder  *recorder.Recorder
	guard     *guardclient.Client
	clerk     *cell.Clerk
	observer  *cell.Observer
	runner    *agent.Agent
	programs  *partexec.Driver
	addresses *address.Driver
	departing atomic.Bool            // the node leaves: its guard is not started again
	healed    string                 // why this node has signed its own certificate; empty if it has not
	storeless atomic.Pointer[string] // why its store last stopped or did not start; nil: it never did
}

// app is what every part of a running agent needs.
type app struct {
	*App
	folders folders
	local   local
	config  cli.Config
	log     *slog.Logger
}

// Agent runs this node until ctx ends. What it runs goes on.
func (a *App) Agent(ctx context.Context, o cli.AgentOptions) error {
	f := folders{data: o.Folders.Data, run: o.Folders.Run}
	signal.Ignore(syscall.SIGPIPE)
	if err := descriptors.Keep(); err != nil {
		return err
	}
	l, err := readLocal(f)
	if err != nil {
		return err
	}
	for _, dir := range []string{f.run, f.logs(), f.parts()} {
		if err := makeFolder(dir); err != nil {
			return err
		}
	}
	unlock, err := lock(f.agentLock())
	if err != nil {
		return err
	}
	if unlock == nil {
		return refused("already-running", "stop the other agent first", "an agent runs on %s already", f.data)
	}
	defer unlock()
	config, err := configOf(l, o)
	if err != nil {
		return err
	}
	n := &node{app: &app{App: a, folders: f, local: l, config: config, log: a.logger(o.Logging)}}
	if err := n.alone(ctx); err != nil {
		return err
	}
	if err := thread.Prefer(); err != nil {
		n.log.Debug("nice value not lowered", logkey.Err, err)
	}
	n.log.Info("agent started", logkey.Node, l.Node, "cell", l.Cell, logkey.Version, a.version)
	defer n.closeStore(ctx)
	if err := n.openStore(ctx); err != nil {
		return sentence.Store(f.etcd(), err)
	}
	n.build(o.Logging)
	n.tellHealed()
	organs, err := n.organs(ctx)
	if err != nil {
		return err
	}
	err = runAll(ctx, organs)
	if errors.Is(err, errLeft) {
		n.closeStore(ctx) // before its files go
		return n.forget()
	}
	return sentence.Store(f.etcd(), err)
}

// configOf returns what the agent's file says: the one that the agent was
// started with, or else the one that init or join was given.
func configOf(l local, o cli.AgentOptions) (cli.Config, error) {
	if o.ConfigFile != "" || l.Config == "" {
		return o.Config, nil
	}
	return agentfile.Read(l.Config)
}

// startTimeout bounds the start of the store server; a voter whose peers are
// away starts all the same and waits for them.
const startTimeout = 30 * time.Second

func (n *node) openStore(ctx context.Context) error {
	if n.config.Store == nil {
		n.server = n.storeServer(n.folders, n.local, n.log)
		if n.server.HasData() {
			if err := n.restartServer(ctx); err != nil {
				return err
			}
		}
	}
	files := pki.NewFiles(n.folders.pki())
	if err := n.usable(n.local.Node, files); errors.Is(err, pki.ErrNoIdentity) || errors.Is(err, pki.ErrDamaged) {
		return err
	} else if err != nil {
		n.log.Error("certificate of no use, the node goes on with what it knew last", logkey.Err, err, "hint", sentence.Hint(err))
	}
	var err error
	n.store, err = n.storeClient(n.folders, n.local, n.config, n.log)
	return err
}

// restartServer starts the store on the data it has. A node that is one voter of
// several goes on without its own store if that is damaged: the cell can do
// without it, and its services too. So does the only voter while its disk is full,
// with what it knew last: what runs needs an agent, and room may come back.
func (n *node) restartServer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	err := n.heal(ctx)
	if err == nil {
		err = n.server.Restart(ctx)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, etcdstore.ErrRemoved):
		n.log.Warn("this node's vote was taken over by another, its old store was put aside")
		return n.server.Discard(n.clock.Now())
	case len(n.local.Endpoints) > 1 && !errors.Is(err, etcdstore.ErrInUse) && !outlived(err):
		err = n.storeGone(err)
		n.log.Error("store not started, the node goes on as a client of the other voters", logkey.Err, err, "hint", sentence.Hint(err))
		return nil
	case errors.Is(err, etcdstore.ErrDiskFull) && n.knowsLast():
		err = n.storeGone(err)
		n.log.Error("store not started, the node goes on with what it knew last", logkey.Err, err, "hint", sentence.Hint(err))
		return nil
	}
	return err
}

// knowsLast reports whether this node has kept what it knew last.
func (n *node) knowsLast() bool {
	_, err := os.Stat(n.folders.lastKnown())
	return err == nil
}

// stopTimeout bounds the end of the store server.
const stopTimeout = 10 * time.Second

// closeStore ends the client and the server; a second call does nothing.
func (n *node) closeStore(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if n.store != nil {
		if err := n.store.Close(); err != nil {
			n.log.Warn("store client not closed", logkey.Err, err)
		}
		n.store = nil
	}
	if n.server != nil {
		if err := n.server.Stop(ctx); err != nil {
			n.log.Warn("store server not stopped in order", logkey.Err, err)
		}
	}
}

// build makes the organs; nothing runs yet.
func (n *node) build(logging cli.Logging) {
	files := pki.NewFiles(n.folders.pki())
	n.revoked = &pki.Revocations{Store: n.store, Clock: n.clock, Log: n.log}
	n.trust = pki.Trust{Cell: n.local.CellID, Files: files, Revoked: n.revoked, Clock: n.clock}
	n.registrar = &pki.Registrar{Store: n.store, Clock: n.clock}
	n.mirror = &mirror.Mirror{Store: n.store, Clock: n.clock, Log: n.log}
	if err := n.mirror.Recall(n.folders.lastKnown(), n.local.Node); err != nil {
		n.log.Warn("cell not recalled, it is shown when the store answers", logkey.Err, err)
	}
	n.recorder = &recorder.Recorder{Store: n.store, Clock: n.clock, Log: n.log, Node: n.local.Node}
	n.guard = guardclient.New(guardclient.Options{
		Socket: n.folders.guard(), Clock: n.clock, Log: n.log, Start: n.guardian(logging),
		Build: n.version, Upgrade: n.guardUpgrade(logging),
	})
	n.clerk = &cell.Clerk{Store: n.store, Clock: n.clock, Events: n.recorder, Live: n.live}
	n.observer = &cell.Observer{Store: n.store, Mirror: n.mirror, Clock: n.clock, Live: n.live}
	n.programs = partexec.New(partexec.Options{Clock: n.clock, Log: n.log})
	n.addresses = address.New(address.Options{Clock: n.clock, Log: n.log})
}

// guardian starts the guard, unless the node is leaving.
func (n *node) guardian(logging cli.Logging) func(context.Context) error {
	start := n.startGuard(guardArgs(n.folders, logging, n.config))
	return func(ctx context.Context) error {
		if n.departing.Load() {
			return nil
		}
		return start(ctx)
	}
}

// live is what this node sees right now.
func (n *node) live() cell.Live {
	l := cell.Live{Node: n.local.Node, Warnings: n.warnings()}
	if v := n.guard.Latest(); v.Up {
		l.Guard = &v.State
	}
	if n.runner != nil {
		l.Own = n.runner.Own()
	}
	return l
}

// organs are all that runs while the agent does.
func (n *node) organs(ctx context.Context) ([]organ, error) {
	var err error
	n.runner, err = agent.New(agent.Options{
		Node: n.local.Node, Store: n.store, Guard: n.guard, Checks: checker{n}, Events: emitter{n.recorder},
		Parts: map[string]agent.Part{"exec": n.programs, "address": n.addresses},
		Clock: n.clock, Log: n.log,
		Health: health.New(n.folders.health(), n.clock).Look, JournalDir: n.folders.journal(), LastKnown: n.folders.lastKnown(), PartsDir: n.folders.parts(), LogsDir: n.folders.logs(),
		Warnings: n.warnings, Interfaces: interfaces.New(n.clock.Boot).Names,
		Resolve: func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		},
	})
	if err != nil {
		return nil, err
	}
	faces, err := n.faces(ctx)
	if err != nil {
		return nil, err
	}
	renewer := &pki.Renewer{
		Files: n.trust.Files, Signer: selfReliant{n, n.registrar.SignerFor(n.local.Node)}, Clock: n.clock, Log: n.log, Seed: uint64(n.local.Slot),
		Renewed: func(expires time.Time) {
			n.recorder.Add(event.Event{Kind: event.CertRenewed, Text: fmt.Sprintf("the certificate of %s was renewed; it is valid until %s", n.local.Node, expires.UTC().Format(time.RFC3339))})
		},
	}
	leader := n.newController()
	return append(faces,
		organ{"guard client", n.guard.Run},
		organ{"agent", n.runner.Run},
		organ{"programs", n.programs.Run},
		organ{"addresses", n.addresses.Run},
		organ{"mirror", n.mirror.Run},
		organ{"recorder", n.recorder.Run},
		organ{"revocations", n.revoked.Run},
		organ{"revoked certificates", (&pki.RevocationFile{
			Path: n.trust.Files.RevokedPath(), Revocations: n.revoked, Registrar: n.registrar, Clock: n.clock, Log: n.log,
		}).Run},
		organ{"certificates", renewer.Run},
		organ{"controller", leader.Run},
		organ{"trials", n.trials(leader.Leading).Run},
		organ{"membership", n.newMember(leader).Run},
		organ{"housekeeping", n.sweep},
		organ{"store endpoints", n.followVoters},
		organ{"store server", n.watchServer},
		organ{"leaving", n.leave},
		organ{"copies", n.watchTwin},
		organ{"memory", n.shedLater},
		organ{"threads", func(ctx context.Context) error { return footprint.Threads(ctx, n.clock) }},
	), nil
}

// warnings are what this host lacks, and what is wrong with its store.
func (n *node) warnings() []string {
	out := slices.Concat(n.programs.Warnings(), n.addresses.Warnings())
	if why := n.storeless.Load(); why != nil && !n.server.Running() && n.server.HasData() {
		out = append(out, fmt.Sprintf("The store of this node does not run: %s. It is tried again every %s.", *why, serverRetry))
	}
	return out
}

// storeGone keeps for the status why the store of this node does not run, and
// returns it in words.
func (n *node) storeGone(why error) error {
	why = sentence.Store(n.folders.etcd(), why)
	text := why.Error()
	if hint := sentence.Hint(why); hint != "" {
		text += ". To mend it: " + hint
	}
	n.storeless.Store(&text)
	return why
}

// faces open the ports and serve the API on them.
func (n *node) faces(ctx context.Context) ([]organ, error) {
	options := rpc.Options{
		Self: n.local.Node, Statuses: n.observer, Services: n.clerk, Nodes: nodes{n}, Events: n.clerk,
		Logs: logs{n}, Members: members{n}, Recoveries: n.clerk, Reasons: n.desk(), Clock: n.clock, Log: n.log,
	}
	conf, err := n.trust.JoinServer()
	if err != nil {
		return nil, err
	}
	where := hostPort(n.local.Address, n.local.Ports.API)
	lc := net.ListenConfig{}
	tcp, err := lc.Listen(ctx, "tcp", where)
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return nil, refused("port-in-use", "stop the program that has it, or join with another --api-port", "port %d is in use on %s", n.local.Ports.API, n.local.Address)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return nil, refused("no-such-address", "bring it back (`ip address` shows what there is)", "this server does not have the address %s of node %s", n.local.Address, n.local.Node)
	case err != nil:
		return nil, fmt.Errorf("listen for the API: %w", err)
	}
	if err := os.Remove(n.folders.api()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove an old socket: %w", err)
	}
	old := unix.Umask(0o177)
	local, err := lc.Listen(ctx, "unix", n.folders.api())
	unix.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("listen for the API on %s: %w", n.folders.api(), err)
	}
	remote, here := options, options
	remote.Identify = rpc.ByCertificate(n.identify)
	here.Identify = rpc.Local
	return []organ{
		{"API port", func(ctx context.Context) error { return rpc.Serve(ctx, tcp, conf, rpc.New(remote), n.log) }},
		{"API socket", func(ctx context.Context) error { return rpc.Serve(ctx, local, nil, rpc.New(here), n.log) }},
	}, nil
}

// identify says who is at the other end of a TLS connection.
func (n *node) identify(cs *tls.ConnectionState) (rpc.Identity, error) {
	if len(cs.PeerCertificates) == 0 {
		return rpc.Identity{}, nil
	}
	id, err := pki.IdentityFrom(cs)
	if err != nil {
		return rpc.Identity{}, err
	}
	if n.revoked.Revoked(id.Serial) || n.revoked.Revoked(id.NodeID) {
		return rpc.Identity{}, pki.ErrRevoked
	}
	if id.IsNode() {
		return rpc.Identity{Name: id.String(), Role: rpc.Admin, Node: id.Node}, nil
	}
	roles := map[pki.Role]rpc.Role{pki.Viewer: rpc.Viewer, pki.Operator: rpc.Operator, pki.Admin: rpc.Admin}
	return rpc.Identity{Name: id.String(), Role: roles[id.Role]}, nil
}

// Pauses of the small loops.
const (
	sweepEvery  = time.Hour
	voterEvery  = 2 * time.Second
	leaveEvery  = 500 * time.Millisecond
	serverRetry = 15 * time.Second
)

func (n *node) sweep(ctx context.Context) error {
	for {
		if err := n.clock.Sleep(ctx, sweepEvery); err != nil {
			return err
		}
		if err := n.registrar.Sweep(ctx); err != nil && ctx.Err() == nil {
			n.log.Warn("expired tokens not swept", logkey.Err, err)
		}
	}
}

// endServer ends a server that stopped by itself, and says why it did.
func (n *node) endServer(ctx context.Context, why error) {
	removed := errors.Is(why, etcdstore.ErrRemoved)
	if !removed {
		why = n.storeGone(why)
		n.log.Error("store server stopped", logkey.Err, why, "hint", sentence.Hint(why))
	}
	if err := n.server.Stop(ctx); err != nil {
		n.log.Warn("store server not stopped in order", logkey.Err, err)
	}
	if !removed {
		return
	}
	if err := n.server.Discard(n.clock.Now()); err != nil {
		n.log.Warn("store not put aside after this node lost its vote", logkey.Err, err)
		return
	}
	n.log.Info("this node has no vote any more, its store was put aside")
}

// followVoters keeps the store's endpoints those of the voters, also for the
// next start.
func (n *node) followVoters(ctx context.Context) error {
	for n.config.Store == nil {
		if err := n.clock.Sleep(ctx, voterEvery); err != nil {
			return err
		}
		records, stale := n.mirror.Records()
		var now []string
		for _, m := range records.Nodes {
			if m.Member != "" {
				now = append(now, hostPort(m.Address, withDefaults(m.Ports).Client))
			}
		}
		slices.Sort(now)
		if stale || len(now) == 0 || slices.Equal(now, n.local.Endpoints) {
			continue
		}
		n.store.SetEndpoints(now)
		n.local.Endpoints = now
		if err := n.local.write(n.folders); err != nil {
			n.log.Warn("store endpoints not kept", logkey.Err, err)
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

// outlived reports whether only a new process can start the store again.
func outlived(err error) bool {
	return errors.Is(err, etcdstore.ErrBroken) && !errors.Is(err, etcdstore.ErrCorrupt)
}

// watchServer says when the store server stops by a fault, and starts it again
// on the data it has. If this process cannot, it ends: the next one can, and
// what runs goes on meanwhile.
func (n *node) watchServer(ctx context.Context) error {
	for n.server != nil {
		if n.server.Running() {
			if err := n.server.Wait(ctx); err != nil && ctx.Err() == nil {
				n.endServer(ctx, err)
			}
		}
		if err := n.clock.Sleep(ctx, serverRetry); err != nil {
			return err
		}
		if !n.server.Running() && n.server.HasData() {
			err := n.restartServer(ctx)
			if outlived(err) {
				return err
			}
			if err != nil && ctx.Err() == nil {
				err = n.storeGone(err)
				n.log.Error("store server not started again", logkey.Err, err, "hint", sentence.Hint(err))
			}
		}
	}
	<-ctx.Done()
	return ctx.Err()
}
