package app

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/engine/pki"
	"github.com/keelson/keelson/internal/front/cli"
	"github.com/keelson/keelson/internal/model/record"
)

// cellOf makes a cell of one node whose agent runs.
func cellOf(t *testing.T, name string) (*host, *running) {
	t.Helper()
	h := newHost(t, name)
	status, printed := h.init()
	done(t, status, printed)
	l, err := readLocal(h.folders())
	must(t, err)
	kept, err := h.app.storeServer(h.folders(), l, h.app.logger(cli.Logging{})).Kept(t.Context(), storePrefix(l), record.KeyCell)
	must(t, err)
	must(t, json.Unmarshal(kept[record.KeyCell], &h.cell))
	a := h.agent()
	h.ready()
	return h, a
}

// swap changes the last character of a token.
func swap(token string) string {
	last := "0"
	if strings.HasSuffix(token, last) {
		last = "1"
	}
	return token[:len(token)-1] + last
}

func TestAJoinThatIsRefusedSaysWhyAndChangesNothing(t *testing.T) {
	t.Parallel()
	a, _ := cellOf(t, "a")
	other, _ := cellOf(t, "a")
	status, printed := a.keelson("token", "create", "--valid", "1s", "-o", "json")
	done(t, status, printed)
	var expired struct{ Token string }
	must(t, json.Unmarshal([]byte(printed), &expired))
	token := a.token()
	time.Sleep(1100 * time.Millisecond) // the shortest that a token can be valid

	tests := []struct {
		name  string
		token string
		at    string // default: the cell
		flags []string
		ahead time.Duration
		busy  int // index of ports, from 1
		code  int
		words []string
	}{
		{name: "a text that is no token", token: "kl1.abc", code: 1, words: []string{"not a join token", "keelson token create"}},
		{name: "no token", token: "", code: 2, words: []string{"--token"}},
		{name: "a token with a typo", token: swap(token), code: 1, words: []string{"not a join token", "checksum"}},
		{name: "an expired token", token: expired.Token, code: 1, words: []string{"expired at", "make a new one"}},
		{name: "a token of another cell", token: other.token(), code: 1, words: []string{"not of the cell that made the token"}},
		{name: "a name that is taken", token: token, flags: []string{"--name", "a"}, code: 1, words: []string{"the name a belongs to the node at " + a.address, "--name"}},
		{name: "an address that this server does not have", token: token, flags: []string{"--address", "192.0.2.1"}, code: 1, words: []string{"does not have the address 192.0.2.1"}},
		{name: "an address and port in use here", token: token, flags: []string{"--address", a.address}, code: 1, words: []string{"port 7480 on " + a.address}},
		{name: "nobody at the address", token: token, at: "127.0.0.77:7", code: 3, words: []string{"127.0.0.77:7 does not answer"}},
		{name: "another program at the address", token: token, at: a.address + ":7483", code: 1, words: []string{"the host that answers is not of the cell"}},
		{name: "a clock that is years ahead", token: token, ahead: 5 * 365 * 24 * time.Hour, code: 1, words: []string{"this host's clock says", "date -u"}},
		{name: "a clock that is years behind", token: token, ahead: -50 * 365 * 24 * time.Hour, code: 1, words: []string{"this host's clock says 19", "date -u"}},
		{name: "a clock that is an hour behind", token: token, ahead: -50 * time.Minute, code: 1, words: []string{"differ by 50m", "the token is still good"}},
		{name: "the API's port in use", token: token, busy: 1, code: 1, words: []string{"7480", "--api-port"}},
		{name: "the heartbeats' port in use", token: token, busy: 2, code: 1, words: []string{"7481", "--link-port"}},
		{name: "the store's peer port in use", token: token, busy: 3, code: 1, words: []string{"7482", "--peer-port"}},
		{name: "the store's client port in use", token: token, busy: 4, code: 1, words: []string{"7483", "--client-port"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(t, "b")
			h.app.clock = shifted{clock.System{}, tt.ahead}
			if tt.busy > 0 {
				occupy(t, ports[tt.busy-1].network, h.address, ports[tt.busy-1].number)
			}
			at := a.address
			if tt.at != "" {
				at = tt.at
			}
			status, printed := h.keelson(append([]string{"join", at, "--token", tt.token}, h.new(tt.flags...)...)...)
			says(t, status, printed, tt.code, tt.words...)
			if _, err := os.Stat(h.data("node.json")); err == nil {
				t.Error("the server thinks that it is a member")
			}
		})
	}
	s, ok := a.status()
	if !ok || len(s.Nodes) != 1 {
		t.Errorf("the cell has changed: %+v", s)
	}
	// None of them has used up the token.
	b := newHost(t, "b")
	status, printed = b.join(a, token)
	done(t, status, printed)
}

func TestATokenIsGoodForOneNode(t *testing.T) {
	t.Parallel()
	a, _ := cellOf(t, "a")
	token := a.token()
	b, c := newHost(t, "b"), newHost(t, "c")
	status, printed := b.join(a, token)
	done(t, status, printed)
	status, printed = c.join(a, token)
	says(t, status, printed, 1, "was used by the node b", "good for one node")

	// An address in the cell belongs to one node, wherever the other comes from.
	status, printed = c.join(a, a.token(), "--address", b.address)
	says(t, status, printed, 1, "the address "+b.address+", port 7480, belongs to the node b")

	// A member is not let in twice, and its identity stays.
	before := content(t, b.data())
	for _, token := range []string{token, a.token(), "kl1.abc"} {
		status, printed = b.join(a, token)
		says(t, status, printed, 1, "this server is node b of cell main already", "nothing was changed")
	}
	if diff := cmp.Diff(before, content(t, b.data())); diff != "" {
		t.Error(diff)
	}
	// A server that lost its data cannot take its old name by itself.
	must(t, os.RemoveAll(b.data()))
	status, printed = b.join(a, a.token())
	says(t, status, printed, 1, "the name b belongs to the node at "+b.address, "keelson node remove b --force")
}

func TestAFullDiskAtJoinLosesNeitherTokenNorName(t *testing.T) {
	t.Parallel()
	a, _ := cellOf(t, "a")
	b := newHost(t, "b")
	small(t, b, "1m")
	token := a.token()
	ballast := fill(t, b)
	status, printed := b.join(a, token)
	says(t, status, printed, 1, "disk under "+b.data(), "is full", "make room")
	info, err := os.Stat(ballast)
	must(t, err)
	must(t, os.Truncate(ballast, info.Size()-4096)) // the key has room, the certificates have not
	status, printed = b.join(a, token)
	says(t, status, printed, 1, "disk under "+b.data(), "is full", "make room")
	must(t, os.Remove(ballast))
	status, printed = b.join(a, token)
	done(t, status, printed)
}

// expire gives a node a certificate that differs from its own in its dates: it
// begins at from and lasts as long as any. by is a host of the cell that was made
// with [cellOf].
func expire(t *testing.T, h, by *host, from time.Time) {
	t.Helper()
	parse := func(text []byte) []byte {
		block, _ := pem.Decode(text)
		if block == nil {
			t.Fatal("no PEM")
		}
		return block.Bytes
	}
	key, err := x509.ParsePKCS8PrivateKey(parse(by.cell.CAKey))
	must(t, err)
	root, err := x509.ParseCertificate(parse(by.cell.CACert))
	must(t, err)
	text, err := os.ReadFile(h.data("pki", "node.crt"))
	must(t, err)
	leaf, err := x509.ParseCertificate(parse(text))
	must(t, err)
	leaf.NotBefore, leaf.NotAfter = from, from.Add(pki.CertificateLife)
	der, err := x509.CreateCertificate(rand.Reader, leaf, root, leaf.PublicKey, key)
	must(t, err)
	must(t, os.WriteFile(h.data("pki", "node.crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
}
