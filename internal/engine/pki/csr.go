package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
)

// PEM types.
const (
	pemCertificate = "CERTIFICATE"
	pemRequest     = "CERTIFICATE REQUEST"
	pemKey         = "PRIVATE KEY"
)

// NewRequest returns a PEM certificate request for name, signed with key. It
// asks for the name and nothing else: the authority knows the rest.
func NewRequest(key *ecdsa.PrivateKey, name string) ([]byte, error) {
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate request for %s: %w", name, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemRequest, Bytes: der}), nil
}

// checkedRequest is a certificate request that may be signed.
type checkedRequest struct {
	key     *ecdsa.PublicKey
	keyHash []byte // SHA-256 of the key as in the certificate
}

// checkRequest reads a PEM certificate request and refuses it with
// [ErrRequest] unless it is for name, holds a P-256 key, is signed with that
// key, and asks for nothing more.
func checkRequest(csr []byte, name string) (checkedRequest, error) {
	if len(csr) > maxRequest {
		return checkedRequest{}, badRequest("the certificate request has %d bytes; the limit is %d", len(csr), maxRequest)
	}
	block, rest := pem.Decode(csr)
	if block == nil || block.Type != pemRequest || len(bytes.TrimSpace(rest)) > 0 {
		return checkedRequest{}, badRequest("the certificate request is not a single PEM block of type %s", pemRequest)
	}
	req, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return checkedRequest{}, badRequest("the certificate request cannot be read: %s", err)
	}
	if err := req.CheckSignature(); err != nil {
		return checkedRequest{}, badRequest("the certificate request is not signed with its own key")
	}
	key, ok := req.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return checkedRequest{}, badRequest("the certificate request has a key that is not ECDSA P-256")
	}
	if req.Subject.CommonName != name || len(req.Subject.Names) != 1 {
		return checkedRequest{}, badRequest("the certificate request is for %q, not for %q alone", req.Subject, name)
	}
	if len(req.Extensions) > 0 {
		return checkedRequest{}, badRequest("the certificate request asks for more than a name")
	}
	hash := sha256.Sum256(req.RawSubjectPublicKeyInfo)
	return checkedRequest{key: key, keyHash: hash[:]}, nil
}

// newKey returns a new ECDSA P-256 key: TLS 1.3, etcd, curl and browsers all
// take it.
func newKey() (*ecdsa.PrivateKey, error) {
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der}), nil
}

// decodeKey reads a PEM key, which must be ECDSA P-256.
func decodeKey(text []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != pemKey {
		return nil, fmt.Errorf("no PEM block of type %s", pemKey)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("the key is not ECDSA P-256")
	}
	return key, nil
}

// decodeCert reads the first PEM certificate of text.
func decodeCert(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != pemCertificate {
		return nil, fmt.Errorf("no PEM block of type %s", pemCertificate)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	return cert, nil
}

func encodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der})
}
