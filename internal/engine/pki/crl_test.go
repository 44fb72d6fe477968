package pki

import (
	"context"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/request"
)

func TestTheListOfTheStoreHasTheCertificatesOfNodesThatWereRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		files, first := w.join(t, "b")
		second, err := w.registrar.RenewCertificate(t.Context(), request.Renew{Node: "b", CSR: csrFor(t, files, "b")})
		must(t, err)
		w.join(t, "c")
		path := filepath.Join(t.TempDir(), "revoked.crl")
		read := func() map[string]bool {
			der, err := os.ReadFile(path)
			must(t, err)
			list, err := x509.ParseRevocationList(der)
			must(t, err)
			must(t, list.CheckSignatureFrom(w.authority(t).Certificate()))
			got := map[string]bool{}
			for _, e := range list.RevokedCertificateEntries {
				got[serialText(&x509.Certificate{SerialNumber: e.SerialNumber})] = true
			}
			return got
		}
		var clk clock.System
		v := &Revocations{Store: w.store, Clock: clk, Log: quiet()}
		f := &RevocationFile{Path: path, Revocations: v, Registrar: w.registrar, Clock: clk, Log: quiet()}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- v.Run(ctx) }()
		go func() { done <- f.Run(ctx) }()
		pass := func() { time.Sleep(2 * listEvery); synctest.Wait() }
		pass()
		if diff := cmp.Diff(map[string]bool{}, read()); diff != "" {
			t.Errorf("the list of nobody (-want +got):\n%s", diff)
		}
		must(t, w.registrar.RemoveNode(t.Context(), "b", "ann"))
		pass()
		must(t, os.Remove(path)) // it comes back
		pass()
		want := map[string]bool{serialText(parse(t, first.Certificate)): true, serialText(parse(t, second.Certificate)): true}
		got := read()
		delete(got, first.NodeID)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the list of what b had (-want +got):\n%s", diff)
		}
		if len(w.keys(t, record.KeyRevoked)) != 3 {
			t.Errorf("revoked: %v", w.keys(t, record.KeyRevoked))
		}
		cancel()
		wantError(t, <-done, context.Canceled)
		wantError(t, <-done, context.Canceled)
	})
}
