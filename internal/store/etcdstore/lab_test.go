package etcdstore

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/store"
)

// patience bounds every wait of these tests. Only a broken server reaches it.
const patience = 60 * time.Second

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// authority is a CA of a test.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.cert, a.key = issue(t, filepath.Join(a.dir, "ca.pem"), "", nil, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	return a
}

// files issues a certificate for loopback, valid between the two times.
func (a *authority) files(t *testing.T, from, to time.Time) TLSFiles {
	t.Helper()
	dir := t.TempDir()
	f := TLSFiles{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), CA: filepath.Join(a.dir, "ca.pem")}
	issue(t, f.Cert, f.Key, a, from, to)
	return f
}

func (a *authority) valid(t *testing.T) TLSFiles {
	t.Helper()
	return a.files(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
}

func issue(t *testing.T, certFile, keyFile string, by *authority, from, to time.Time) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test"},
		NotBefore: from, NotAfter: to, BasicConstraintsValid: true, IsCA: by == nil,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	parent, parentKey := template, key
	if by != nil {
		parent, parentKey = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	must(t, err)
	must(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	if keyFile != "" {
		pkcs, err := x509.MarshalPKCS8PrivateKey(key)
		must(t, err)
		must(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs}), 0o600))
	}
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	return cert, key
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// freePort returns a loopback address that was free a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}

func options(t *testing.T, a *authority, name string) ServerOptions {
	t.Helper()
	peer, client := freePort(t), freePort(t)
	return ServerOptions{
		Name: name, Cell: "cell-1", Dir: filepath.Join(t.TempDir(), "etcd"),
		ListenPeer: peer, AdvertisePeer: peer, ListenClient: client, AdvertiseClient: client,
		TLS: a.valid(t), Clock: clock.System{}, Log: slog.New(slog.DiscardHandler),
	}
}

// startNew starts a cell of one server, which the test's end stops.
func startNew(t *testing.T, o ServerOptions) *Server {
	t.Helper()
	s := NewServer(o)
	must(t, s.StartNew(t.Context()))
	stopAtEnd(t, s)
	must(t, s.Ready(bounded(t)))
	return s
}

func stopAtEnd(t *testing.T, s *Server) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
}

func dialOptions(a *authority, t *testing.T, endpoints ...string) ClientOptions {
	t.Helper()
	return ClientOptions{
		Name: "test", Endpoints: endpoints, Prefix: "/keelson/cell-1/", TLS: a.valid(t),
		Clock: clock.System{}, Log: slog.New(slog.DiscardHandler),
	}
}

func connect(t *testing.T, o ClientOptions) *Client {
	t.Helper()
	c, err := NewClient(o)
	must(t, err)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func put(t *testing.T, s store.Store, key, value string) {
	t.Helper()
	done, _, err := s.Txn(bounded(t), nil, []store.Op{{Key: key, Value: []byte(value)}})
	if err != nil || !done {
		t.Fatalf("put %s: %v, %v", key, done, err)
	}
}

func want(t *testing.T, s store.Store, key, value string) {
	t.Helper()
	e, found, err := s.Get(bounded(t), key)
	if err != nil || !found || string(e.Value) != value {
		t.Errorf("get %s = %q, %v, %v; want %q", key, e.Value, found, err, value)
	}
}
