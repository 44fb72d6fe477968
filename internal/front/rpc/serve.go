package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/keelson/keelson/internal/base/logkey"
)

// Limits of a server.
const (
	headerTimeout  = 10 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 32 << 10
	// FarewellTimeout is how long calls may go on once the server is stopping.
	FarewellTimeout = 3 * time.Second
	pingEvery       = 10 * time.Second
	pingTimeout     = 5 * time.Second
)

type stoppingKey struct{}

// Serve answers on l until ctx ends, and closes it. With conf it speaks TLS;
// nil is for the local socket. When ctx ends, streams end at once and other
// calls have [FarewellTimeout] to finish. It returns ctx's error, or why it
// could not go on.
func Serve(ctx context.Context, l net.Listener, conf *tls.Config, h http.Handler, log *slog.Logger) error {
	base := context.WithValue(context.WithoutCancel(ctx), stoppingKey{}, ctx)
	server := &http.Server{
		Handler: h, TLSConfig: conf,
		ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		BaseContext: func(net.Listener) context.Context { return base },
		ErrorLog:    slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		HTTP2:       &http.HTTP2Config{SendPingTimeout: pingEvery, PingTimeout: pingTimeout},
	}
	ended := make(chan error, 1)
	go func() {
		if conf != nil {
			ended <- server.ServeTLS(l, "", "")
			return
		}
		ended <- server.Serve(l)
	}()

	select {
	case err := <-ended:
		return fmt.Errorf("serve the API on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	farewell, cancel := context.WithTimeout(base, FarewellTimeout)
	defer cancel()
	if err := server.Shutdown(farewell); err != nil {
		// Calls that do not finish are cut.
		err = server.Close()
		if err != nil && !errors.Is(err, net.ErrClosed) {
			log.DebugContext(base, "API not closed cleanly", logkey.Err, err)
		}
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		log.DebugContext(base, "API ended with an error", logkey.Err, err)
	}
	return ctx.Err()
}
