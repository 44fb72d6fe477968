package member

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
	"github.com/keelson/keelson/internal/store/memstore"
)

// fakeClock is the bubble's clock; its CLOCK_BOOTTIME is the bubble's too.
type fakeClock struct{ clock.System }

func (fakeClock) Boot() time.Duration { return time.Duration(time.Now().UnixNano()) }

var errCrash = errors.New("crash")

// world is a cell: one store, one cluster, many nodes.
type world struct {
	t     *testing.T
	store *memstore.Store

	mu      sync.Mutex
	members []store.Member
	nextID  int
	nodes   map[spec.NodeName]*fakeNode
	alive   map[spec.NodeName]fact.Liveness
	worst   int // the fewest living voters above a quorum that were ever seen
	crash   int // every crash-th call of a server or the cluster fails after its effect; 0: none
	calls   int
}

// fakeNode is a node's server.
type fakeNode struct {
	world   *world
	name    spec.NodeName
	address string
	member  *Member
	stop    context.CancelFunc
	running string
	data    string // member id in the data directory
	faulty  bool   // its server does not start
}

func newWorld(t *testing.T) *world {
	w := &world{
		t: t, store: memstore.New(fakeClock{}), worst: 99,
		nodes: make(map[spec.NodeName]*fakeNode), alive: make(map[spec.NodeName]fact.Liveness),
	}
	w.write(record.KeyCell, record.Cell{Name: "test", ReplaceVoterAfter: spec.Duration(10 * time.Minute)})
	return w
}

func (w *world) write(key string, value any) {
	content, err := json.Marshal(value)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, _, err := w.store.Txn(w.t.Context(), nil, []store.Op{{Key: key, Value: content}}); err != nil {
		w.t.Fatal(err)
	}
}

func fetch[T any](w *world, key string) T {
	k, _, err := get[T](w.t.Context(), w.store, key)
	if err != nil {
		w.t.Fatal(err)
	}
	return k.value
}

// found makes the first node, a voter and the controller.
func (w *world) found(name spec.NodeName) {
	w.add(name, record.Node{Member: "1"}, record.NodeWish{Voter: true})
	n := w.nodes[name]
	w.mu.Lock()
	w.nextID = 2
	w.members = []store.Member{{ID: "1", Name: string(name), PeerURLs: []string{"https://" + n.address + ":7482"}}}
	n.running, n.data = "1", "1"
	w.mu.Unlock()
	w.write(record.KeyLease, record.Lease{Version: 1, Voters: 1, LongestTTL: spec.Duration(2 * time.Second)})
}

func (w *world) add(name spec.NodeName, node record.Node, wish record.NodeWish) {
	w.mu.Lock()
	slot := uint8(len(w.nodes))
	n := &fakeNode{world: w, name: name, address: fmt.Sprintf("10.0.0.%d", slot+1)}
	w.nodes[name] = n
	w.alive[name] = fact.Alive
	w.mu.Unlock()
	node.Name, node.Slot, node.Address = name, slot, n.address
	w.write(record.KeyNodes+string(name), node)
	if wish != (record.NodeWish{}) {
		w.write(record.KeyWishes+string(name), wish)
	}
}

// run starts a node's Member.
func (w *world) run(name spec.NodeName) {
	n := w.nodes[name]
	n.member = New(Options{
		Node: name, Store: w.store, Cluster: w, Server: n, HasData: n.HasData,
		Leading: func() bool { return w.leader() == name }, Liveness: w.liveness,
		Record: func(event.Event) {}, Clock: fakeClock{}, Log: slog.New(slog.DiscardHandler),
	})
	ctx, stop := context.WithCancel(w.t.Context())
	n.stop = stop
	go func() { _ = n.member.Run(ctx) }()
	go n.report(ctx)
}

// report is the node's agent: it says which lease configuration it uses.
func (n *fakeNode) report(ctx context.Context) {
	for ctx.Err() == nil {
		from := n.say(ctx)
		_ = n.world.store.Watch(ctx, record.KeyLease, from, func([]store.Event) error {
			n.say(ctx)
			return nil
		})
		if (clock.System{}).Sleep(ctx, time.Second) != nil {
			return
		}
	}
}

// say reports the lease configuration in force and returns the revision after it.
func (n *fakeNode) say(ctx context.Context) int64 {
	s := n.world.store
	lease, _, err := get[record.Lease](ctx, s, record.KeyLease)
	if err != nil {
		return 0
	}
	key := record.KeyReports + string(n.name)
	old, _, err := get[record.Report](ctx, s, key)
	if err == nil {
		_, _ = put(ctx, s, key, old.revision, record.Report{Node: n.name, LeaseVersion: lease.value.Version})
	}
	return lease.revision + 1
}

// lose ends a node as a loss of power does, and tells the cell.
func (w *world) lose(name spec.NodeName) {
	w.nodes[name].stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes[name].running = ""
	w.alive[name] = fact.Lost
}

// back starts a lost node again.
func (w *world) back(name spec.NodeName) {
	w.mu.Lock()
	n := w.nodes[name]
	w.alive[name] = fact.Alive
	if slices.ContainsFunc(w.members, func(m store.Member) bool { return m.ID == n.data }) {
		n.running = n.data
	}
	w.mu.Unlock()
	w.run(name)
}

// leader is the first node alive.
func (w *world) leader() spec.NodeName {
	w.mu.Lock()
	defer w.mu.Unlock()
	var alive []spec.NodeName
	for name, how := range w.alive {
		if how == fact.Alive {
			alive = append(alive, name)
		}
	}
	if len(alive) == 0 {
		return ""
	}
	return slices.Min(alive)
}

func (w *world) liveness() map[spec.NodeName]fact.Liveness {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make(map[spec.NodeName]fact.Liveness)
	for name, how := range w.alive {
		all[name] = how
	}
	return all
}

// followLease checks that no two versions of the lease's configuration come
// closer than its longest TTL.
func (w *world) followLease() {
	go func() {
		var last time.Time
		_ = w.store.Watch(w.t.Context(), record.KeyLease, 0, func([]store.Event) error {
			now := time.Now()
			if !last.IsZero() && now.Sub(last) < 2*time.Second {
				w.t.Errorf("a lease configuration was in force for %s only", now.Sub(last))
			}
			last = now
			return nil
		})
	}()
	synctest.Wait()
}

// add5 ends an outage and makes five of three nodes.
func (w *world) add5(t *testing.T) {
	t.Helper()
	w.store.SetUnavailable(false)
	for _, name := range []spec.NodeName{"d", "e"} {
		w.add(name, record.Node{}, record.NodeWish{})
		w.run(name)
	}
}

// settle lets a minute pass.
func settle() {
	time.Sleep(time.Minute)
	synctest.Wait()
}

// wantVoters compares the store's voters, the nodes' records and the lease.
func (w *world) wantVoters(names ...string) {
	w.t.Helper()
	w.mu.Lock()
	var voters []string
	for _, m := range w.members {
		if !m.Learner {
			voters = append(voters, m.Name)
		}
	}
	nodes, worst := len(w.nodes), w.worst
	w.mu.Unlock()
	slices.Sort(voters)
	var noted, leased []string
	lease := fetch[record.Lease](w, record.KeyLease)
	for _, name := range w.names() {
		n := fetch[record.Node](w, record.KeyNodes+name)
		if n.Member != "" {
			noted = append(noted, name)
		}
		if n.Name != "" && lease.Voters&(1<<n.Slot) != 0 {
			leased = append(leased, name)
		}
	}
	for what, got := range map[string][]string{"store": voters, "records": noted, "lease": leased} {
		if diff := cmp.Diff(names, got); diff != "" {
			w.t.Errorf("voters in the %s of %d nodes (-want +got):\n%s", what, nodes, diff)
		}
	}
	if lease.Prior != 0 {
		w.t.Errorf("the lease's voters are still changing: %+v", lease)
	}
	if worst < 0 {
		w.t.Error("the store's quorum was lost on the way")
	}
}

func (w *world) names() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var names []string
	for name := range w.nodes {
		names = append(names, string(name))
	}
	slices.Sort(names)
	return names
}

func (w *world) notes() string { return strings.Join(w.nodes[w.leader()].member.Notes(), "\n") }

// effect ends a call that had its effect. The caller holds the lock.
func (w *world) effect() error {
	voters, living := w.count()
	w.worst = min(w.worst, living-(voters/2+1))
	w.calls++
	if w.crash > 0 && w.calls%w.crash == 0 {
		return errCrash
	}
	return nil
}

func (w *world) count() (voters, living int) {
	for _, m := range w.members {
		if m.Learner {
			continue
		}
		voters++
		for _, n := range w.nodes {
			if n.running == m.ID {
				living++
			}
		}
	}
	return voters, living
}

func (w *world) find(id string) int {
	return slices.IndexFunc(w.members, func(m store.Member) bool { return m.ID == id })
}

func (w *world) Members(context.Context) ([]store.Member, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.members), nil
}

func (w *world) AddLearner(_ context.Context, peer string) (store.Member, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if voters, living := w.count(); voters > 1 && living < (voters+1)/2+1 {
		return store.Member{}, store.ErrUnhealthy
	}
	m := store.Member{ID: fmt.Sprint(w.nextID), Learner: true, PeerURLs: []string{"https://" + peer}}
	for _, there := range w.members {
		if there.Learner {
			return store.Member{}, store.ErrUnhealthy
		}
		if slices.Equal(there.PeerURLs, m.PeerURLs) {
			return store.Member{}, errors.New("peer URL exists")
		}
	}
	w.nextID++
	w.members = append(w.members, m)
	return m, w.effect()
}

func (w *world) Promote(_ context.Context, id string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := w.find(id)
	if i < 0 {
		return store.ErrUnknownMember
	}
	if !w.members[i].Started() {
		return store.ErrBehind
	}
	w.members[i].Learner = false
	return w.effect()
}

func (w *world) Remove(_ context.Context, id string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := w.find(id)
	if i < 0 {
		return store.ErrUnknownMember
	}
	w.members = slices.Delete(w.members, i, i+1)
	for _, n := range w.nodes {
		if n.running == id {
			n.running = "" // etcd stops by itself
		}
	}
	return w.effect()
}

func (w *world) MoveLeader(context.Context, string) error { return errors.New("nobody else can lead") }

func (n *fakeNode) HasData() bool {
	n.world.mu.Lock()
	defer n.world.mu.Unlock()
	return n.data != ""
}

func (n *fakeNode) MemberID() string {
	n.world.mu.Lock()
	defer n.world.mu.Unlock()
	return n.running
}

func (n *fakeNode) StartJoin(_ context.Context, members []store.Member) error {
	n.world.mu.Lock()
	defer n.world.mu.Unlock()
	if n.faulty {
		return errors.New("port in use")
	}
	for i, m := range n.world.members {
		if m.PeerURLs[0] == "https://"+n.address+":7482" && len(members) > 0 {
			n.running, n.data = m.ID, m.ID
			n.world.members[i].Name = string(n.name)
			return n.world.effect()
		}
	}
	return errors.New("not a member")
}

func (n *fakeNode) Ready(context.Context) error { return nil }

func (n *fakeNode) Stop(context.Context) error {
	n.world.mu.Lock()
	defer n.world.mu.Unlock()
	n.running = ""
	return n.world.effect()
}

func (n *fakeNode) Discard(time.Time) error {
	n.world.mu.Lock()
	defer n.world.mu.Unlock()
	n.data = ""
	return n.world.effect()
}
