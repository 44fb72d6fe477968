package pki

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"time"

	"github.com/keelson/keelson/internal/base/atomicfile"
	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/base/logkey"
)

// RevocationList signs a certificate revocation list (DER) of the serials among
// ids, which are those of the revocations: the ids of nodes that are there too do
// no harm. It counts as of now, and until the authority ends.
func (a *Authority) RevocationList(ids []string, now time.Time) ([]byte, error) {
	template := &x509.RevocationList{
		Number: big.NewInt(now.UnixNano()), ThisUpdate: now.Add(-BackDate), NextUpdate: a.cert.NotAfter,
	}
	for _, id := range ids {
		serial, ok := new(big.Int).SetString(id, 16)
		if !ok {
			continue
		}
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: serial, RevocationTime: now})
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, a.cert, a.key)
	if err != nil {
		return nil, fmt.Errorf("sign the list of revoked certificates: %w", err)
	}
	return der, nil
}

// listEvery is how often the file is compared with the revocations.
const listEvery = time.Second

// RevocationFile keeps a file the certificate revocation list of what is
// revoked, for the store server, which knows no other way to shut a member out.
// While the store does not answer the file stays what it was.
type RevocationFile struct {
	Path        string
	Revocations *Revocations
	Registrar   *Registrar // has the authority that signs
	Clock       clock.Clock
	Log         *slog.Logger
}

// Run keeps the file until ctx ends, and returns ctx's error.
func (f *RevocationFile) Run(ctx context.Context) error {
	var written uint64
	failed := false
	for {
		ids, at := f.Revocations.all()
		_, missing := os.Stat(f.Path)
		if at != 0 && (at != written || missing != nil) {
			err := f.write(ctx, ids)
			if err == nil {
				written = at
			} else if !failed && ctx.Err() == nil {
				f.Log.WarnContext(ctx, "revoked certificates not listed for the store", logkey.Err, err)
			}
			failed = err != nil
		}
		if err := f.Clock.Sleep(ctx, listEvery); err != nil {
			return err
		}
	}
}

func (f *RevocationFile) write(ctx context.Context, ids []string) error {
	ctx, cancel := context.WithTimeout(ctx, operationTimeout)
	defer cancel()
	authority, _, err := f.Registrar.authority(ctx)
	if err != nil {
		return err
	}
	list, err := authority.RevocationList(ids, f.Clock.Now())
	if err != nil {
		return err
	}
	return atomicfile.Write(f.Path, list, 0o600)
}
