package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/core/mandate"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/store"
)

// ceilingStep is by how much the start of a guard raises the ceiling of ballot
// numbers.
const ceilingStep = 1000

// errNoLease means that the store has no configuration of the lease plane yet.
var errNoLease = errors.New("no lease configuration")

// raiser raises the ceiling for guards that start. While the store does not
// answer, it goes on trying and the guard stays silent.
type raiser struct {
	options *Options
	asked   mailbox[uint64] // a guard's incarnation
	done    chan<- mandate.Raised
}

func (r *raiser) run(ctx context.Context) {
	var guard uint64
	failed := 0
	for {
		if guard == 0 {
			select {
			case guard = <-r.asked:
				failed = 0
			case <-ctx.Done():
				return
			}
		}
		found, err := r.raise(ctx, guard)
		if err == nil {
			select {
			case r.done <- found:
			case <-ctx.Done():
				return
			}
			guard = 0
			continue
		}
		if failed++; failed == 1 {
			r.options.Log.Warn("ceiling of ballots not raised, the guard waits", logkey.Err, err)
		}
		timer := r.options.Clock.Timer(storeRetry.Delay(failed, guard))
		select {
		case <-timer.C:
		case guard = <-r.asked:
			failed = 0
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// errRaced means that another node changed the configuration meanwhile.
var errRaced = errors.New("the lease configuration changed meanwhile")

// raise raises the ceiling once. An answer that is lost costs numbers and no
// more: the next try finds the raised ceiling.
func (r *raiser) raise(ctx context.Context, guard uint64) (mandate.Raised, error) {
	ctx, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	e, ok, err := r.options.Store.Get(ctx, record.KeyLease)
	if err != nil {
		return mandate.Raised{}, err
	}
	if !ok {
		return mandate.Raised{}, errNoLease
	}
	lease, err := parse[record.Lease](e)
	if err != nil {
		return mandate.Raised{}, fmt.Errorf("record %s: %w", e.Key, err)
	}
	out := mandate.Raised{Guard: guard, Floor: lease.Ceiling, Ceiling: lease.Ceiling + ceilingStep, Lease: lease}
	lease.Ceiling = out.Ceiling
	value, err := json.Marshal(lease)
	if err != nil {
		return mandate.Raised{}, fmt.Errorf("record %s: %w", e.Key, err)
	}
	done, _, err := r.options.Store.Txn(ctx,
		[]store.Guard{{Key: e.Key, Revision: e.Revision}}, []store.Op{{Key: e.Key, Value: value}})
	if err != nil {
		return mandate.Raised{}, err
	}
	if !done {
		return mandate.Raised{}, errRaced
	}
	return out, nil
}
