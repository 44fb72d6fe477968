package etcdstore

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/keelson/keelson/internal/base/atomicfile"
)

// revoke writes a list of a's that has the certificates of the files.
func (a *authority) revoke(t *testing.T, path string, revoked ...TLSFiles) {
	t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(time.Now().UnixNano()), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour)}
	for _, f := range revoked {
		text, err := os.ReadFile(f.Cert)
		must(t, err)
		block, _ := pem.Decode(text)
		cert, err := x509.ParseCertificate(block.Bytes)
		must(t, err)
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: cert.SerialNumber, RevocationTime: time.Now()})
	}
	issuer := *a.cert
	issuer.KeyUsage |= x509.KeyUsageCRLSign
	issuer.SubjectKeyId = []byte{1}
	der, err := x509.CreateRevocationList(rand.Reader, list, &issuer, a.key)
	must(t, err)
	must(t, atomicfile.Write(path, der, 0o600))
}

// knocks reports whether a server goes on talking to who shows a certificate.
func knocks(t *testing.T, address string, f TLSFiles) bool {
	t.Helper()
	config, err := f.client()
	must(t, err)
	// HTTP/1.1 without a request: a server that lets the caller in waits for one.
	conn, err := (&tls.Dialer{Config: config, NetDialer: &net.Dialer{Timeout: patience}}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		return false
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET /version HTTP/1.1\r\nHost: a\r\n\r\n")); err != nil {
		return false
	}
	must(t, conn.SetReadDeadline(time.Now().Add(patience)))
	n, _ := conn.Read(make([]byte, 1))
	return n == 1
}

func TestARevokedCertificateIsRefusedOnBothPortsWithoutARestart(t *testing.T) {
	ca := newAuthority(t)
	o := options(t, ca, "a")
	o.TLS.Revoked = filepath.Join(t.TempDir(), "revoked.crl")
	startNew(t, o)
	member, removed := ca.valid(t), ca.valid(t)
	ports := map[string]string{"peers": o.ListenPeer, "clients": o.ListenClient}
	for name, address := range ports {
		if !knocks(t, address, member) || !knocks(t, address, removed) {
			t.Fatalf("a valid certificate is refused on the port for %s", name)
		}
	}
	ca.revoke(t, o.TLS.Revoked, removed)
	for name, address := range ports {
		if !knocks(t, address, member) {
			t.Errorf("a member is refused on the port for %s", name)
		}
		if knocks(t, address, removed) {
			t.Errorf("a revoked certificate is let in on the port for %s", name)
		}
	}
	put(t, connect(t, dialOptions(ca, t, o.AdvertiseClient)), "x", "1")
}

func TestAListThatCannotBeReadIsReplacedAtTheStart(t *testing.T) {
	ca := newAuthority(t)
	o := options(t, ca, "a")
	o.TLS.Revoked = filepath.Join(t.TempDir(), "revoked.crl")
	must(t, os.WriteFile(o.TLS.Revoked, []byte("junk"), 0o600))
	startNew(t, o)
	if !knocks(t, o.ListenClient, ca.valid(t)) {
		t.Error("nobody is let in")
	}
	kept := TLSFiles{Revoked: filepath.Join(t.TempDir(), "revoked.crl")}
	removed := ca.valid(t)
	ca.revoke(t, kept.Revoked, removed)
	must(t, kept.prepareRevoked(time.Now()))
	der, err := os.ReadFile(kept.Revoked)
	must(t, err)
	list, err := x509.ParseRevocationList(der)
	must(t, err)
	if len(list.RevokedCertificateEntries) != 1 {
		t.Error("a good list was replaced")
	}
}
