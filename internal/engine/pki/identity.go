package pki

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"strings"

	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
)

// NodeHost is a DNS name in the certificate of every node and of nobody else:
// what checks host names only, such as etcd, can tell nodes from operators by it.
const NodeHost = "keelson-node"

const scheme = "keelson"

// Role is what an operator may do.
type Role string

// The roles, from least to most.
const (
	Viewer   Role = "viewer"   // may look
	Operator Role = "operator" // may also change services and drain nodes
	Admin    Role = "admin"    // may also change the cell's members
)

func (r Role) valid() bool { return r == Viewer || r == Operator || r == Admin }

// Identity is who a certificate speaks for: a node if Node is set, else an
// operator with a role.
type Identity struct {
	Cell   string // the cell's id
	Serial string // the certificate's, lower-case hex

	Node   spec.NodeName
	NodeID string

	Operator string // a person's name, for the audit log
	Role     Role
}

// IsNode reports whether the identity is that of a node.
func (i Identity) IsNode() bool { return i.Node != "" }

// String names the identity for people: "node a" or "operator ann".
func (i Identity) String() string {
	if i.IsNode() {
		return "node " + string(i.Node)
	}
	return "operator " + i.Operator
}

// IdentityFrom returns who is at the other end of a connection that was served
// with [Trust.Server] or [Trust.JoinServer]. It returns [ErrNoIdentity] if the
// peer showed no certificate or none that was verified.
func IdentityFrom(cs *tls.ConnectionState) (Identity, error) {
	if cs == nil || len(cs.VerifiedChains) == 0 || len(cs.VerifiedChains[0]) == 0 {
		return Identity{}, say(request.Unknown, ErrNoIdentity, "the caller showed no certificate of this cell", "")
	}
	return identityOf(cs.VerifiedChains[0][0])
}

// identityOf reads the identity in a certificate that has been verified.
func identityOf(cert *x509.Certificate) (Identity, error) {
	id := Identity{Serial: serialText(cert)}
	if len(cert.URIs) != 1 {
		return Identity{}, fmt.Errorf("certificate %s has %d URIs, not one: %w", id.Serial, len(cert.URIs), ErrNoIdentity)
	}
	uri := cert.URIs[0]
	kind, name, ok := strings.Cut(strings.TrimPrefix(uri.Path, "/"), "/")
	id.Cell = uri.Host
	bare := url.URL{Scheme: scheme, Host: uri.Host, Path: uri.Path}
	switch {
	case !ok || id.Cell == "" || uri.String() != bare.String():
	case kind == "node" && spec.NodeName(name).Valid():
		id.Node, id.NodeID = spec.NodeName(name), cert.Subject.SerialNumber
		return id, nil
	case kind == "operator" && Role(name).valid():
		id.Operator, id.Role = cert.Subject.CommonName, Role(name)
		return id, nil
	}
	return Identity{}, fmt.Errorf("certificate %s names %q, which is nobody: %w", id.Serial, uri, ErrNoIdentity)
}

func nodeURI(cell string, name spec.NodeName) *url.URL {
	return &url.URL{Scheme: scheme, Host: cell, Path: "/node/" + string(name)}
}

func operatorURI(cell string, role Role) *url.URL {
	return &url.URL{Scheme: scheme, Host: cell, Path: "/operator/" + string(role)}
}

func serialText(cert *x509.Certificate) string {
	return fmt.Sprintf("%032x", cert.SerialNumber)
}
