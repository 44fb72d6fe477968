package cell_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/engine/cell"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
	"github.com/keelson/keelson/internal/store/memstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bubbleClock is the system's clock, with a boot time that a synctest bubble
// holds in its hands too.
type bubbleClock struct{ clock.System }

func (bubbleClock) Boot() time.Duration { return time.Duration(time.Now().UnixNano()) }

// notes remembers the events that were noted.
type notes struct {
	mu   sync.Mutex
	list []event.Event
}

func (n *notes) Add(e event.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, e)
}

func (n *notes) kinds() []event.Kind {
	n.mu.Lock()
	defer n.mu.Unlock()
	var kinds []event.Kind
	for _, e := range n.list {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// world is a store with three nodes a, b and c (a witness), as seen from a.
type world struct {
	*memstore.Store
	clerk *cell.Clerk
	guard *guardwire.State
	notes *notes
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		Store: memstore.New(bubbleClock{}), notes: &notes{},
		guard: &guardwire.State{Quorate: true, Alive: 0b111},
	}
	w.clerk = &cell.Clerk{
		Store: w.Store, Clock: bubbleClock{}, Events: w.notes,
		Live: func() cell.Live { return cell.Live{Node: "a", Guard: w.guard} },
	}
	now := time.Now()
	w.put(t, record.KeyCell, record.Cell{Name: "shop", ID: "c1"})
	w.put(t, record.KeyLease, record.Lease{Version: 1, Voters: 0b111})
	for slot, name := range []spec.NodeName{"a", "b", "c"} {
		address := "10.0.0." + string(rune('1'+slot))
		w.put(t, record.KeyNodes+string(name), record.Node{
			Name: name, ID: "id-" + string(name), Slot: uint8(slot), Address: address, Witness: name == "c",
			CertSerial: "serial-" + string(name), Joined: now,
		})
		w.put(t, record.SlotKey(uint8(slot)), name)
		w.put(t, record.KeyReports+string(name), record.Report{Node: name, At: now, GuardUp: true})
	}
	w.put(t, record.KeyController, "a")
	return w
}

func (w *world) put(t *testing.T, key string, v any) {
	t.Helper()
	value, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	entry, _, err := w.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	done, _, err := w.Txn(t.Context(), []store.Guard{{Key: key, Revision: entry.Revision}}, []store.Op{{Key: key, Value: value}})
	if err != nil || !done {
		t.Fatalf("put %s: %v, %v", key, done, err)
	}
}

// get reads a record and whether it is there.
func get[T any](t *testing.T, w *world, key string) (T, bool) {
	t.Helper()
	entry, found, err := w.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	var v T
	if found {
		if err := json.Unmarshal(entry.Value, &v); err != nil {
			t.Fatal(err)
		}
	}
	return v, found
}

func (w *world) service(t *testing.T, name string) record.Service {
	t.Helper()
	s, _ := get[record.Service](t, w, record.KeyServices+name)
	return s
}

func (w *world) apply(t *testing.T, documents ...string) (request.ApplyResult, error) {
	t.Helper()
	return w.clerk.Apply(t.Context(), request.Apply{File: "x.yaml", Content: []byte(strings.Join(documents, "---\n")), By: "ann"})
}

func (w *world) mustApply(t *testing.T, documents ...string) {
	t.Helper()
	if _, err := w.apply(t, documents...); err != nil {
		t.Fatal(err)
	}
}

// doc is a service with a program, and with an address if one is given.
func doc(name, address string) string {
	out := "kind: service\nname: " + name + "\nparts:\n"
	if address != "" {
		out += "  - address: " + address + "\n"
	}
	return out + "  - exec: [/bin/" + name + "]\n"
}

// code returns the code of a refusal, "" for none.
func code(t *testing.T, err error) string {
	t.Helper()
	var e *request.Error
	switch {
	case err == nil:
		return ""
	case !errors.As(err, &e):
		t.Fatalf("not a *request.Error: %v", err)
	}
	if e.Text == "" || strings.Contains(e.Text, "%!") {
		t.Errorf("a refusal without words: %+v", e)
	}
	return e.Code
}

func equal[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func quietLog() *slog.Logger { return slog.New(slog.DiscardHandler) }
