//go:build integration

package test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/keelson/keelson/internal/lab"
	"github.com/keelson/keelson/internal/lab/cell"
)

// operator is the host with an etcd that is no part of Keelson.
const operator = "operator"

// agentFile is where the agent's file lies on the nodes.
const agentFile = "/etc/keelson/agent.yaml"

func TestExternalStoreWithTLS(t *testing.T) {
	l := raise(t, 3, 1, operator)
	pki := newPKI(t, l.Host(operator).Address(1))
	told := etcdTold{Dir: "/var/lib/etcd", Address: l.Host(operator).Address(1), Files: files{"/etc/own/cert.pem", "/etc/own/key.pem", "/etc/own/ca.pem"}}
	for _, h := range l.Hosts() {
		pki.install(t, h)
	}
	startEtcd(t, l, told)
	for _, n := range names(3) {
		writeAgentFile(t, l.Host(n), fmt.Sprintf(`store:
  endpoints: ["https://%s:2379"]
  ca: %s
  cert: %s
  key: %s
  prefix: /shop/
`, told.Address, told.Files.CA, told.Files.Cert, told.Files.Key))
	}
	b := benchOf(t, l, form(t, l, 3, cell.Options{NodeFlags: []string{"--config", agentFile}}), 3)
	b.step("a killed host", func(b *bench) {
		was := b.holder()
		fault := boot()
		b.ready(b.lab.Host(was).Kill(b.t.Context()))
		now := b.movedFrom(fault, was)
		b.ready(b.cell.Boot(b.t.Context(), was))
		b.whole()
		b.stays(now)
	})
	b.step("a store that is away delays no failover", func(b *bench) {
		was := b.holder()
		b.ready(b.lab.Host(operator).Isolate(b.t.Context()))
		time.Sleep(2 * time.Second)
		fault := boot()
		b.ready(b.lab.Host(was).Cut(b.t.Context()))
		now := b.movedFrom(fault, was)
		b.ready(b.lab.HealAll(b.t.Context()))
		b.whole()
		b.stays(now)
	})
}

func TestExternalStoreWithoutTLS(t *testing.T) {
	l := raise(t, 1, 1, operator)
	told := etcdTold{Dir: "/var/lib/etcd", Address: l.Host(operator).Address(1)}
	startEtcd(t, l, told)
	writeAgentFile(t, l.Host("h1"), fmt.Sprintf("store:\n  endpoints: [\"http://%s:2379\"]\n", told.Address))
	b := benchOf(t, l, form(t, l, 1, cell.Options{NodeFlags: []string{"--config", agentFile}}), 1)
	b.step("a killed host comes back", func(b *bench) {
		fault := boot()
		b.ready(b.lab.Host("h1").Kill(b.t.Context()))
		b.ready(b.cell.Boot(b.t.Context(), "h1"))
		b.whole()
		b.answered(fault)
		b.report(fault)
	})
}

func writeAgentFile(t *testing.T, h *lab.Host, text string) {
	t.Helper()
	if err := h.WriteFile(t.Context(), agentFile, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// startEtcd starts an etcd on the operator's host and waits until it is ready.
func startEtcd(t *testing.T, l *lab.Lab, told etcdTold) {
	t.Helper()
	ready := &firstWords{said: make(chan struct{})}
	var errs bytes.Buffer
	command := role(roleEtcd, told)
	command.Stdout, command.Stderr = ready, &errs
	p, err := l.Host(operator).Start(t.Context(), command)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-ready.said:
	case <-p.Done():
		_, err := p.Wait(context.WithoutCancel(t.Context()))
		t.Fatalf("the etcd ended (%v): %s", err, errs.String())
	case <-time.After(overdue):
		t.Fatalf("the etcd was not ready within %s", overdue)
	}
}

// firstWords closes said when something is written.
type firstWords struct {
	once sync.Once
	said chan struct{}
}

func (w *firstWords) Write(p []byte) (int, error) {
	w.once.Do(func() { close(w.said) })
	return len(p), nil
}

// ownPKI is an authority of the operator's own and one certificate, for the
// server and its clients.
type ownPKI struct{ ca, cert, key []byte }

func newPKI(t *testing.T, address string) ownPKI {
	t.Helper()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the operator's own"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, authority, authority, &caKey.PublicKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "etcd"}, IPAddresses: []net.IP{net.ParseIP(address)},
		NotBefore: authority.NotBefore, NotAfter: authority.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, authority, &key.PublicKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return ownPKI{
		ca:   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}),
		cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:  pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}),
	}
}

func (p ownPKI) install(t *testing.T, h *lab.Host) {
	t.Helper()
	for name, data := range map[string][]byte{"ca.pem": p.ca, "cert.pem": p.cert, "key.pem": p.key} {
		if err := h.WriteFile(t.Context(), "/etc/own/"+name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
