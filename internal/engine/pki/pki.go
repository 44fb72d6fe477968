// Package pki says who is who in a cell: its certificate authority, the
// certificates of nodes and operators, join tokens, and the TLS settings that
// rest on them.
//
// Its main rule: an identity is what the cell's own authority has signed,
// never an address or a host name. Every certificate carries exactly one URI,
// keelson://CELL-ID/node/NAME or keelson://CELL-ID/operator/ROLE, and that URI
// is compared. A node keeps its private key for as long as it is a member, so
// that a renewal replaces one file by one rename and no reader ever finds a
// certificate beside the wrong key.
//
// The package refuses every TLS version below 1.3, requests that ask for
// anything but the caller's own name, and certificates of other cells. What
// revocation cannot do: a member of a cell can read the authority's key, so it
// keeps out a removed node that comes back by accident, not a hostile one.
package pki

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/model/request"
)

// Errors. Where a person is to read them they come in a [request.Error], whose
// code is the sentinel's text with dashes: scripts match on it, so the texts
// never change.
var (
	// ErrTokenMalformed means that the text is not a join token, or has a typo.
	ErrTokenMalformed = errors.New("token malformed")
	// ErrTokenUnknown means that the cell has no such token: another cell made
	// it, it was removed, or its secret is wrong.
	ErrTokenUnknown = errors.New("token unknown")
	// ErrTokenUsed means that another node has joined with the token.
	ErrTokenUsed = errors.New("token used")
	// ErrTokenExpired means that the token's time is over.
	ErrTokenExpired = errors.New("token expired")

	// ErrClockOff means that two clocks differ too much to trust a certificate's
	// dates. Nothing was changed; set the clock and try again.
	ErrClockOff = errors.New("clock off")
	// ErrCertificateExpired means that a certificate's time is over.
	ErrCertificateExpired = errors.New("certificate expired")
	// ErrRevoked means that the certificate, or its node, was revoked.
	ErrRevoked = errors.New("certificate revoked")
	// ErrWrongCell means that the other side is not of this cell.
	ErrWrongCell = errors.New("wrong cell")
	// ErrWrongNode means that the other side is of this cell but not who was
	// expected.
	ErrWrongNode = errors.New("wrong node")
	// ErrNoIdentity means that a peer proved no identity, or that this node has
	// no certificate yet.
	ErrNoIdentity = errors.New("no identity")
	// ErrDamaged means that a file of the node's identity cannot be read as what
	// it should be.
	ErrDamaged = errors.New("identity damaged")

	// ErrRequest means that a request is wrong in itself; it can never succeed.
	ErrRequest = errors.New("bad request")
	// ErrNameTaken means that another node has the name.
	ErrNameTaken = errors.New("name taken")
	// ErrAddressTaken means that another node has the address and port.
	ErrAddressTaken = errors.New("address taken")
	// ErrUnreachable means that a node has an address that others cannot reach.
	ErrUnreachable = errors.New("address of one server alone")
	// ErrCellFull means that all [MaxNodes] slots have an owner.
	ErrCellFull = errors.New("cell full")
	// ErrCellExists means that the store holds another cell already.
	ErrCellExists = errors.New("cell exists")
	// ErrNoCell means that the store holds no cell.
	ErrNoCell = errors.New("no cell")
	// ErrNotMember means that no node of that name, with that key, is a member.
	ErrNotMember = errors.New("not a member")
	// ErrStillVoter means that a node votes on leases and cannot be removed yet.
	ErrStillVoter = errors.New("still a voter")
	// ErrConflict means that others changed the same records [maxAttempts] times
	// in a row. Nothing was changed.
	ErrConflict = errors.New("conflict")
)

// Lifetimes and limits.
const (
	// AuthorityLife is how long a cell's authority is valid.
	AuthorityLife = 10 * 365 * 24 * time.Hour
	// CertificateLife is how long a node's certificate is valid.
	CertificateLife = 30 * 24 * time.Hour
	// OperatorLife is the longest that an operator's certificate is valid.
	OperatorLife = 365 * 24 * time.Hour
	// BackDate is how far before its making a certificate's validity begins, so
	// that it is good at once on nodes whose clocks are behind.
	BackDate = time.Hour
	// MaxClockDifference is how far the clock of a joining node may be from that
	// of the node that serves it.
	MaxClockDifference = 5 * time.Minute
	// MaxNodes is how many nodes a cell has at most.
	MaxNodes = 32

	maxRequest = 8 << 10 // bytes of a PEM certificate request
)

// say makes an error with words for people around a sentinel. hint may be empty.
func say(kind request.Kind, sentinel error, text, hint string) error {
	code := strings.ReplaceAll(sentinel.Error(), " ", "-")
	return &request.Error{Kind: kind, Code: code, Text: text, Hint: hint, Err: sentinel}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// badRequest says why a request can never succeed.
func badRequest(format string, args ...any) error {
	return say(request.Invalid, ErrRequest, fmt.Sprintf(format, args...), "")
}
