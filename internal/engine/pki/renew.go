package pki

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"time"

	"github.com/keelson/keelson/internal/base/backoff"
	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/request"
)

// Signer gets a new certificate for this node. [Registrar.SignerFor] is one that
// asks the store, [OfflineSigner] one that asks nobody; a call to another node
// is the third.
type Signer interface {
	// RenewCertificate sends a PEM certificate request and returns what came of
	// it. It may be called again after any error.
	RenewCertificate(ctx context.Context, csr []byte) (request.Renewed, error)
}

// Times of the renewal.
const (
	// renewLeft is the share of a certificate's life that is left when it is
	// renewed at the latest; the seed brings it forward by up to renewSpread.
	renewLeft   = 3
	renewSpread = 12

	// renewLook is how often the file is looked at: somebody else may have
	// replaced it, and the wall clock may have been set.
	renewLook = 10 * time.Minute
	// renewTimeout bounds one attempt.
	renewTimeout = 30 * time.Second
)

var renewRetry = backoff.Backoff{Min: time.Minute, Max: time.Hour, Jitter: 0.3}

// Renewer keeps the certificate in Files fresh.
type Renewer struct {
	Files  *Files
	Signer Signer
	Clock  clock.Clock
	Log    *slog.Logger
	// Seed spreads the renewals of nodes that joined at the same moment.
	Seed uint64
	// Renewed is called after each renewal, with when the new certificate
	// expires. It may be nil.
	Renewed func(expires time.Time)
}

// Run renews the certificate when a third of its life is left, and tries again
// after a failure, until ctx ends; it returns ctx's error. A certificate that
// has expired, or is of a time to come because the clock was wrong when it was
// signed, is renewed too, if the Signer can.
func (r *Renewer) Run(ctx context.Context) error {
	failed := 0
	for {
		wait, err := r.step(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			failed, wait = 0, min(wait, renewLook)
		} else {
			failed++
			wait = renewRetry.Delay(failed, r.Seed)
			r.complain(ctx, err, wait)
		}
		if err := r.Clock.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// step renews the certificate if it is due, and returns how long until it is.
func (r *Renewer) step(ctx context.Context) (time.Duration, error) {
	pair, err := r.Files.Certificate()
	if err != nil {
		return 0, err
	}
	now := r.Clock.Now()
	due := renewDue(pair.Leaf.NotBefore, pair.Leaf.NotAfter, r.Seed)
	if now.Before(due) && !now.Before(pair.Leaf.NotBefore) {
		return due.Sub(now), nil
	}
	key, err := r.Files.Key()
	if err != nil {
		return 0, err
	}
	csr, err := NewRequest(key, pair.Leaf.Subject.CommonName)
	if err != nil {
		return 0, err
	}
	limited, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	got, err := r.Signer.RenewCertificate(limited, csr)
	if err != nil {
		return 0, fmt.Errorf("renew the certificate of %s: %w", pair.Leaf.Subject.CommonName, err)
	}
	expires, err := r.take(got, now)
	if err != nil {
		return 0, err
	}
	r.Log.InfoContext(ctx, "certificate renewed", logkey.Node, pair.Leaf.Subject.CommonName, "expires", expires)
	if r.Renewed != nil {
		r.Renewed(expires)
	}
	return renewLook, nil
}

// take checks a new certificate as this node's peers would, and keeps it.
func (r *Renewer) take(got request.Renewed, now time.Time) (time.Time, error) {
	root, err := r.Files.CA()
	if err != nil {
		return time.Time{}, err
	}
	old, err := r.Files.Certificate()
	if err != nil {
		return time.Time{}, err
	}
	leaf, err := decodeCert(got.Certificate)
	if err != nil {
		return time.Time{}, fmt.Errorf("read the new certificate: %w: %w", ErrDamaged, err)
	}
	id, err := checkServer([]*x509.Certificate{leaf}, poolOf(root), now)
	if err != nil {
		return time.Time{}, fmt.Errorf("check the new certificate: %w", err)
	}
	before, err := identityOf(old.Leaf)
	if err != nil {
		return time.Time{}, fmt.Errorf("read the old certificate: %w", err)
	}
	if id.Cell != before.Cell || id.Node != before.Node || id.NodeID != before.NodeID {
		return time.Time{}, fmt.Errorf("the new certificate is for %s of cell %s: %w", id, id.Cell, ErrWrongNode)
	}
	if err := r.Files.Install(got.Certificate, encodeCert(root.Raw)); err != nil {
		return time.Time{}, err
	}
	return leaf.NotAfter, nil
}

func (r *Renewer) complain(ctx context.Context, err error, wait time.Duration) {
	level := slog.LevelWarn
	left := time.Duration(-1)
	if pair, err := r.Files.Certificate(); err == nil {
		left = pair.Leaf.NotAfter.Sub(r.Clock.Now())
	}
	if left < CertificateLife/10 {
		level = slog.LevelError
	}
	r.Log.Log(ctx, level, "certificate not renewed", logkey.Err, err, "left", left.Round(time.Minute), "retry", wait.Round(time.Second))
}

// renewDue returns when a certificate should be renewed: when a third of its
// life is left, or up to a twelfth of its life earlier, as seed says.
func renewDue(from, to time.Time, seed uint64) time.Time {
	life := to.Sub(from)
	early := backoff.Backoff{Min: life / renewSpread, Jitter: 1}.Delay(1, seed)
	return to.Add(-life/renewLeft - early)
}

// OfflineSigner renews without the store, with the authority's key at hand:
// the way out for a cell that was switched off for so long that every
// certificate in it has expired, and with them the way to the store.
type OfflineSigner struct {
	Authority *Authority
	Node      record.Node
	Clock     clock.Clock
}

// RenewCertificate signs the request for the signer's node. It returns
// [ErrNotMember] if the request is not for that node's key, and [ErrRequest],
// [ErrClockOff] or [ErrCertificateExpired].
func (s OfflineSigner) RenewCertificate(_ context.Context, csr []byte) (request.Renewed, error) {
	checked, err := checkRequest(csr, string(s.Node.Name))
	if err != nil {
		return request.Renewed{}, err
	}
	if !bytes.Equal(s.Node.KeyHash, checked.keyHash) {
		return request.Renewed{}, otherKey(s.Node.Name)
	}
	issued, err := s.Authority.SignNode(csr, s.Node, s.Clock.Now())
	if err != nil {
		return request.Renewed{}, err
	}
	return request.Renewed{Certificate: issued.Certificate, CA: s.Authority.CertPEM()}, nil
}
