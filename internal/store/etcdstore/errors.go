package etcdstore

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"syscall"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keelson/keelson/internal/store"
)

// What can be wrong with a server or its cluster.
var (
	// ErrPortInUse means that another program listens on a port of the server.
	// Nothing was started.
	ErrPortInUse = errors.New("port in use")

	// ErrNoAddress means that this host lacks the address to listen on. Nothing
	// was started.
	ErrNoAddress = errors.New("address is not on this host")

	// ErrDiskFull means that the disk under the data directory is full. What was
	// written before is intact; make room and start again.
	ErrDiskFull = errors.New("disk full")

	// ErrFull means that the store has reached its size limit and takes no
	// writes any more; reads go on.
	ErrFull = errors.New("store is full")

	// ErrCorrupt means that the data directory cannot be read as what it was
	// written. It is left as it is.
	ErrCorrupt = errors.New("data directory is corrupted")

	// ErrForeign means that the data directory belongs to another cell or node.
	// It is left as it is.
	ErrForeign = errors.New("data directory belongs to another cell or node")

	// ErrInUse means that another process has the data directory open.
	ErrInUse = errors.New("data directory is in use")

	// ErrNoData means that there is no data directory to restart from.
	ErrNoData = errors.New("no data directory")

	// ErrRemoved means that this node's vote was taken away by the others. Its
	// data directory is of no further use to the cell.
	ErrRemoved = errors.New("this node was removed from the cell")

	// ErrStopped means that the server stopped by a fault of its own.
	ErrStopped = errors.New("store server stopped")

	// ErrBroken means that a server ended so badly that this process still has
	// its ports and files. Start the process anew; nothing else helps.
	ErrBroken = errors.New("store server broke: restart the agent")

	// ErrCertificate means that a certificate is not valid by this host's clock:
	// either the certificate has expired or the clock is wrong.
	ErrCertificate = errors.New("certificate is not valid at this host's time")

	// ErrExternal means that the store is an etcd cluster of the operator's own,
	// whose members Keelson does not touch.
	ErrExternal = errors.New("the store is an external etcd cluster: change its members with its own tools")
)

// translate turns an answer of etcd into an error of this package's contract.
// ctx is the caller's own.
func translate(ctx context.Context, err error) error {
	if cause := ctx.Err(); errors.Is(cause, context.Canceled) {
		return cause
	} else if cause != nil {
		return fmt.Errorf("%w: %w: %w", store.ErrUnavailable, cause, err)
	}
	for from, to := range map[error]error{
		rpctypes.ErrCompacted:              store.ErrCompacted,
		rpctypes.ErrRequestTooLarge:        store.ErrTooLarge,
		rpctypes.ErrTooManyOps:             store.ErrTooLarge,
		rpctypes.ErrLeaseNotFound:          store.ErrSessionEnded,
		rpctypes.ErrNoSpace:                ErrFull,
		rpctypes.ErrMemberLearnerNotReady:  store.ErrBehind,
		rpctypes.ErrUnhealthy:              store.ErrUnhealthy,
		rpctypes.ErrMemberNotEnoughStarted: store.ErrUnhealthy,
		rpctypes.ErrTooManyLearners:        store.ErrUnhealthy,
		rpctypes.ErrMemberNotFound:         store.ErrUnknownMember,
	} {
		if errors.Is(err, from) {
			return to
		}
	}
	if passing(err) {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return err
}

// passing reports whether err may be gone at the next try. Whether a write has
// happened is open then.
func passing(err error) bool {
	if errors.Is(err, rpctypes.ErrUnhealthy) {
		return false // it is code Unavailable, but an answer
	}
	for _, answer := range []error{
		rpctypes.ErrTooManyRequests, rpctypes.Error(rpctypes.ErrGRPCNotSupportedForLearner), // another server may take it
		context.DeadlineExceeded, context.Canceled,
	} {
		if errors.Is(err, answer) {
			return true
		}
	}
	code := status.Code(err)
	var typed rpctypes.EtcdError
	if errors.As(err, &typed) {
		code = typed.Code()
	}
	switch code {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Internal, codes.Aborted,
		codes.Unknown: // a server that stops cuts its answers off
		return true
	default:
		return false
	}
}

// explainStart gives an error of the server's start its sentinel.
func explainStart(o ServerOptions, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w: another program listens on %s or %s: %w", ErrPortInUse, o.ListenPeer, o.ListenClient, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%w: %s or %s: %w", ErrNoAddress, o.ListenPeer, o.ListenClient, err)
	case full(err):
		return fmt.Errorf("%w: no room under %s: %w", ErrDiskFull, o.Dir, err)
	}
	return err
}

func full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// timeFault reports whether err says that a certificate is not valid at this
// host's time.
func timeFault(err error) bool {
	var invalid x509.CertificateInvalidError
	return errors.As(err, &invalid) && invalid.Reason == x509.Expired
}
