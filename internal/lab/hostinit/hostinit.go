// Package hostinit is PID 1 of a lab host: it makes the host's own view of the
// machine, starts programs for the lab, and reaps orphans until the host is
// powered off.
//
// Its one rule: nothing that a host does is left on the machine. All that it
// may write to lies on the lab's tmpfs; the rest of the machine's files are
// there to read and run, but not to change. It never starts anything by
// itself.
package hostinit

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/keelson/keelson/internal/lab/wire"
)

// ReadyLine is what an init writes to its standard output when the host stands.
// Anything else there is an error's text.
const ReadyLine = "ready\n"

// BinDir is the first directory of PATH in every host: shares go there.
const BinDir = "/run/lab/bin"

// Self is the lab's own binary within a host.
const Self = "/run/lab/self"

// Run is the whole life of a host's init. It reads a [wire.InitConfig] from
// stdin, builds the host, says so on stdout, and serves the lab on control
// until the connection ends; then it goes on reaping. It returns only on
// failure, having written the reason to stdout. Only PID 1 of new namespaces
// may call it.
func Run(ctx context.Context, stdin io.Reader, stdout io.WriteCloser, control *os.File) error {
	var cfg wire.InitConfig
	err := json.NewDecoder(stdin).Decode(&cfg)
	if err != nil {
		err = fmt.Errorf("read the host's configuration: %w", err)
	}

	// A cgroup namespace belongs to a thread and to those it starts, so the
	// same thread builds the host and starts every program in it.
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	onThread := func(f func()) {
		done := make(chan struct{})
		work <- func() { defer close(done); f() }
		<-done
	}

	if err == nil {
		onThread(func() { err = build(cfg) })
	}
	var peer *wire.Peer
	if err == nil {
		peer, err = wire.NewPeer(control)
	}
	if err != nil {
		_, _ = io.WriteString(stdout, err.Error()) // the stage reports it
		_ = stdout.Close()
		return err
	}

	t := newTable(cfg, peer, onThread)
	go t.reap()
	_, err = io.WriteString(stdout, ReadyLine)
	_ = stdout.Close()
	if err != nil {
		return fmt.Errorf("tell the stage that the host stands: %w", err)
	}
	if err := peer.Run(ctx, t.handle); err != nil {
		return fmt.Errorf("serve the lab: %w", err)
	}
	select {} // the stage notices that the lab is gone and ends this
}
