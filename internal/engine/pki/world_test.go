package pki

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store/memstore"
)

// start is when the tests' cells are founded.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// handClock shows the time that the test has set. It waits as the system does.
type handClock struct {
	clock.System

	mu  sync.Mutex
	now time.Time
}

func newClock(now time.Time) *handClock { return &handClock{now: now} }

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// world is a cell in memory with its first node, a.
type world struct {
	store     *memstore.Store
	clock     *handClock
	registrar *Registrar
	founding  Founding
	files     *Files // of node a
}

func newWorld(t *testing.T) *world {
	t.Helper()
	clk := newClock(start)
	w := &world{clock: clk, store: memstore.New(clk), files: NewFiles(filepath.Join(t.TempDir(), "pki"))}
	w.registrar = &Registrar{Store: w.store, Clock: clk}
	var err error
	w.founding, err = Found("lab", record.Node{Name: "a", Address: "10.0.0.1", Version: "1.0"},
		csrFor(t, w.files, "a"), false, start)
	must(t, err)
	must(t, w.files.Install(w.founding.Certificate, w.founding.Cell.CACert))
	must(t, w.registrar.InitCell(t.Context(), w.founding))
	return w
}

func (w *world) authority(t *testing.T) *Authority {
	t.Helper()
	a, err := AuthorityOf(w.founding.Cell)
	must(t, err)
	return a
}

func (w *world) token(t *testing.T) string {
	t.Helper()
	made, err := w.registrar.CreateToken(t.Context(), request.Token{Valid: time.Hour, By: "ann"})
	must(t, err)
	return made.Token
}

// asks returns what the node name would send, with the key kept in files.
func (w *world) asks(t *testing.T, token string, name spec.NodeName, files *Files) request.Join {
	t.Helper()
	return request.Join{
		Token: token, Name: name, CSR: csrFor(t, files, string(name)),
		Address: string(name) + ".lab.test", Version: "1.0", Clock: w.clock.Now(),
	}
}

// join makes name a member and returns its identity and what it was told.
func (w *world) join(t *testing.T, name spec.NodeName) (*Files, request.Joined) {
	t.Helper()
	files := NewFiles(filepath.Join(t.TempDir(), "pki"))
	got, err := w.registrar.Join(t.Context(), w.asks(t, w.token(t), name, files))
	must(t, err)
	must(t, files.Install(got.Certificate, got.CA))
	return files, got
}

func (w *world) trust(files *Files) Trust {
	return Trust{Cell: w.founding.Cell.ID, Files: files, Clock: w.clock}
}

func csrFor(t *testing.T, files *Files, name string) []byte {
	t.Helper()
	key, err := files.Key()
	must(t, err)
	csr, err := NewRequest(key, name)
	must(t, err)
	return csr
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantError fails the test unless err is want, or both are nil.
func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || (err != nil) != (want != nil) {
		t.Errorf("error is %v, want %v", err, want)
	}
}

// wantWords fails the test unless err speaks to people and names all words.
func wantWords(t *testing.T, err error, words ...string) {
	t.Helper()
	said, ok := errors.AsType[*request.Error](err)
	if !ok {
		t.Errorf("no words for people in %v", err)
		return
	}
	for _, word := range words {
		if !strings.Contains(said.Text+" / "+said.Hint, word) {
			t.Errorf("%q is missing in: %s / %s", word, said.Text, said.Hint)
		}
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// shaken is what each side of a handshake came to.
type shaken struct {
	client, server error
	caller         Identity
	identity       error
}

// shake connects the two sides over loopback and sends one byte each way, since
// a TLS 1.3 client learns of a refusal only when it reads.
func shake(t *testing.T, server, client *tls.Config) shaken {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	near, err := net.Dial("tcp", listener.Addr().String())
	must(t, err)
	defer near.Close()
	far, err := listener.Accept()
	must(t, err)
	var s shaken
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer far.Close()
		conn := tls.Server(far, server)
		if s.server = conn.HandshakeContext(ctx); s.server != nil {
			return
		}
		state := conn.ConnectionState()
		s.caller, s.identity = IdentityFrom(&state)
		_, s.server = io.CopyN(conn, conn, 1)
	}()
	conn := tls.Client(near, client)
	s.client = conn.HandshakeContext(ctx)
	if s.client == nil {
		if _, s.client = conn.Write([]byte{1}); s.client == nil {
			_, s.client = io.ReadFull(conn, make([]byte, 1))
		}
	}
	near.Close()
	<-done
	return s
}

func parse(t *testing.T, text []byte) *x509.Certificate {
	t.Helper()
	cert, err := decodeCert(text)
	must(t, err)
	return cert
}
