// Package webd is a small web program to be kept alive: it answers every
// request with the name of its host and the epoch it was started with.
//
// Its one rule: it is up as soon as it is started. It listens on the address
// it is told and gives up if that is not to be had.
package webd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/keelson/keelson/internal/base/clock"
)

// Role is the role of the lab's binary that runs this program.
const Role = "web"

// EpochVariable is the environment variable that holds the epoch.
const EpochVariable = "KEELSON_EPOCH"

const (
	readLimit     = 10 * time.Second
	shutdownLimit = time.Second
)

// Answer is the body of every answer, as JSON.
type Answer struct {
	Host  string        `json:"host"`
	Epoch uint64        `json:"epoch"` // 0 if it was started without one
	PID   int           `json:"pid"`
	Up    time.Duration `json:"up_ns"`
}

// Run serves on the address args[0], such as "10.77.0.100:80", until it gets
// SIGTERM or SIGINT, or ctx ends. environ is read for [EpochVariable].
func Run(ctx context.Context, args, environ []string) error {
	if len(args) != 1 {
		return errors.New("the address to listen on is missing")
	}
	epoch, err := epochOf(environ)
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("ask for the host's name: %w", err)
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	var listening net.ListenConfig
	listener, err := listening.Listen(ctx, "tcp", args[0])
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{
		Handler:           answer(Answer{Host: host, Epoch: epoch, PID: os.Getpid()}, clock.System{}.Boot),
		ReadHeaderTimeout: readLimit,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownLimit)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return fmt.Errorf("stop: %w", errors.Join(err, server.Close()))
	}
	return nil
}

// answer returns the handler; boot is the clock that Up counts on.
func answer(a Answer, boot func() time.Duration) http.Handler {
	began := boot()
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		now := a
		now.Up = boot() - began
		w.Header().Set("Content-Type", "application/json")
		// A client that went away is no concern of ours.
		_ = json.NewEncoder(w).Encode(now)
	})
}

func epochOf(environ []string) (uint64, error) {
	for _, e := range environ {
		text, ok := strings.CutPrefix(e, EpochVariable+"=")
		if !ok || text == "" {
			continue
		}
		epoch, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s is no number: %w", EpochVariable, err)
		}
		return epoch, nil
	}
	return 0, nil
}
