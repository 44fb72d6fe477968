package agent

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"runtime"
	"time"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
)

// Options are what an agent needs.
type Options struct {
	Node   spec.NodeName
	Store  store.Store
	Guard  Guard
	Parts  map[string]Part // by kind, see [spec.Part.Kind]
	Checks Checker
	Events Events
	Clock  clock.Clock
	Log    *slog.Logger

	// JournalDir is where the agent writes what may run. It must be empty after
	// a reboot and is made if needed.
	JournalDir string
	// LastKnown is the file with the copy of what the cell wanted last. It must
	// survive a reboot. Its folder exists.
	LastKnown string
	// PartsDir and LogsDir hold one folder a service and in it one a part.
	PartsDir string
	LogsDir  string

	// AtOnce is how many starts and promotions may be under way at the same time;
	// 0: twice the number of CPUs, and 8. Stops are not bounded.
	AtOnce int

	// Warnings are what drivers have to say about this host; nil: nothing.
	Warnings func() []string
	// Interfaces are the names of this host's network interfaces; nil: not told.
	Interfaces func() []string

	// Health is how well this host is, by its own word, and a sentence if that cannot
	// be said; nil: it is well.
	Health func() (record.Health, string)

	// Resolve returns the addresses of a host name. Nil: nodes are known by IP
	// addresses only.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
}

// ErrOptions means that an agent cannot be made of its options: a programmer's
// error.
var ErrOptions = errors.New("agent options incomplete")

func (o Options) check() error {
	var failed []error
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"Node", o.Node.Valid()},
		{"Store", o.Store != nil},
		{"Guard", o.Guard != nil},
		{"Parts", len(o.Parts) > 0},
		{"Checks", o.Checks != nil},
		{"Events", o.Events != nil},
		{"Clock", o.Clock != nil},
		{"Log", o.Log != nil},
		{"JournalDir", o.JournalDir != ""},
		{"LastKnown", o.LastKnown != ""},
		{"PartsDir", o.PartsDir != ""},
		{"LogsDir", o.LogsDir != ""},
	} {
		if !f.set {
			failed = append(failed, errors.New(f.name))
		}
	}
	if len(failed) > 0 {
		return errors.Join(ErrOptions, errors.Join(failed...))
	}
	return nil
}

func (o Options) atOnce() int {
	if o.AtOnce > 0 {
		return o.AtOnce
	}
	return 2*runtime.NumCPU() + 8
}

// emit tells an event with both clocks of this moment.
func (o *Options) emit(e event.Event) {
	e.Node = o.Node
	if e.Boot == 0 {
		e.At, e.Boot = o.Clock.Now(), o.Clock.Boot()
	}
	o.Events.Emit(e)
}

// mailbox holds the newest of the values that one sender puts in. Putting never
// blocks.
type mailbox[T any] chan T

func newMailbox[T any]() mailbox[T] { return make(mailbox[T], 1) }

// put replaces what has not been taken yet. Only one goroutine may put.
func (m mailbox[T]) put(v T) {
	select {
	case <-m:
	default:
	}
	m <- v
}

// storeLimit bounds one call of the store.
const storeLimit = 5 * time.Second
