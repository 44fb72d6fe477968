package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/engine/agent/guardclient"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
	"github.com/keelson/keelson/internal/store/memstore"
)

// bubble is a clock whose boot time is the bubble's.
type bubble struct{ clock.System }

func (bubble) Boot() time.Duration { return time.Duration(time.Now().UnixNano()) }

// world is a node around an agent: store, guard, parts and disk go on while
// agents come and go.
type world struct {
	t      *testing.T
	dir    string
	store  *memstore.Store
	guard  *fakeGuard
	parts  *fakeParts
	checks *fakeChecks
	log    *diary
	clock  clock.Clock
	atOnce int

	stop func()
}

// diary is what happened, in order.
type diary struct {
	mu     sync.Mutex
	lines  []string
	events []event.Event
}

func (d *diary) add(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

func (d *diary) Emit(e event.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events = append(d.events, e)
}

// take returns the lines since the last call.
func (d *diary) take() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := d.lines
	d.lines = nil
	return out
}

func (d *diary) kinds() []event.Kind {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []event.Kind
	for _, e := range d.events {
		out = append(out, e.Kind)
	}
	return out
}

// fakeParts are programs that live as long as the test.
type fakeParts struct {
	log *diary

	mu      sync.Mutex
	running map[string]*program
	took    map[string]time.Duration // to start, by key
	sick    map[string]error         // start ends so
	stuck   map[string]bool          // does not stop
}

type program struct {
	epoch, generation uint64
	ended             chan struct{}
}

func newParts(log *diary) *fakeParts {
	return &fakeParts{
		log: log, running: make(map[string]*program), took: make(map[string]time.Duration),
		sick: make(map[string]error), stuck: make(map[string]bool),
	}
}

func (f *fakeParts) Start(ctx context.Context, run instance.Run) error {
	f.mu.Lock()
	took, sick := f.took[run.Key()], f.sick[run.Key()]
	f.mu.Unlock()
	f.log.add("start %s epoch %d", run.Key(), run.Epoch)
	if err := (bubble{}).Sleep(ctx, took); err != nil {
		return err
	}
	if sick != nil {
		return sick
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running[run.Key()] == nil {
		f.running[run.Key()] = &program{run.Epoch, run.Generation, make(chan struct{})}
	}
	return nil
}

func (f *fakeParts) Stop(_ context.Context, run instance.Run) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	how := "stop"
	if run.Part.Exec.Grace != nil && *run.Part.Exec.Grace == 0 {
		how = "kill"
	}
	f.log.add("%s %s", how, run.Key())
	if f.stuck[run.Key()] {
		return errors.New("it hangs in the kernel")
	}
	f.end(run.Key())
	return nil
}

func (f *fakeParts) end(key string) {
	if p := f.running[key]; p != nil {
		close(p.ended)
		delete(f.running, key)
	}
}

// kill ends a program from outside.
func (f *fakeParts) kill(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log.add("%s dies", key)
	f.end(key)
}

func (f *fakeParts) Probe(_ context.Context, run instance.Run) (instance.Observed, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.running[run.Key()]
	if run.Cell != "cell" {
		f.log.add("probe %s of cell %q", run.Key(), run.Cell)
	}
	if p == nil {
		return instance.Observed{}, nil
	}
	return instance.Observed{Running: true, Epoch: p.epoch, Generation: p.generation, Detail: "pid 1"}, nil
}

func (f *fakeParts) Wait(ctx context.Context, run instance.Run) error {
	f.mu.Lock()
	p := f.running[run.Key()]
	f.mu.Unlock()
	if p == nil {
		return errors.New("it does not run")
	}
	select {
	case <-p.ended:
		return errors.New("exit status 1")
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *fakeParts) Handles(run instance.Run) instance.Handles {
	if run.Cell != "cell" {
		f.log.add("handles of %s of cell %q", run.Key(), run.Cell)
	}
	return instance.Handles{Cgroups: []string{"/cg/" + run.Key()}}
}

func (f *fakeParts) set(change func(f *fakeParts)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

// fakeChecks answer what the test says: a key is a part's key and the check's
// address. Without an answer the check is yes.
type fakeChecks struct {
	mu      sync.Mutex
	answers map[string]bool
	changed chan struct{}
}

func (f *fakeChecks) say(key string, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[key] = ok
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fakeChecks) Watch(ctx context.Context, c spec.Check, run instance.Run, verdict func(bool, string)) {
	key := run.Key() + " " + c.TCP
	for told := -1; ; {
		f.mu.Lock()
		ok, known := f.answers[key]
		changed := f.changed
		f.mu.Unlock()
		now := 0
		if ok || !known {
			now = 1
		}
		if now != told {
			told = now
			verdict(now == 1, "connection refused")
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// fakeGuard grants what the test says.
type fakeGuard struct {
	log *diary

	mu       sync.Mutex
	view     guardclient.View
	changed  chan struct{}
	happened chan guardwire.Happened
	duty     *guardwire.Duty
	dutyFor  uint64
	duties   int
}

func (g *fakeGuard) Latest() guardclient.View {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.view
}

func (g *fakeGuard) Changed() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.changed
}

func (g *fakeGuard) Happened() <-chan guardwire.Happened { return g.happened }

func (g *fakeGuard) SetDuty(guard uint64, d guardwire.Duty) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.duty, g.dutyFor, g.duties = &d, guard, g.duties+1
	if guard == g.view.State.Guard && g.view.State.Fresh {
		g.setLocked(func(v *guardclient.View) { v.State.Fresh = false })
	}
}

func (g *fakeGuard) Release(service spec.ServiceName, epoch uint64) {
	g.log.add("release %s epoch %d", service, epoch)
	g.set(func(v *guardclient.View) {
		v.State.Holds = slices.DeleteFunc(slices.Clone(v.State.Holds), func(h guardwire.Hold) bool {
			return h.Service == service && h.Epoch == epoch
		})
	})
}

func (g *fakeGuard) set(change func(*guardclient.View)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.setLocked(change)
}

func (g *fakeGuard) setLocked(change func(*guardclient.View)) {
	change(&g.view)
	close(g.changed)
	g.changed = make(chan struct{})
}

// grant shows a lease as held; it lasts for ever unless until says otherwise.
func (g *fakeGuard) grant(service spec.ServiceName, epoch uint64, until ...time.Duration) {
	end := bubble{}.Boot() + 1000*time.Hour
	if len(until) > 0 {
		end = until[0]
	}
	g.set(func(v *guardclient.View) {
		holds := slices.DeleteFunc(slices.Clone(v.State.Holds), func(h guardwire.Hold) bool { return h.Service == service })
		holds = append(holds, guardwire.Hold{Service: service, Epoch: epoch, Until: guardwire.Boot(end)})
		slices.SortFunc(holds, func(a, b guardwire.Hold) int { return strings.Compare(string(a.Service), string(b.Service)) })
		v.State.Holds = holds
	})
}

func (g *fakeGuard) lose() {
	g.set(func(v *guardclient.View) { v.State.Holds = nil })
}

func (g *fakeGuard) last() (guardwire.Duty, uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.duty == nil {
		return guardwire.Duty{}, 0
	}
	return *g.duty, g.dutyFor
}

func (g *fakeGuard) seek(service spec.ServiceName) *guardwire.Seek {
	d, _ := g.last()
	for _, s := range d.Seeks {
		if s.Service == service {
			return &s
		}
	}
	return nil
}

// newWorld is node a of three, with a guard that has its duty already.
func newWorld(t *testing.T) *world {
	t.Helper()
	log := &diary{}
	w := &world{
		t: t, dir: t.TempDir(), store: memstore.New(bubble{}), log: log, clock: bubble{}, parts: newParts(log),
		checks: &fakeChecks{answers: make(map[string]bool), changed: make(chan struct{})},
		guard:  &fakeGuard{log: log, changed: make(chan struct{}), happened: make(chan guardwire.Happened, 10)},
	}
	w.guard.view = guardclient.View{Heard: true, Up: true, State: guardwire.State{Guard: 7, Alive: 0b111}}
	w.put(record.KeyCell, record.Cell{
		Name: "cell", ID: "id1", CAKey: []byte("secret"), LinkKeys: []record.LinkKey{{ID: 1, Key: []byte("k")}},
	})
	w.put(record.KeyLease, record.Lease{Version: 1, Voters: 0b111, Ceiling: 5000, LongestTTL: spec.Duration(2 * time.Second)})
	for i, name := range []spec.NodeName{"a", "b", "c"} {
		w.put(record.KeyNodes+string(name), record.Node{Name: name, Slot: uint8(i), Address: fmt.Sprintf("10.0.0.%d", i+1)})
	}
	t.Cleanup(func() { w.down() })
	return w
}

func (w *world) put(key string, v any) int64 {
	w.t.Helper()
	value, err := json.Marshal(v)
	if err != nil {
		w.t.Fatal(err)
	}
	_, revision, err := w.store.Txn(w.t.Context(), nil, []store.Op{{Key: key, Value: value}})
	if err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
	return revision
}

func (w *world) remove(key string) {
	w.t.Helper()
	if _, _, err := w.store.Txn(w.t.Context(), nil, []store.Op{{Key: key, Delete: true}}); err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
}

// apply puts a service of two programs, changed by changes.
func (w *world) apply(generation uint64, changes ...func(*record.Service)) {
	w.t.Helper()
	s := record.Service{ID: 1, Generation: generation, Spec: spec.Service{Name: "shop"}}
	for _, name := range []string{"db", "web"} {
		s.Spec.Parts = append(s.Spec.Parts, spec.Part{Name: name, Exec: &spec.Exec{Command: []string{"/bin/" + name}}})
	}
	for _, c := range changes {
		c(&s)
	}
	w.put(record.KeyServices+"shop", s)
}

func (w *world) place(order ...spec.NodeName) {
	w.t.Helper()
	w.put(record.KeyPlacements+"shop", record.Placement{Service: "shop", Order: order})
}

// up starts an agent.
func (w *world) up() {
	w.t.Helper()
	a, err := New(Options{
		Node: "a", Store: w.store, Guard: w.guard, Parts: map[string]Part{"exec": w.parts}, Checks: w.checks,
		Events: w.log, Clock: w.clock, Log: slog.New(slog.DiscardHandler),
		JournalDir: filepath.Join(w.dir, "journal"), LastKnown: filepath.Join(w.dir, "lastknown.json"),
		AtOnce:   w.atOnce,
		PartsDir: filepath.Join(w.dir, "parts"), LogsDir: filepath.Join(w.dir, "logs"),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	w.stop = func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("the agent ended with %v", err)
		}
	}
	synctest.Wait()
}

// down ends the agent, as an upgrade would.
func (w *world) down() {
	if w.stop != nil {
		w.stop()
		w.stop = nil
	}
}

func (w *world) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// want checks what happened since the last call.
func (w *world) want(lines ...string) {
	w.t.Helper()
	synctest.Wait()
	if diff := cmp.Diff(lines, w.log.take()); diff != "" {
		w.t.Fatalf("wrong story (-want +got):\n%s", diff)
	}
}

// report returns what the node says of the service in the store.
func (w *world) report() (record.Report, fact.Instance) {
	w.t.Helper()
	e, ok, err := w.store.Get(w.t.Context(), record.KeyReports+"a")
	if err != nil || !ok {
		w.t.Fatalf("no report: %v", err)
	}
	var r record.Report
	if err := json.Unmarshal(e.Value, &r); err != nil {
		w.t.Fatal(err)
	}
	for _, i := range r.Instances {
		if i.Service == "shop" {
			return r, i
		}
	}
	return r, fact.Instance{}
}

func (w *world) phase(want fact.Phase) {
	w.t.Helper()
	w.pass(reportPause + 10*time.Millisecond)
	if _, i := w.report(); i.Phase != want {
		w.t.Fatalf("reported as %q, want %q", i.Phase, want)
	}
}

// service returns a service of n exec parts.
func service(id uint32, generation uint64, n int) *record.Service {
	s := &record.Service{ID: id, Generation: generation, Spec: spec.Service{Name: "shop"}}
	for i := range n {
		s.Spec.Parts = append(s.Spec.Parts, spec.Part{
			Name: fmt.Sprintf("p%d", i), Exec: &spec.Exec{Command: []string{fmt.Sprintf("/bin/v%d", generation)}},
		})
	}
	return s
}

// running is a world in which the service runs under epoch 5.
func runningWorld(t *testing.T, changes ...func(*record.Service)) *world {
	t.Helper()
	w := newWorld(t)
	w.apply(1, changes...)
	w.place("a", "b", "c")
	w.up()
	w.guard.grant("shop", 5)
	w.want("start shop/db epoch 5", "start shop/web epoch 5")
	return w
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
