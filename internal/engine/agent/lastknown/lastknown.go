// Package lastknown keeps the newest of what it is given in a file, for a start
// without the store.
//
// Its one rule: what could not be saved is owed, is tried again until it is saved
// or something newer is, and is told meanwhile. It reads nothing back.
package lastknown

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/atomicfile"
	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/base/logkey"
)

const (
	// Limit bounds the file, in bytes.
	Limit = 32 << 20
	// SaveEvery is the shortest time between two writes.
	SaveEvery = time.Second
	// RetryEvery is after how long what is owed is tried again.
	RetryEvery = 5 * time.Second
)

// Keeper writes one file. Its fields are set once. [Keep] and [Keeper.Save] are for
// one goroutine; [Keeper.Trouble] is safe for concurrent use.
type Keeper struct {
	Path  string
	Clock clock.Clock
	Log   *slog.Logger

	trouble atomic.Pointer[string]
}

// Keep saves the newest of values until ctx ends, then what is still owed.
func Keep[T any](ctx context.Context, k *Keeper, values <-chan T) {
	timer := k.Clock.Timer(RetryEvery)
	defer timer.Stop()
	var owed *T
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			continue
		case v := <-values:
			owed = &v
		case <-timer.C:
		}
		if owed != nil && k.Save(*owed) == nil {
			owed = nil
		}
		timer.Reset(RetryEvery)
		if k.Clock.Sleep(ctx, SaveEvery) != nil {
			break
		}
	}
	select {
	case v := <-values:
		owed = &v
	default:
	}
	if owed != nil && k.Save(*owed) != nil {
		k.Log.Warn("last known state not saved at the end")
	}
}

// Save writes v as JSON. The error is that of the file system or of the encoding,
// or [atomicfile.ErrTooLarge]; it was logged, once for each that is new.
func (k *Keeper) Save(v any) error {
	err := k.write(v)
	was := k.Trouble()
	if err == nil {
		k.trouble.Store(nil)
		if was != "" {
			k.Log.Info("last known state saved again")
		}
		return nil
	}
	text := fmt.Sprintf("What this node knows of the cell is not saved: %s. Until it is, a restart without the store begins with what was saved last; it is tried again every %s.",
		Words(k.Path, err), RetryEvery)
	k.trouble.Store(&text)
	if text != was {
		k.Log.Warn("last known state not saved", logkey.Err, err)
	}
	return err
}

func (k *Keeper) write(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("last known state: %w", err)
	}
	if len(data) > Limit {
		return fmt.Errorf("last known state of %d bytes: %w", len(data), atomicfile.ErrTooLarge)
	}
	return atomicfile.Write(k.Path, data, 0o600)
}

// Words says what the disk refused for the file at path, and what to do.
func Words(path string, err error) string {
	dir := filepath.Dir(path)
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fmt.Sprintf("the disk under %s is full, make room", dir)
	case errors.Is(err, unix.EROFS):
		return fmt.Sprintf("the disk under %s is mounted read-only, look at `dmesg` for why", dir)
	case errors.Is(err, unix.EIO):
		return fmt.Sprintf("the disk under %s does not work, look at `dmesg`", dir)
	}
	return err.Error()
}

// Trouble is a sentence about what could not be saved; empty: all is.
func (k *Keeper) Trouble() string {
	if t := k.trouble.Load(); t != nil {
		return *t
	}
	return ""
}
