package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/model/spec"
)

// revoked is a RevocationList of a test.
type revoked map[string]bool

func (r revoked) Revoked(id string) bool { return r[id] }

func TestNodesCallEachOther(t *testing.T) {
	w := newWorld(t)
	filesB, _ := w.join(t, "b")
	other := newWorld(t)
	foreign, _ := other.join(t, "b")
	serial := func(f *Files) string {
		pair, err := f.Certificate()
		must(t, err)
		return serialText(pair.Leaf)
	}
	idOf := func(f *Files) string {
		pair, err := f.Certificate()
		must(t, err)
		return pair.Leaf.Subject.SerialNumber
	}
	later := func(d time.Duration) func(*Trust) {
		return func(tr *Trust) { tr.Clock = newClock(start.Add(d)) }
	}
	tests := []struct {
		name     string
		expected spec.NodeName
		server   func(*Trust) // a
		client   func(*Trust) // b
		want     error        // at the client; nil also means that the server was content
		refused  bool         // by the server
		because  error        // what the server says then; nil: Go's own words
	}{
		{name: "the node that was meant is accepted", expected: "a"},
		{name: "any node is accepted if none is named"},
		{name: "another node than was meant is refused", expected: "c", want: ErrWrongNode},
		{
			name: "a server of another cell is refused", expected: "b",
			server: func(tr *Trust) { tr.Files = foreign; tr.Cell = other.founding.Cell.ID }, want: ErrWrongCell,
		},
		{
			name: "a caller of another cell is refused", refused: true,
			// It believes this cell but shows the other's certificate.
			client: func(tr *Trust) { tr.Files = mixed(t, w.files, foreign) },
		},
		{
			name:   "a server whose certificate is revoked is refused",
			client: func(tr *Trust) { tr.Revoked = revoked{serial(w.files): true} }, want: ErrRevoked,
		},
		{
			name:   "a server whose node is revoked is refused",
			client: func(tr *Trust) { tr.Revoked = revoked{idOf(w.files): true} }, want: ErrRevoked,
		},
		{
			name: "a caller whose certificate is revoked is refused", refused: true,
			server: func(tr *Trust) { tr.Revoked = revoked{serial(filesB): true} }, because: ErrRevoked,
		},
		{
			name: "a caller whose node is revoked is refused", refused: true,
			server: func(tr *Trust) { tr.Revoked = revoked{idOf(filesB): true} }, because: ErrRevoked,
		},
		{name: "a clock that is half an hour behind does no harm", client: later(-30 * time.Minute)},
		{name: "a clock that is years behind is named", client: later(-5 * 365 * 24 * time.Hour), want: ErrClockOff},
		{name: "a certificate that has expired is named", client: later(CertificateLife + time.Hour), want: ErrCertificateExpired},
		{
			name: "a caller that the server thinks expired is refused", refused: true,
			server: later(CertificateLife + time.Hour),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b := w.trust(w.files), w.trust(filesB)
			if tt.server != nil {
				tt.server(&a)
			}
			if tt.client != nil {
				tt.client(&b)
			}
			server, err := a.Server()
			must(t, err)
			client, err := b.Client(tt.expected)
			must(t, err)
			got := shake(t, server, client)
			if tt.refused {
				if got.client == nil || got.server == nil {
					t.Errorf("not refused: client %v, server %v", got.client, got.server)
				}
				if tt.because != nil {
					wantError(t, got.server, tt.because)
				}
				return
			}
			wantError(t, got.client, tt.want)
			if tt.want != nil {
				wantWords(t, got.client)
				return
			}
			wantError(t, got.server, nil)
			want := Identity{Cell: a.Cell, Serial: serial(filesB), Node: "b", NodeID: idOf(filesB)}
			if diff := cmp.Diff(want, got.caller); diff != "" || got.identity != nil {
				t.Errorf("identity (-want +got), %v:\n%s", got.identity, diff)
			}
		})
	}
}

// mixed returns an identity that trusts the authority of one and shows the
// certificate of the other.
func mixed(t *testing.T, trusts, shows *Files) *Files {
	t.Helper()
	pair, err := shows.Certificate()
	must(t, err)
	root, err := trusts.CA()
	must(t, err)
	f := NewFiles(t.TempDir())
	f.pair, f.root = pair, root
	return f
}

func TestOwnCertificateIsCheckedBeforeItIsShown(t *testing.T) {
	w := newWorld(t)
	trust := w.trust(w.files)
	tests := []struct {
		name string
		at   time.Duration
		want error
		word string
	}{
		{"an expired one is named", CertificateLife + time.Hour, ErrCertificateExpired, "join a again"},
		{"one of the future is named with both times", -24 * time.Hour, ErrClockOff, "2026-02-28T12:00:00Z"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			trust.Clock = newClock(start.Add(tt.at))
			_, err := trust.own()
			wantError(t, err, tt.want)
			wantWords(t, err, tt.word, "2026-03-")
		})
	}
}

func TestOperatorsCallButAreNotCalled(t *testing.T) {
	w := newWorld(t)
	files := NewFiles(t.TempDir())
	issued, err := w.authority(t).SignOperator(csrFor(t, files, "ann"), "ann", Operator, time.Hour, start)
	must(t, err)
	must(t, files.Install(issued.Certificate, w.founding.Cell.CACert))
	node, ann := w.trust(w.files), w.trust(files)

	server, err := node.Server()
	must(t, err)
	client, err := ann.Client("a")
	must(t, err)
	got := shake(t, server, client)
	wantError(t, errors.Join(got.client, got.server, got.identity), nil)
	want := Identity{Cell: node.Cell, Serial: issued.Serial, Operator: "ann", Role: Operator}
	if diff := cmp.Diff(want, got.caller); diff != "" {
		t.Errorf("identity (-want +got):\n%s", diff)
	}

	server, err = ann.Server()
	must(t, err)
	client, err = node.Client("")
	must(t, err)
	wantError(t, shake(t, server, client).client, ErrWrongCell)
}

func TestCallersWithoutCertificate(t *testing.T) {
	w := newWorld(t)
	trust := w.trust(w.files)
	token, err := ParseToken(w.token(t))
	must(t, err)
	bare := Pinned(token, w.clock)

	closed, err := trust.Server()
	must(t, err)
	if got := shake(t, closed, bare); got.client == nil || got.server == nil {
		t.Errorf("the closed port let them in: client %v, server %v", got.client, got.server)
	}

	open, err := trust.JoinServer()
	must(t, err)
	got := shake(t, open, bare)
	wantError(t, errors.Join(got.client, got.server), nil)
	wantError(t, got.identity, ErrNoIdentity)
	_, err = IdentityFrom(nil)
	wantError(t, err, ErrNoIdentity)

	filesB, _ := w.join(t, "b")
	member, err := w.trust(filesB).Client("a")
	must(t, err)
	got = shake(t, open, member)
	wantError(t, errors.Join(got.client, got.server, got.identity), nil)
	if got.caller.Node != "b" {
		t.Errorf("the caller is %s", got.caller)
	}
	stale := w.trust(w.files)
	stale.Revoked = revoked{got.caller.NodeID: true}
	open, err = stale.JoinServer()
	must(t, err)
	if got := shake(t, open, member); got.client == nil {
		t.Error("a revoked certificate was let in where none was asked for")
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	w := newWorld(t)
	server, err := w.trust(w.files).JoinServer()
	must(t, err)
	old := &tls.Config{MaxVersion: tls.VersionTLS12, InsecureSkipVerify: true}
	if got := shake(t, server, old); got.client == nil || got.server == nil {
		t.Errorf("TLS 1.2 passed: client %v, server %v", got.client, got.server)
	}
}

func TestATokenPinsItsCell(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	token, err := ParseToken(w.token(t))
	must(t, err)
	server := func(w *world, change func(*tls.Certificate)) *tls.Config {
		config, err := w.trust(w.files).JoinServer()
		must(t, err)
		pair, err := w.files.Certificate()
		must(t, err)
		shown := *pair
		if change != nil {
			change(&shown)
		}
		config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &shown, nil }
		return config
	}
	// An operator of the cell has a certificate of the pinned authority too.
	operator := NewFiles(filepath.Join(t.TempDir(), "ann"))
	issued, err := w.authority(t).SignOperator(csrFor(t, operator, "ann"), "ann", Admin, time.Hour, start)
	must(t, err)
	must(t, operator.Install(issued.Certificate, w.founding.Cell.CACert))

	tests := []struct {
		name   string
		server *tls.Config
		clock  time.Duration
		want   error
	}{
		{"the right cell is accepted", server(w, nil), 0, nil},
		{"another cell is refused", server(other, nil), 0, ErrWrongCell},
		{
			"another cell that shows the pinned authority as well is refused",
			server(other, func(c *tls.Certificate) {
				c.Certificate = append(c.Certificate[:1:1], w.authority(t).Certificate().Raw)
			}), 0, ErrWrongCell,
		},
		{
			"a chain without the authority is refused",
			server(w, func(c *tls.Certificate) { c.Certificate = c.Certificate[:1] }), 0, ErrWrongCell,
		},
		{"an operator in a node's place is refused", server(w, func(c *tls.Certificate) {
			pair, err := operator.Certificate()
			must(t, err)
			*c = *pair
		}), 0, ErrWrongCell},
		{"a clock years behind is named", server(w, nil), -3 * 365 * 24 * time.Hour, ErrClockOff},
		{"a clock years ahead is named", server(w, nil), 3 * 365 * 24 * time.Hour, ErrClockOff},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := shake(t, tt.server, Pinned(token, newClock(start.Add(tt.clock))))
			wantError(t, got.client, tt.want)
			if tt.want != nil {
				wantWords(t, got.client)
			}
		})
	}
}

func TestADateSaysNothingOfAForeignCertificate(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	pair, err := other.files.Certificate()
	must(t, err)
	root, err := w.files.CA()
	must(t, err)
	_, err = checkServer([]*x509.Certificate{pair.Leaf}, poolOf(root), start.Add(10*CertificateLife))
	wantError(t, err, ErrWrongCell)
}

func TestARenewedCertificateIsServedWithoutARestart(t *testing.T) {
	w := newWorld(t)
	filesB, _ := w.join(t, "b")
	server, err := w.trust(w.files).Server()
	must(t, err)
	client, err := w.trust(filesB).Client("a")
	must(t, err)
	first := shake(t, server, client)
	wantError(t, errors.Join(first.client, first.server), nil)

	w.clock.advance(20 * 24 * time.Hour)
	got, err := w.registrar.SignerFor("b").RenewCertificate(t.Context(), csrFor(t, filesB, "b"))
	must(t, err)
	must(t, filesB.Install(got.Certificate, got.CA))
	second := shake(t, server, client)
	wantError(t, errors.Join(second.client, second.server), nil)
	if first.caller.Serial == second.caller.Serial {
		t.Error("the old certificate is still shown")
	}
}
