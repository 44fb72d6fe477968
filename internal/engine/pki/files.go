package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/keelson/keelson/internal/base/atomicfile"
	"github.com/keelson/keelson/internal/model/request"
)

// Files is the folder with a node's identity: ca.crt, node.crt and node.key.
//
// The key is made once, before the first certificate, and stays. What is read
// is kept in memory until a file changes. Files is safe for concurrent use,
// also by several processes that only read.
type Files struct {
	dir string

	mu     sync.Mutex
	pair   *tls.Certificate
	pairAt [2]version // of node.crt and node.key
	root   *x509.Certificate
	rootAt version
}

// version tells one content of a file from the next.
type version struct {
	info os.FileInfo
}

func (v version) same(w version) bool {
	return v.info != nil && w.info != nil && os.SameFile(v.info, w.info) &&
		v.info.ModTime().Equal(w.info.ModTime()) && v.info.Size() == w.info.Size()
}

// NewFiles returns the identity kept in dir, which need not exist yet.
func NewFiles(dir string) *Files { return &Files{dir: dir} }

// CAPath returns the path of the authority's certificate.
func (f *Files) CAPath() string { return filepath.Join(f.dir, "ca.crt") }

// CertPath returns the path of the node's certificate.
func (f *Files) CertPath() string { return filepath.Join(f.dir, "node.crt") }

// KeyPath returns the path of the node's private key.
func (f *Files) KeyPath() string { return filepath.Join(f.dir, "node.key") }

// RevokedPath returns the path of the list of revoked certificates, which
// [RevocationFile] keeps.
func (f *Files) RevokedPath() string { return filepath.Join(f.dir, "revoked.crl") }

// Key returns the node's private key. It makes folder (0700) and key (0600) if
// they do not exist, so that a join that is tried again asks with the same
// key. It returns [ErrDamaged] for a file that is no key.
func (f *Files) Key() (*ecdsa.PrivateKey, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	text, err := os.ReadFile(f.KeyPath())
	if err == nil {
		key, err := decodeKey(text)
		if err != nil {
			return nil, f.damaged(f.KeyPath(), err)
		}
		return key, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the node's key: %w", err)
	}
	if err := f.makeDir(); err != nil {
		return nil, err
	}
	key, err := newKey()
	if err != nil {
		return nil, fmt.Errorf("make the node's key: %w", err)
	}
	text, err = encodeKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode the node's key: %w", err)
	}
	if err := atomicfile.Write(f.KeyPath(), text, 0o600); err != nil {
		return nil, fmt.Errorf("keep the node's key: %w", err)
	}
	return key, nil
}

// Install keeps a certificate and the authority that signed it, both PEM. It
// refuses a certificate that is not for the node's key or not signed by that
// authority ([ErrDamaged]), and leaves the old ones in place then. The files
// are replaced one by one, each at once and on disk when Install returns.
func (f *Files) Install(cert, ca []byte) error {
	key, err := f.Key()
	if err != nil {
		return err
	}
	leaf, err := decodeCert(cert)
	if err != nil {
		return fmt.Errorf("read the new certificate: %w: %w", ErrDamaged, err)
	}
	root, err := decodeCert(ca)
	if err != nil {
		return fmt.Errorf("read the authority's certificate: %w: %w", ErrDamaged, err)
	}
	if !key.PublicKey.Equal(leaf.PublicKey) {
		return fmt.Errorf("the new certificate is for another key: %w", ErrDamaged)
	}
	if err := leaf.CheckSignatureFrom(root); err != nil {
		return fmt.Errorf("the new certificate is not of its authority: %w: %w", ErrDamaged, err)
	}
	if old, err := os.ReadFile(f.CAPath()); err != nil || !bytes.Equal(old, ca) {
		if err := atomicfile.Write(f.CAPath(), ca, 0o644); err != nil {
			return fmt.Errorf("keep the authority's certificate: %w", err)
		}
	}
	if err := atomicfile.Write(f.CertPath(), cert, 0o644); err != nil {
		return fmt.Errorf("keep the certificate: %w", err)
	}
	return nil
}

// Certificate returns the node's certificate with its key and, behind it, the
// authority's. If the files cannot be read any more it returns what it read
// last. It returns [ErrNoIdentity] if there is no certificate and [ErrDamaged]
// if there is none that can be used. The result must not be changed.
func (f *Files) Certificate() (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := [2]version{stat(f.CertPath()), stat(f.KeyPath())}
	if f.pair != nil && at[0].same(f.pairAt[0]) && at[1].same(f.pairAt[1]) {
		return f.pair, nil
	}
	pair, err := f.readPair()
	if err != nil {
		if f.pair != nil {
			return f.pair, nil
		}
		return nil, err
	}
	f.pair, f.pairAt = pair, at
	return pair, nil
}

func (f *Files) readPair() (*tls.Certificate, error) {
	root, err := f.readRoot()
	if err != nil {
		return nil, err
	}
	cert, err := f.read(f.CertPath())
	if err != nil {
		return nil, err
	}
	key, err := f.read(f.KeyPath())
	if err != nil {
		return nil, err
	}
	if _, err := decodeKey(key); err != nil {
		return nil, f.damaged(f.KeyPath(), err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, f.damaged(f.CertPath(), err)
	}
	pair.Certificate = append(pair.Certificate, root.Raw)
	return &pair, nil
}

// CA returns the authority's certificate, with the same errors as
// [Files.Certificate]. The result must not be changed.
func (f *Files) CA() (*x509.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.readRoot()
}

func (f *Files) readRoot() (*x509.Certificate, error) {
	at := stat(f.CAPath())
	if f.root != nil && at.same(f.rootAt) {
		return f.root, nil
	}
	root, err := f.parseRoot()
	if err != nil {
		if f.root != nil {
			return f.root, nil
		}
		return nil, err
	}
	f.root, f.rootAt = root, at
	return root, nil
}

func (f *Files) parseRoot() (*x509.Certificate, error) {
	text, err := f.read(f.CAPath())
	if err != nil {
		return nil, err
	}
	root, err := decodeCert(text)
	if err != nil {
		return nil, f.damaged(f.CAPath(), err)
	}
	return root, nil
}

// Remove deletes the identity. A missing one is no error.
func (f *Files) Remove() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pair, f.root = nil, nil
	for _, path := range []string{f.CertPath(), f.KeyPath(), f.CAPath()} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the node's identity: %w", err)
		}
	}
	return nil
}

func (f *Files) makeDir() error {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of the node's identity: %w", err)
	}
	if err := os.Chmod(f.dir, 0o700); err != nil {
		return fmt.Errorf("close the folder of the node's identity: %w", err)
	}
	return nil
}

func (f *Files) read(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, f.missing(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the node's identity: %w", err)
	}
	return text, nil
}

func (f *Files) missing(path string) error {
	hint := "this node is not a member of a cell yet: use `keelson init` or `keelson join`"
	if stat(f.CAPath()).info != nil || stat(f.CertPath()).info != nil {
		hint = f.remedy(path) // it was a member
	}
	return say(request.Refused, ErrNoIdentity, fmt.Sprintf("there is no %s", path), hint)
}

func (f *Files) damaged(path string, err error) error {
	return say(request.Refused, ErrDamaged, fmt.Sprintf("%s cannot be used: %s", path, plain(err)), f.remedy(path))
}

// Afresh is what to do about a node that has lost who it is.
const Afresh = "restore it from a backup; without one, run `keelson leave --offline` here, then, if the cell has other nodes, " +
	"`keelson node remove NAME --force` on one of them, and here `keelson join` with a new token"

// remedy says what to do about a file that is damaged or lost.
func (f *Files) remedy(path string) string {
	switch path {
	case f.CertPath():
		return "join this node again under its name with a new token, which keeps its place in the cell"
	case f.CAPath():
		return "copy the file from any other node of the cell, where it is the same"
	}
	return Afresh
}

// plain returns what err says without the name of the package that says it.
func plain(err error) string {
	text := err.Error()
	for _, from := range []string{"tls: ", "x509: ", "asn1: "} {
		text = strings.TrimPrefix(text, from)
	}
	return text
}

// stat returns the version of a file, the zero value if there is none.
func stat(path string) version {
	info, err := os.Stat(path)
	if err != nil {
		return version{}
	}
	return version{info: info}
}
