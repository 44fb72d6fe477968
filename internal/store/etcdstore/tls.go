package etcdstore

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
	"fmt"
	"math/big"
	"net"
	"os"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"google.golang.org/grpc/credentials"

	"github.com/keelson/keelson/internal/base/atomicfile"
)

// TLSFiles names the PEM files of a node's certificate, its key and the CA that
// the other side must have. Certificate and key are read again at every
// handshake, so a renewed certificate needs no restart. The zero value means no
// TLS and is for external stores only; CA alone means a client without a
// certificate.
type TLSFiles struct {
	Cert, Key, CA string
	// Revoked names a certificate revocation list (DER) of the CA, which a server
	// reads at every handshake: whoever shows a certificate of it is refused. A
	// server that starts without a readable one makes an empty one in its place.
	// Empty: nobody is revoked.
	Revoked string
}

var errNoCertificate = errors.New("no PEM certificate in the file")

// client returns the configuration for dialing, nil if there is no TLS.
func (f TLSFiles) client() (*tls.Config, error) {
	if f == (TLSFiles{}) {
		return nil, nil
	}
	authorities := x509.NewCertPool()
	pemBytes, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, fmt.Errorf("read the CA's certificate: %w", err)
	}
	if !authorities.AppendCertsFromPEM(pemBytes) {
		return nil, fmt.Errorf("read the CA's certificate: %s: %w", f.CA, errNoCertificate)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authorities}
	if f.Cert != "" {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
			return &pair, err
		}
	}
	return config, nil
}

// server returns what the embedded server needs to listen with mutual TLS. With
// a name, only certificates for that DNS name are let in.
//
// The address in a certificate is not compared with the one a peer calls from:
// a node may have several.
func (f TLSFiles) server(name string) transport.TLSInfo {
	var names []string
	if name != "" {
		names = []string{name}
	}
	return transport.TLSInfo{
		AllowedHostnames: names,
		CertFile:         f.Cert, KeyFile: f.Key, TrustedCAFile: f.CA,
		ClientCertAuth: true, SkipClientSANVerify: true, CRLFile: f.Revoked,
	}
}

// prepareRevoked makes an empty list of revoked certificates if there is none
// that can be read: etcd would let nobody in. It reads the serials only, so the
// key that signs the list is of no account and is not kept.
func (f TLSFiles) prepareRevoked(now time.Time) error {
	if f.Revoked == "" {
		return nil
	}
	if der, err := os.ReadFile(f.Revoked); err == nil {
		if _, err := x509.ParseRevocationList(der); err == nil {
			return nil
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	issuer := &x509.Certificate{KeyUsage: x509.KeyUsageCRLSign, SubjectKeyId: []byte{1}, Subject: pkix.Name{CommonName: "nobody"}}
	empty := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now, NextUpdate: now.Add(time.Hour)}
	der, err := x509.CreateRevocationList(rand.Reader, empty, issuer, key)
	if err != nil {
		return fmt.Errorf("make an empty list of revoked certificates: %w", err)
	}
	return atomicfile.Write(f.Revoked, der, 0o600)
}

// check returns [ErrCertificate] if the certificate is not valid at now, and
// other errors if it cannot be read.
func (f TLSFiles) check(now time.Time) error {
	for _, name := range []string{f.Cert, f.CA} {
		if name == "" {
			continue
		}
		pemBytes, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("read a certificate: %w", err)
		}
		block, _ := pem.Decode(pemBytes)
		if block == nil {
			return fmt.Errorf("read a certificate: %s: %w", name, errNoCertificate)
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("read a certificate: %s: %w", name, err)
		}
		if now.Before(certificate.NotBefore) || now.After(certificate.NotAfter) {
			return fmt.Errorf("%w: %s is valid from %s to %s, and this host's clock says %s: set the clock or renew the certificate",
				ErrCertificate, name, day(certificate.NotBefore), day(certificate.NotAfter), day(now))
		}
	}
	return nil
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

// listening is a dialer's credentials that remember why the last handshake
// failed: gRPC itself keeps only the text.
type listening struct {
	credentials.TransportCredentials
	failure *atomic.Pointer[error]
}

// ClientHandshake implements [credentials.TransportCredentials].
func (l listening) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secure, info, err := l.TransportCredentials.ClientHandshake(ctx, authority, conn)
	if err != nil {
		l.failure.Store(&err)
	} else {
		l.failure.Store(nil)
	}
	return secure, info, err
}

// Clone implements [credentials.TransportCredentials].
func (l listening) Clone() credentials.TransportCredentials {
	return listening{l.TransportCredentials.Clone(), l.failure}
}
