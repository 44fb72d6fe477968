package client_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"go.uber.org/goleak"

	"github.com/keelson/keelson/api/client"
	keelsonv1 "github.com/keelson/keelson/api/keelson/v1"
	"github.com/keelson/keelson/api/keelson/v1/keelsonv1connect"
	"github.com/keelson/keelson/internal/model/request"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cell answers every status with its name.
type cell struct {
	keelsonv1connect.UnimplementedCellServiceHandler
	name string
}

func (c cell) GetStatus(context.Context, *connect.Request[keelsonv1.GetStatusRequest]) (*connect.Response[keelsonv1.GetStatusResponse], error) {
	return connect.NewResponse(&keelsonv1.GetStatusResponse{Status: &keelsonv1.Status{Cell: c.name}}), nil
}

// authority makes certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{cert: cert, key: key, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// issue returns a certificate and its key as PEM.
func (a authority) issue(t *testing.T, usage x509.ExtKeyUsage) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"}, ExtKeyUsage: []x509.ExtKeyUsage{usage},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &private.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
}

// files writes what a client of this authority needs.
func (a authority) files(t *testing.T) client.Files {
	t.Helper()
	dir := t.TempDir()
	cert, key := a.issue(t, x509.ExtKeyUsageClientAuth)
	f := client.Files{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), CA: filepath.Join(dir, "ca.pem")}
	for path, content := range map[string][]byte{f.Cert: cert, f.Key: key, f.CA: a.pem} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// serve answers over TLS with a certificate for usage and returns its address.
func (a authority) serve(t *testing.T, usage x509.ExtKeyUsage) string {
	t.Helper()
	cert, key := a.issue(t, usage)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AddCert(a.cert)
	mux := http.NewServeMux()
	mux.Handle(keelsonv1connect.NewCellServiceHandler(cell{name: "far"}))
	s := httptest.NewUnstartedServer(mux)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients}
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// status asks for the status with o, whose TLS comes from f.
func status(t *testing.T, f client.Files, servers ...string) (string, error) {
	t.Helper()
	conf, err := f.TLS()
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Options{Servers: servers, TLS: conf})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := c.Status(t.Context())
	return s.Name, err
}

func code(t *testing.T, err error) string {
	t.Helper()
	var e *client.Error
	if !errors.As(err, &e) {
		t.Fatalf("not a *client.Error: %v", err)
	}
	return e.Code
}

func TestAServerOfTheCellIsReachedByAnyAddress(t *testing.T) {
	a := newAuthority(t)
	name, err := status(t, a.files(t), a.serve(t, x509.ExtKeyUsageServerAuth))
	if err != nil || name != "far" {
		t.Fatal(name, err)
	}
}

func TestServersAreTriedInTurn(t *testing.T) {
	a := newAuthority(t)
	name, err := status(t, a.files(t), closedPort(t), a.serve(t, x509.ExtKeyUsageServerAuth))
	if err != nil || name != "far" {
		t.Fatal(name, err)
	}
}

func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestWhoIsNotOfTheCellIsNotBelieved(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	_, err := status(t, a.files(t), stranger.serve(t, x509.ExtKeyUsageServerAuth))
	if code(t, err) != "not-this-cell" {
		t.Errorf("a server of another cell: %v", err)
	}
	_, err = status(t, a.files(t), a.serve(t, x509.ExtKeyUsageClientAuth))
	if code(t, err) != "not-this-cell" {
		t.Errorf("a client's certificate that serves: %v", err)
	}

	f := stranger.files(t)
	f.CA = a.files(t).CA
	_, err = status(t, f, a.serve(t, x509.ExtKeyUsageServerAuth))
	if code(t, err) != "certificate-refused" {
		t.Errorf("a client of another cell: %v", err)
	}
}

func TestNobodyThereIsSaidPlainly(t *testing.T) {
	a := newAuthority(t)
	socket := filepath.Join(t.TempDir(), "none.sock")
	tests := []struct {
		name    string
		options client.Options
		want    string
	}{
		{"no socket", client.Options{Socket: socket}, "no keelson agent runs here"},
		{"a closed port", client.Options{Servers: []string{closedPort(t)}}, "connection refused"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conf, err := a.files(t).TLS()
			if err != nil {
				t.Fatal(err)
			}
			tt.options.TLS = conf
			c, err := client.New(tt.options)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, err = c.Status(t.Context())
			var e *client.Error
			if !errors.As(err, &e) || e.Kind != request.Unreachable || !strings.Contains(e.Text, tt.want) || e.Hint == "" {
				t.Errorf("%+v", err)
			}
		})
	}
}

func TestWhoGivesUpIsToldSo(t *testing.T) {
	a := newAuthority(t)
	conf, err := a.files(t).TLS()
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Options{Servers: []string{a.serve(t, x509.ExtKeyUsageServerAuth)}, TLS: conf})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.Status(ctx)
	if code(t, err) != "canceled" {
		t.Error(err)
	}
}

func TestFilesThatCannotBeUsedAreNamed(t *testing.T) {
	good := newAuthority(t).files(t)
	tests := []struct {
		name  string
		files client.Files
		want  string
	}{
		{"no certificate", client.Files{Key: good.Key, CA: good.CA}, "needs --cert"},
		{"no key", client.Files{Cert: good.Cert, CA: good.CA}, "needs --key"},
		{"no authority", client.Files{Cert: good.Cert, Key: good.Key}, "needs --ca"},
		{"a missing file", client.Files{Cert: good.Cert + "x", Key: good.Key, CA: good.CA}, good.Cert + "x cannot be used: no such file"},
		{"a key for a certificate", client.Files{Cert: good.Key, Key: good.Key, CA: good.CA}, good.Key + " and " + good.Key + " cannot be used: failed to find certificate"},
		{"a key for an authority", client.Files{Cert: good.Cert, Key: good.Key, CA: good.Key}, "holds no PEM certificate"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.files.TLS()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
	_, err := client.New(client.Options{Servers: []string{"x:1"}})
	if code(t, err) != "no-certificate" {
		t.Error(err)
	}
}

func TestSomethingElseOnThePortIsNotTakenForACell(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "web.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.NotFoundHandler()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	defer func() {
		s.Close()
		<-done
	}()
	c, err := client.New(client.Options{Socket: socket})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Status(t.Context()); err == nil || code(t, err) == "" {
		t.Error(err)
	}
}
