package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/keelson/keelson/internal/model/request"
)

// Files are the PEM files for calling a server over the network.
type Files struct {
	Cert string // the client's certificate
	Key  string // and its key
	CA   string // the cell's certificate authority
}

// TLS reads the files. The server must show a certificate that the cell's
// authority has signed for serving. Its name is not compared with the address
// that was called: every node answers for the whole cell.
func (f Files) TLS() (*tls.Config, error) {
	for _, need := range []struct{ flag, path string }{{"--cert", f.Cert}, {"--key", f.Key}, {"--ca", f.CA}} {
		if need.path == "" {
			return nil, &Error{
				Kind: request.Invalid, Code: "no-certificate", Text: "calling a server over the network needs " + need.flag,
				Hint: "give --cert, --key and --ca, or run this on one of the cell's servers",
			}
		}
	}
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, badFile(f.Cert+" and "+f.Key, err)
	}
	text, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, badFile(f.CA, err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, badFile(f.CA, errors.New("it holds no PEM certificate"))
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{pair},
		// The chain is verified below, only the name is not.
		InsecureSkipVerify: true,
		VerifyConnection:   func(s tls.ConnectionState) error { return verify(s, roots) },
	}, nil
}

func verify(s tls.ConnectionState, roots *x509.CertPool) error {
	if len(s.PeerCertificates) == 0 {
		return errors.New("the server showed no certificate")
	}
	between := x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	return err
}

func badFile(path string, err error) error {
	var file *fs.PathError
	if errors.As(err, &file) {
		path = file.Path
	}
	return &Error{
		Kind: request.Invalid, Code: "bad-certificate", Err: err,
		Text: fmt.Sprintf("%s cannot be used: %s", path, strings.TrimPrefix(reason(err), "tls: ")),
		Hint: "give PEM files that can be read here: --cert and --key of a client of the cell, and --ca, the cell's authority",
	}
}
