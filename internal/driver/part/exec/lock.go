package exec

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/model/instance"
)

// Pauses between two tries to get a lock.
const (
	firstTry = time.Millisecond
	lastTry  = 50 * time.Millisecond
)

// lock keeps every other start and stop of the part out, also those of another
// agent, until unlock is called or this process dies. It waits for its turn
// until ctx ends. It makes the run folder.
func (d *Driver) lock(ctx context.Context, run instance.Run) (unlock func(), err error) {
	if err := os.MkdirAll(run.RunDir, 0o700); err != nil {
		return nil, fmt.Errorf("lock %s: %w", run.Key(), err)
	}
	f, err := os.OpenFile(filepath.Join(run.RunDir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", run.Key(), err)
	}
	for pause := firstTry; ; pause = min(2*pause, lastTry) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil // closing unlocks
		}
		if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.EINTR) {
			if err = d.clock.Sleep(ctx, pause); err == nil {
				continue
			}
			err = fmt.Errorf("another start or stop of it is under way: %w", err)
		}
		return nil, errors.Join(fmt.Errorf("lock %s: %w", run.Key(), err), f.Close())
	}
}
