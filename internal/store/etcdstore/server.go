package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/store"
)

// DefaultHeartbeat is how often the leader of a cell's own voters tells the
// others that it lives: a fifth of [DefaultElection], which etcd takes as the
// longest. Twice as often would find a dead leader no sooner and cost a voter a
// third more at rest.
const DefaultHeartbeat = 100 * time.Millisecond

const (
	segmentBytes = 4 << 20   // of the write-ahead log; two are allocated ahead
	quotaBytes   = 512 << 20 // of the store
	requestBytes = store.MaxValue + 512<<10

	snapshotCount  = 2000 // entries kept in memory until a snapshot
	catchUpEntries = 500
	keptFiles      = 2 // snapshots and log segments behind the current ones

	retention = "1h" // of old revisions

	// stopLimit is how long a stop may take; one that works takes a second.
	stopLimit = 15 * time.Second

	// roomToStart is how much free disk a new data directory needs, roomToGoOn
	// one that was in use: a log segment is allocated at once.
	roomToStart = 32 << 20
	roomToGoOn  = 2 * segmentBytes
)

// smallSegments sets the size of log segments, which etcd keeps in a variable of
// its package. It must not change once a server runs.
var smallSegments = sync.OnceFunc(func() { wal.SegmentSizeBytes = segmentBytes })

// ServerOptions say what server to run.
type ServerOptions struct {
	Name string // of the node
	Cell string // id of the cell
	Dir  string // the server's own; created if missing
	// Addresses are HOST:PORT; those to listen on with a numeric host.
	ListenPeer, ListenClient       string
	AdvertisePeer, AdvertiseClient string
	TLS                            TLSFiles // required: peers and clients both need a certificate of the CA
	// PeerName is a DNS name that the certificates of peers and clients must
	// have; empty: any certificate of the CA will do.
	PeerName string
	// Heartbeat and Election must be equal on all servers, and Election at
	// least five times Heartbeat. 0 means the defaults.
	Heartbeat, Election time.Duration

	Clock clock.Clock
	Log   *slog.Logger
}

// Server is the store server that a voter runs in its own process. It runs at
// most once at a time and may be started again after Stop. It is safe for
// concurrent use.
type Server struct {
	options ServerOptions

	mu      sync.Mutex
	running *embed.Etcd   // nil if stopped
	quiet   *quiet        // of the running one
	stopped bool          // running was told to stop
	gone    chan struct{} // closed when running is gone; nil until it is being stopped
	broken  error         // it broke in a way that this process cannot mend
}

// NewServer returns a stopped server.
func NewServer(o ServerOptions) *Server {
	if o.Heartbeat == 0 {
		o.Heartbeat = DefaultHeartbeat
	}
	if o.Election == 0 {
		o.Election = DefaultElection
	}
	return &Server{options: o}
}

// StartNew starts the first server of a new cell. It fails if the directory
// holds a store that was in use.
func (s *Server) StartNew(ctx context.Context) error {
	own := s.options.Name + "=" + peerURL(s.options.AdvertisePeer)
	return s.start(ctx, embed.ClusterStateFlagNew, own)
}

// StartJoin starts a server that was added as a learner; members are all of the
// cluster's, this one among them.
func (s *Server) StartJoin(ctx context.Context, members []store.Member) error {
	var cluster []string
	for _, m := range members {
		name := m.Name
		for _, u := range m.PeerURLs {
			if u == peerURL(s.options.AdvertisePeer) {
				name = s.options.Name
			}
		}
		if name == "" {
			name = m.ID
		}
		for _, u := range m.PeerURLs {
			cluster = append(cluster, name+"="+u)
		}
	}
	return s.start(ctx, embed.ClusterStateFlagExisting, strings.Join(cluster, ","))
}

// Restart starts the server on the data directory it has, or returns
// [ErrNoData].
func (s *Server) Restart(ctx context.Context) error {
	if !s.HasData() {
		return fmt.Errorf("restart the store server: %w: %s", ErrNoData, s.options.Dir)
	}
	return s.start(ctx, embed.ClusterStateFlagExisting, "")
}

// start starts a server. cluster is etcd's list of members, empty to go on with
// the data there is.
func (s *Server) start(ctx context.Context, state, cluster string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.broken != nil:
		return fmt.Errorf("start the store server: %w: %w", ErrBroken, s.broken)
	case s.running != nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	if err := s.options.TLS.check(s.options.Clock.Now()); err != nil {
		return fmt.Errorf("start the store server: %w", err)
	}
	if err := s.options.TLS.prepareRevoked(s.options.Clock.Now()); err != nil {
		return fmt.Errorf("start the store server: %w", err)
	}
	if err := s.options.prepare(state, cluster); err != nil {
		return fmt.Errorf("start the store server: %w", err)
	}
	smallSegments()
	q := newQuiet(s.options.Log)
	running, err := s.launch(s.options.config(state, cluster, q), q, cluster == "")
	if err != nil {
		return fmt.Errorf("start the store server: %w", explainStart(s.options, err))
	}
	s.running, s.quiet, s.stopped = running, q, false
	return nil
}

// launch starts etcd on a goroutine of its own, which etcd may end: see [quiet].
func (s *Server) launch(config *embed.Config, q *quiet, inspect bool) (*embed.Etcd, error) {
	type result struct {
		etcd *embed.Etcd
		err  error
	}
	results := make(chan result, 1)
	go func() {
		r := result{err: ErrStopped}
		defer func() {
			if cause := recover(); cause != nil {
				r = result{err: fmt.Errorf("%w: %v", ErrCorrupt, cause)}
			}
			results <- r
		}()
		if inspect {
			if err := s.options.inspect(q.zap()); err != nil {
				r = result{err: err}
				return
			}
		}
		started, err := embed.StartEtcd(config)
		r = result{started, err}
	}()
	var r result
	select {
	case r = <-results:
		if q.failure() == nil {
			return r.etcd, r.err
		}
	case <-q.broken:
	}
	// etcd is half started and keeps its ports and locks: this process cannot
	// try again.
	err := q.failure()
	if !full(err) && !isSystem(err) {
		err = fmt.Errorf("%w: %s: %w: move it aside to build this voter anew from the others", ErrCorrupt, s.options.Dir, err)
	}
	s.broken = err
	return nil, err
}

// isSystem reports whether err is the kernel's: not a matter of what the data
// says.
func isSystem(err error) bool {
	var path *os.PathError
	var link *os.LinkError
	var call *os.SyscallError
	return errors.As(err, &path) || errors.As(err, &link) || errors.As(err, &call)
}

func (o ServerOptions) config(state, cluster string, q *quiet) *embed.Config {
	c := embed.NewConfig()
	c.Name, c.Dir = o.Name, o.Dir
	c.ListenPeerUrls, c.ListenClientUrls = urls(o.ListenPeer), urls(o.ListenClient)
	c.AdvertisePeerUrls, c.AdvertiseClientUrls = urls(o.AdvertisePeer), urls(o.AdvertiseClient)
	c.PeerTLSInfo, c.ClientTLSInfo = o.TLS.server(o.PeerName), o.TLS.server(o.PeerName)
	c.ClusterState, c.InitialClusterToken = state, o.Cell
	c.InitialCluster = cluster
	if cluster == "" {
		c.InitialCluster = o.Name + "=" + peerURL(o.AdvertisePeer) // not used, but wanted
	}
	c.TickMs, c.ElectionMs = uint(o.Heartbeat.Milliseconds()), uint(o.Election.Milliseconds())
	c.StrictReconfigCheck, c.PreVote = true, true
	c.QuotaBackendBytes, c.MaxRequestBytes = quotaBytes, requestBytes
	c.SnapshotCount, c.SnapshotCatchUpEntries = snapshotCount, catchUpEntries
	c.MaxSnapFiles, c.MaxWalFiles = keptFiles, keptFiles
	c.AutoCompactionMode, c.AutoCompactionRetention = embed.CompactorModePeriodic, retention
	c.DowngradeCheckTime = time.Minute
	c.EnableGRPCGateway, c.EnablePprof = false, false
	c.LogLevel, c.ZapLoggerBuilder = "warn", embed.NewZapLoggerBuilder(q.zap())
	return c
}

func peerURL(hostPort string) string { return "https://" + hostPort }

func hostPort(address string) string {
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		return u.Host
	}
	return address
}

func urls(hostPort string) []url.URL { return []url.URL{{Scheme: "https", Host: hostPort}} }

// Running reports whether the server runs, ready or not.
func (s *Server) Running() bool { return s.etcd() != nil }

func (s *Server) etcd() *embed.Etcd {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running
}

// HasData reports whether there is a data directory that a server has run on,
// whole or not.
func (s *Server) HasData() bool {
	own, _, err := s.options.owner()
	return own.Formed || err != nil || wal.Exist(s.options.walDir())
}

// MemberID returns the server's id in hex, empty if it does not run.
func (s *Server) MemberID() string {
	if etcd := s.etcd(); etcd != nil {
		return strconv.FormatUint(uint64(etcd.Server.MemberID()), 16)
	}
	return ""
}

// Leads reports whether the server is the cluster's leader.
func (s *Server) Leads() bool {
	etcd := s.etcd()
	return etcd != nil && etcd.Server.Leader() == etcd.Server.MemberID()
}

// Ready waits until the server has joined its cluster and a majority answers.
// It returns what [Server.Wait] does if the server stops instead.
func (s *Server) Ready(ctx context.Context) error {
	etcd := s.etcd()
	if etcd == nil {
		return fmt.Errorf("wait for the store server: %w", ErrStopped)
	}
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- s.Wait(waiting) }()
	select {
	case <-etcd.Server.ReadyNotify():
		return s.options.formed()
	case err := <-ended:
		return err
	}
}

// Wait blocks until the server stops without having been told to, and returns
// why: [ErrRemoved], [ErrDiskFull] or [ErrStopped] with a cause. It returns nil
// after Stop and ctx's error when ctx ends. The server must be stopped
// nevertheless.
func (s *Server) Wait(ctx context.Context) error {
	s.mu.Lock()
	etcd, q := s.running, s.quiet
	s.mu.Unlock()
	if etcd == nil {
		return nil
	}
	ready := etcd.Server.ReadyNotify()
	for waiting := true; waiting; {
		select {
		case <-ready:
			if err := s.options.formed(); err != nil {
				q.fail("the data directory cannot be written", err)
			}
			ready = nil
			continue
		case <-ctx.Done():
			return ctx.Err()
		case <-q.broken:
		case <-etcd.Server.StopNotify():
		case err := <-etcd.Err():
			select {
			case <-etcd.Server.StoppingNotify(): // the listeners end with the server
			default:
				q.fail("a listener ended", err)
			}
		}
		waiting = false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := q.failure()
	switch {
	case s.stopped || s.running != etcd:
		return nil
	case err == nil:
		// etcd stops by itself for one reason only.
		return fmt.Errorf("run the store server: %w", ErrRemoved)
	case full(err):
		return fmt.Errorf("run the store server: %w: no room under %s: %w", ErrDiskFull, s.options.Dir, err)
	default:
		return fmt.Errorf("run the store server: %w: %w", ErrStopped, err)
	}
}

// Stop moves the leadership to another voter if it can, stops the server and
// waits until it is gone, all bounded by ctx and by stopLimit. A stopped server
// is stopped again without error. If it does not go in time, it counts as
// stopped and as [ErrBroken].
func (s *Server) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	etcd, gone := s.closing()
	if etcd == nil {
		return nil
	}
	var err error
	select {
	case <-gone:
	case <-ctx.Done():
		err = fmt.Errorf("stop the store server: %w", ctx.Err())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != etcd {
		return nil // another call has seen it end
	}
	if err != nil {
		s.broken = errors.Join(err, s.quiet.failure())
	}
	s.running, s.gone = nil, nil
	return err
}

// closing makes etcd end, once however often it is called, and returns what is
// closed when it has ended. etcd is nil if none runs.
func (s *Server) closing() (etcd *embed.Etcd, gone <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	if s.running == nil || s.gone != nil {
		return s.running, s.gone
	}
	s.quiet.mute()
	ended, running := make(chan struct{}), s.running
	s.gone = ended
	go func() {
		defer close(ended)
		running.Close()
	}()
	return running, ended
}

// StepDown makes another voter the leader if this server leads. It returns when
// the other one leads, or with an error if none can.
func (s *Server) StepDown(ctx context.Context) error {
	etcd := s.etcd()
	if etcd == nil || !s.Leads() {
		return nil
	}
	for _, other := range etcd.Server.Cluster().Members() {
		if other.IsLearner || other.ID == etcd.Server.MemberID() || !other.IsStarted() {
			continue
		}
		one, cancel := context.WithTimeout(ctx, 4*s.options.Election)
		err := etcd.Server.MoveLeader(one, uint64(etcd.Server.MemberID()), uint64(other.ID))
		cancel()
		if err == nil || !s.Leads() {
			return nil
		}
	}
	return fmt.Errorf("move the leadership away from %s: %w", s.options.Name, errNobodyElse)
}

// Discard renames the data directory of a stopped server so that it is out of
// the way, with at as the time in its name, and removes those renamed before:
// the newest one is kept. Without a data directory it does nothing.
func (s *Server) Discard(at time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		return fmt.Errorf("discard %s: %w", s.options.Dir, ErrInUse)
	}
	older, err := filepath.Glob(s.options.Dir + ".removed-*")
	if err != nil {
		return fmt.Errorf("discard %s: %w", s.options.Dir, err)
	}
	aside := s.options.Dir + ".removed-" + at.UTC().Format("20060102T150405.000Z")
	if err := os.Rename(s.options.Dir, aside); errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("discard %s: %w", s.options.Dir, err)
	}
	for _, name := range older {
		if err := os.RemoveAll(name); err != nil {
			return fmt.Errorf("discard %s: %w", name, err)
		}
	}
	return nil
}
