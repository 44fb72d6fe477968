package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
)

// RevocationList says what is no longer valid. It must be fast and safe for
// concurrent use.
type RevocationList interface {
	// Revoked reports whether id, the serial of a certificate in lower-case hex
	// or the id of a node, is revoked.
	Revoked(id string) bool
}

// Trust says whom this node believes and how it proves who it is. Its TLS
// settings read the node's certificate anew when the file changes; they speak
// TLS 1.3 only and never resume a session, so every connection is checked in
// full.
type Trust struct {
	Cell    string // the cell's id
	Files   *Files
	Revoked RevocationList // nil: nothing is revoked
	Clock   clock.Clock
}

// Server returns the settings of a port that serves members and operators
// only. [IdentityFrom] tells who calls. It returns the errors of [Files.CA].
func (t Trust) Server() (*tls.Config, error) {
	return t.serve(tls.RequireAndVerifyClientCert)
}

// JoinServer is like [Trust.Server] but also lets in who shows no certificate,
// for the port where nodes join. Whoever shows one is checked in full; behind
// it, each call but the join must ask [IdentityFrom].
func (t Trust) JoinServer() (*tls.Config, error) {
	return t.serve(tls.VerifyClientCertIfGiven)
}

// Identity is [IdentityFrom] for a request on a connection that is open already:
// it also returns [ErrRevoked] if the caller was revoked since.
func (t Trust) Identity(cs *tls.ConnectionState) (Identity, error) {
	id, err := IdentityFrom(cs)
	if err != nil {
		return Identity{}, err
	}
	if err := t.accept(id); err != nil {
		return Identity{}, err
	}
	return id, nil
}

func (t Trust) serve(auth tls.ClientAuthType) (*tls.Config, error) {
	roots, err := t.roots()
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Time:                   t.Clock.Now,
		ClientAuth:             auth,
		ClientCAs:              roots,
		SessionTicketsDisabled: true,
		GetCertificate:         func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return t.Files.Certificate() },
		VerifyConnection: func(cs tls.ConnectionState) error {
			if len(cs.PeerCertificates) == 0 {
				return nil // ClientAuth has said whether this is allowed
			}
			_, err := t.Identity(&cs)
			return err
		},
	}, nil
}

// Client returns the settings to call a node of the cell: the one named, or
// any if node is empty. The other side's address and host name do not matter.
// A handshake ends with [ErrWrongCell], [ErrWrongNode], [ErrRevoked],
// [ErrClockOff] or [ErrCertificateExpired]; the last two may also be about this
// node's own certificate. Client returns the errors of [Files.CA].
func (t Trust) Client(node spec.NodeName) (*tls.Config, error) {
	roots, err := t.roots()
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		Time:       t.Clock.Now,
		ServerName: NodeHost,
		// VerifyConnection does all that is skipped here, with the node's
		// identity in place of its host name.
		InsecureSkipVerify:   true,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return t.own() },
		VerifyConnection: func(cs tls.ConnectionState) error {
			id, err := checkServer(cs.PeerCertificates, roots, t.Clock.Now())
			if err != nil {
				return err
			}
			if err := t.accept(id); err != nil {
				return err
			}
			if node != "" && id.Node != node {
				return say(request.Denied, ErrWrongNode,
					fmt.Sprintf("the host that should be node %s is node %s", node, id.Node),
					"check the addresses of both nodes")
			}
			return nil
		},
	}, nil
}

// Pinned returns the settings to join with token: the other side must be a
// node whose authority is the one pinned in the token. No certificate of this
// node is shown. A handshake ends with [ErrWrongCell] if it is another
// authority, and with [ErrClockOff] if this host's clock and the dates of the
// certificate do not fit.
func Pinned(token Token, clk clock.Clock) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		Time:               clk.Now,
		ServerName:         NodeHost,
		InsecureSkipVerify: true, // VerifyConnection checks against the pinned authority
		VerifyConnection: func(cs tls.ConnectionState) error {
			roots := x509.NewCertPool()
			found := false
			for _, cert := range cs.PeerCertificates {
				if token.Pins(cert) {
					roots.AddCert(cert)
					found = true
				}
			}
			if !found {
				return say(request.Denied, ErrWrongCell, "the host that answers is not of the cell that made the token",
					"check the address and its port (a node answers at its API's port, 7480 unless it was given another), and that the token is from the same cell; nothing secret was sent")
			}
			_, err := checkServer(cs.PeerCertificates, roots, clk.Now())
			if errors.Is(err, ErrCertificateExpired) {
				// A live node renews in time, so it is rather this clock.
				return datesDoNotFit(cs.PeerCertificates[0], clk.Now())
			}
			return err
		},
	}
}

func (t Trust) roots() (*x509.CertPool, error) {
	root, err := t.Files.CA()
	if err != nil {
		return nil, err
	}
	return poolOf(root), nil
}

func poolOf(root *x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(root)
	return pool
}

// own returns this node's certificate if it is valid now.
func (t Trust) own() (*tls.Certificate, error) {
	pair, err := t.Files.Certificate()
	if err != nil {
		return nil, err
	}
	now := t.Clock.Now()
	switch leaf := pair.Leaf; {
	case now.Before(leaf.NotBefore):
		return nil, datesDoNotFit(leaf, now)
	case now.After(leaf.NotAfter):
		return nil, expired(leaf, now)
	}
	return pair, nil
}

// accept checks what the signature does not say.
func (t Trust) accept(id Identity) error {
	if id.Cell != t.Cell {
		return say(request.Denied, ErrWrongCell, fmt.Sprintf("%s is of another cell (%s)", id, id.Cell),
			"check the address")
	}
	if t.Revoked == nil {
		return nil
	}
	if t.Revoked.Revoked(id.Serial) || id.NodeID != "" && t.Revoked.Revoked(id.NodeID) {
		return say(request.Denied, ErrRevoked, fmt.Sprintf("the certificate of %s was revoked", id),
			"a node that was removed can join again with a new token")
	}
	return nil
}

// checkServer verifies that chain begins with a node's certificate signed by
// one of roots and valid now, and returns whose it is.
func checkServer(chain []*x509.Certificate, roots *x509.CertPool, now time.Time) (Identity, error) {
	if len(chain) == 0 {
		return Identity{}, say(request.Denied, ErrNoIdentity, "the other side showed no certificate", "")
	}
	leaf := chain[0]
	options := x509.VerifyOptions{
		Roots: roots, CurrentTime: now, DNSName: NodeHost,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	_, err := leaf.Verify(options)
	if bad, ok := errors.AsType[x509.CertificateInvalidError](err); ok && bad.Reason == x509.Expired {
		// Say so only of a certificate that is ours but for the date.
		options.CurrentTime = leaf.NotAfter
		if _, other := leaf.Verify(options); other != nil {
			return Identity{}, foreign(other)
		}
		if now.Before(leaf.NotBefore) {
			return Identity{}, datesDoNotFit(leaf, now)
		}
		return Identity{}, expired(leaf, now)
	}
	if err != nil {
		return Identity{}, foreign(err)
	}
	id, err := identityOf(leaf)
	if err != nil {
		return Identity{}, foreign(err)
	}
	if !id.IsNode() {
		return Identity{}, foreign(fmt.Errorf("%s is not a node", id))
	}
	return id, nil
}

func foreign(err error) error {
	return say(request.Denied, ErrWrongCell, fmt.Sprintf("the host that answers is no node of this cell: %s", err),
		"check the address; another program or another cell may listen there")
}

func datesDoNotFit(cert *x509.Certificate, now time.Time) error {
	return say(request.Refused, ErrClockOff,
		fmt.Sprintf("this host's clock says %s, but the certificate of %s is valid from %s to %s",
			stamp(now), cert.Subject.CommonName, stamp(cert.NotBefore), stamp(cert.NotAfter)),
		"compare `date -u` on both hosts, set the clock that is wrong (NTP keeps it right), and try again")
}

func expired(cert *x509.Certificate, now time.Time) error {
	return say(request.Refused, ErrCertificateExpired,
		fmt.Sprintf("the certificate of %s expired at %s; this host's clock says %s",
			cert.Subject.CommonName, stamp(cert.NotAfter), stamp(now)),
		"if the clock is wrong, set it; otherwise join "+cert.Subject.CommonName+" again with a new token, which keeps its name and place")
}
