package rpc

import (
	"context"
	"crypto/tls"
	"net/http"

	"github.com/keelson/keelson/internal/model/spec"
)

// Role is what a caller may do; a higher one may all that a lower one may.
type Role uint8

// The roles.
const (
	Nobody   Role = iota // may join with a token
	Viewer               // may look
	Operator             // may also change services and drain nodes
	Admin                // may also change who is in the cell
)

// Identity is who is calling. The zero value is nobody.
type Identity struct {
	Name string // for the records: "local", "operator ann", "node a"
	Role Role
	Node spec.NodeName // set if a node of this cell is calling
}

// Local identifies every caller as an administrator. It is for the local
// socket, whose file's permissions say who may open it.
func Local(*http.Request) (Identity, error) {
	return Identity{Name: "local", Role: Admin}, nil
}

// ByCertificate identifies callers by the client certificate of their TLS
// connection, as read understands it. read is called for every request, so
// that a certificate that was revoked stops working on open connections too;
// it returns the zero Identity for a connection without a certificate.
func ByCertificate(read func(*tls.ConnectionState) (Identity, error)) func(*http.Request) (Identity, error) {
	return func(r *http.Request) (Identity, error) {
		if r.TLS == nil {
			return Identity{}, nil
		}
		return read(r.TLS)
	}
}

type identityKey struct{}

func withIdentity(ctx context.Context, id Identity) context.Context {
	return context.WithValue(ctx, identityKey{}, id)
}

// caller returns who is calling; the gate has put it there.
func caller(ctx context.Context) Identity {
	id, _ := ctx.Value(identityKey{}).(Identity)
	return id
}
