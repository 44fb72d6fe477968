package pki

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
)

func (w *world) read(t *testing.T, key string, into any) bool {
	t.Helper()
	entry, found, err := w.store.Get(t.Context(), key)
	must(t, err)
	if found {
		must(t, json.Unmarshal(entry.Value, into))
	}
	return found
}

func (w *world) keys(t *testing.T, prefix string) []string {
	t.Helper()
	entries, _, err := w.store.List(t.Context(), prefix)
	must(t, err)
	var keys []string
	for _, e := range entries {
		keys = append(keys, e.Key)
	}
	return keys
}

func (w *world) write(t *testing.T, key string, value any) {
	t.Helper()
	op, err := put{key, value}.op()
	must(t, err)
	_, _, err = w.store.Txn(t.Context(), nil, []store.Op{op})
	must(t, err)
}

func TestInitCellWritesTheFirstRecords(t *testing.T) {
	w := newWorld(t)
	f := w.founding
	if diff := cmp.Diff([]string{"cell", "lease", "nodes/a", "slots/0", "wishes/a"}, w.keys(t, "")); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	var lease record.Lease
	w.read(t, record.KeyLease, &lease)
	want := record.Lease{Version: 1, Voters: 1, Ceiling: 1000, LongestTTL: spec.Duration(spec.LongestAutoTTL)}
	if diff := cmp.Diff(want, lease); diff != "" {
		t.Errorf("lease (-want +got):\n%s", diff)
	}
	var node record.Node
	w.read(t, record.KeyNodes+"a", &node)
	wantNode := record.Node{
		Name: "a", ID: f.Node.ID, Address: "10.0.0.1", Version: "1.0", Joined: start,
		CertSerial: serialText(parse(t, f.Certificate)), KeyHash: f.Node.KeyHash,
	}
	if diff := cmp.Diff(wantNode, node); diff != "" || len(node.KeyHash) != 32 || len(node.ID) != 32 {
		t.Errorf("node (-want +got):\n%s", diff)
	}
	var wish record.NodeWish
	w.read(t, record.KeyWishes+"a", &wish)
	if !wish.Voter {
		t.Error("the first node is not asked to vote")
	}

	must(t, w.registrar.InitCell(t.Context(), f))
	again, err := Found("two", record.Node{Name: "b", Address: "10.0.0.2"}, csrFor(t, NewFiles(t.TempDir()), "b"), true, start)
	must(t, err)
	err = w.registrar.InitCell(t.Context(), again)
	wantError(t, err, ErrCellExists)
	wantWords(t, err, "lab", "keelson join")
}

func TestInitCellMayBeRepeatedWhenItsAnswerWasLost(t *testing.T) {
	w := newWorld(t)
	_, _, err := w.store.Txn(t.Context(), nil, []store.Op{{Key: record.KeyCell, Delete: true}})
	must(t, err)
	w.store.LoseAnswers(1)
	wantError(t, w.registrar.InitCell(t.Context(), w.founding), store.ErrUnavailable)
	must(t, w.registrar.InitCell(t.Context(), w.founding))
}

func TestJoinMakesAMember(t *testing.T) {
	w := newWorld(t)
	files := NewFiles(filepath.Join(t.TempDir(), "pki"))
	text := w.token(t)
	ask := w.asks(t, text, "b", files)
	ask.Address, ask.Links = "10.0.0.2", []string{"10.1.0.2"}
	ask.Labels, ask.Witness = map[string]string{"rack": "7"}, true
	ask.Ports = record.Ports{API: 1480}
	got, err := w.registrar.Join(t.Context(), ask)
	must(t, err)
	token, err := ParseToken(text)
	must(t, err)

	var node record.Node
	w.read(t, record.KeyNodes+"b", &node)
	proof := token.Record(start, time.Hour, "ann")
	wantNode := record.Node{
		Name: "b", ID: got.NodeID, Slot: 1, Address: "10.0.0.2", Links: []string{"10.1.0.2"},
		Labels: map[string]string{"rack": "7"}, Witness: true, Ports: record.Ports{API: 1480},
		Joined: start, Version: "1.0", CertSerial: serialText(parse(t, got.Certificate)),
		KeyHash: node.KeyHash, Token: &proof,
	}
	if diff := cmp.Diff(wantNode, node); diff != "" {
		t.Errorf("node (-want +got):\n%s", diff)
	}
	want := request.Joined{
		Cell: "lab", CellID: w.founding.Cell.ID, CA: w.founding.Cell.CACert, NodeID: node.ID, Slot: 1,
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(request.Joined{}, "Certificate")); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	var owner spec.NodeName
	if w.read(t, record.SlotKey(1), &owner); owner != "b" {
		t.Errorf("slot 1 belongs to %q", owner)
	}
	if left := w.keys(t, record.KeyTokens); left != nil {
		t.Errorf("tokens left: %v", left)
	}
	must(t, files.Install(got.Certificate, got.CA))
	if cert := parse(t, got.Certificate); len(cert.IPAddresses) != 2 {
		t.Errorf("addresses %v", cert.IPAddresses)
	}
}

func TestJoinRefusals(t *testing.T) {
	tests := []struct {
		name   string
		change func(t *testing.T, w *world, ask *request.Join)
		want   error
		words  []string
	}{
		{
			name:   "what is no token",
			change: func(_ *testing.T, _ *world, ask *request.Join) { ask.Token = "kl1.hello" },
			want:   ErrTokenMalformed, words: []string{"not a join token"},
		},
		{
			name: "a token of another cell",
			change: func(t *testing.T, _ *world, ask *request.Join) {
				ask.Token = newWorld(t).token(t)
			},
			want: ErrTokenUnknown, words: []string{"keelson token create"},
		},
		{
			name: "a token with the right id and another secret",
			change: func(t *testing.T, w *world, ask *request.Join) {
				token, err := ParseToken(ask.Token)
				must(t, err)
				token.secret[3] ^= 4
				ask.Token = token.Text()
			},
			want: ErrTokenUnknown,
		},
		{
			name: "a token that has expired",
			change: func(_ *testing.T, w *world, ask *request.Join) {
				w.clock.advance(2 * time.Hour)
				ask.Clock = w.clock.Now()
			},
			want: ErrTokenExpired, words: []string{"13:00:00Z", "14:00:00Z"},
		},
		{
			name: "a token that another node has used",
			change: func(t *testing.T, w *world, ask *request.Join) {
				_, err := w.registrar.Join(t.Context(), w.asks(t, ask.Token, "c", NewFiles(t.TempDir())))
				must(t, err)
			},
			want: ErrTokenUsed, words: []string{"node c"},
		},
		{
			name:   "a clock that is an hour off",
			change: func(_ *testing.T, _ *world, ask *request.Join) { ask.Clock = ask.Clock.Add(-time.Hour) },
			want:   ErrClockOff, words: []string{"11:00:00Z", "12:00:00Z", "1h0m0s"},
		},
		{
			name:   "no clock",
			change: func(_ *testing.T, _ *world, ask *request.Join) { ask.Clock = time.Time{} },
			want:   ErrRequest,
		},
		{
			name: "the name of another node",
			change: func(t *testing.T, w *world, ask *request.Join) {
				ask.Name = "a"
				ask.CSR = csrFor(t, NewFiles(t.TempDir()), "a")
			},
			want: ErrNameTaken, words: []string{"10.0.0.1", "keelson node remove a"},
		},
		{
			name:   "the address of another node",
			change: func(_ *testing.T, _ *world, ask *request.Join) { ask.Address = "10.0.0.1" },
			want:   ErrAddressTaken, words: []string{"node a", "7480"},
		},
		{
			name:   "a request for another name",
			change: func(_ *testing.T, _ *world, ask *request.Join) { ask.Name = "c" },
			want:   ErrRequest,
		},
		{
			name: "a name that is an address",
			change: func(t *testing.T, _ *world, ask *request.Join) {
				ask.Name, ask.CSR = "10.0.0.7", csrFor(t, NewFiles(t.TempDir()), "10.0.0.7")
			},
			want: ErrRequest, words: []string{"node name"},
		},
		{
			name: "a name with capitals",
			change: func(t *testing.T, _ *world, ask *request.Join) {
				ask.Name, ask.CSR = "Bob", csrFor(t, NewFiles(t.TempDir()), "Bob")
			},
			want: ErrRequest,
		},
		{
			name:   "an address with a port",
			change: func(_ *testing.T, _ *world, ask *request.Join) { ask.Address = "10.0.0.2:7480" },
			want:   ErrRequest, words: []string{"without a port"},
		},
		{
			name:   "the address of everybody",
			change: func(_ *testing.T, _ *world, ask *request.Join) { ask.Address = "0.0.0.0" },
			want:   ErrRequest,
		},
		{
			name:   "an address that only that server reaches",
			change: func(_ *testing.T, _ *world, ask *request.Join) { ask.Address = "127.0.0.1" },
			want:   ErrUnreachable, words: []string{"cannot reach each other", "the token is still good"},
		},
		{
			name:   "an address of one link",
			change: func(_ *testing.T, _ *world, ask *request.Join) { ask.Address = "fe80::1" },
			want:   ErrRequest,
		},
		{
			name:   "two ports that are one",
			change: func(_ *testing.T, _ *world, ask *request.Join) { ask.Ports.Peer = 7480 },
			want:   ErrRequest, words: []string{"two of them are the same"},
		},
		{
			name:   "half an address",
			change: func(_ *testing.T, _ *world, ask *request.Join) { ask.Address = "10.0.0" },
			want:   ErrRequest,
		},
		{
			name:   "a link that is none",
			change: func(_ *testing.T, _ *world, ask *request.Join) { ask.Links = []string{"fd00::1/64"} },
			want:   ErrRequest,
		},
		{
			name:   "too many links",
			change: func(_ *testing.T, _ *world, ask *request.Join) { ask.Links = make([]string, maxLinks+1) },
			want:   ErrRequest,
		},
		{
			name:   "a port that is none",
			change: func(_ *testing.T, _ *world, ask *request.Join) { ask.Ports.Link = 65536 },
			want:   ErrRequest,
		},
		{
			name:   "a label that is none",
			change: func(_ *testing.T, _ *world, ask *request.Join) { ask.Labels = map[string]string{"a b": "c"} },
			want:   ErrRequest,
		},
		{
			name:   "an endless version",
			change: func(_ *testing.T, _ *world, ask *request.Join) { ask.Version = strings.Repeat("1", 1000) },
			want:   ErrRequest,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name+" is refused", func(t *testing.T) {
			w := newWorld(t)
			ask := w.asks(t, w.token(t), "b", NewFiles(t.TempDir()))
			tt.change(t, w, &ask)
			before := w.keys(t, "")
			_, err := w.registrar.Join(t.Context(), ask)
			wantError(t, err, tt.want)
			wantWords(t, err, tt.words...)
			if diff := cmp.Diff(before, w.keys(t, "")); diff != "" {
				t.Errorf("something was changed:\n%s", diff)
			}
		})
	}
}

func TestALostAnswerDoesNotBurnTheToken(t *testing.T) {
	w := newWorld(t)
	files := NewFiles(t.TempDir())
	ask := w.asks(t, w.token(t), "b", files)
	w.store.LoseAnswers(1)
	_, err := w.registrar.Join(t.Context(), ask)
	wantError(t, err, store.ErrUnavailable)
	var before record.Node
	w.read(t, record.KeyNodes+"b", &before)

	w.clock.advance(30 * time.Minute)
	// A restart of the joining node makes a new request with the same key.
	ask = w.asks(t, ask.Token, "b", files)
	got, err := w.registrar.Join(t.Context(), ask)
	must(t, err)
	if got.NodeID != before.ID || got.Slot != before.Slot {
		t.Errorf("another node: %s in slot %d, was %s in slot %d", got.NodeID, got.Slot, before.ID, before.Slot)
	}
	if diff := cmp.Diff([]string{"slots/0", "slots/1"}, w.keys(t, record.KeySlots)); diff != "" {
		t.Errorf("slots (-want +got):\n%s", diff)
	}
	must(t, files.Install(got.Certificate, got.CA))

	thief := w.asks(t, ask.Token, "b", NewFiles(t.TempDir()))
	_, err = w.registrar.Join(t.Context(), thief)
	wantError(t, err, ErrNameTaken)
	w.clock.advance(time.Hour)
	ask.Clock = w.clock.Now()
	_, err = w.registrar.Join(t.Context(), ask)
	wantError(t, err, ErrTokenExpired)
}

func TestAMemberJoinsAgainWithItsKeyAndKeepsItsPlace(t *testing.T) {
	w := newWorld(t)
	files, first := w.join(t, "b")
	w.join(t, "c")
	w.clock.advance(60 * 24 * time.Hour)
	ask := w.asks(t, w.token(t), "b", files)
	ask.Address = "10.9.9.9"
	again, err := w.registrar.Join(t.Context(), ask)
	must(t, err)
	if again.NodeID != first.NodeID || again.Slot != first.Slot {
		t.Errorf("another place: %+v, was %+v", again, first)
	}
	must(t, files.Install(again.Certificate, again.CA))
	_, err = w.trust(files).own()
	wantError(t, err, nil)
	var node record.Node
	w.read(t, record.KeyNodes+"b", &node)
	if node.Address != "10.9.9.9" || !node.Joined.Equal(start) {
		t.Errorf("record is %+v", node)
	}
	if left := w.keys(t, record.KeyTokens); left != nil {
		t.Errorf("tokens left: %v", left)
	}
}

func TestAWholeCellJoinsAtOnceAndNoMore(t *testing.T) {
	w := newWorld(t)
	var group sync.WaitGroup
	slots := make([]int, MaxNodes)
	for i := 1; i < MaxNodes; i++ {
		ask := w.asks(t, w.token(t), spec.NodeName(fmt.Sprintf("n%d", i)), NewFiles(t.TempDir()))
		group.Go(func() {
			got, err := w.registrar.Join(t.Context(), ask)
			if err != nil {
				t.Error(err)
			}
			slots[i] = int(got.Slot)
		})
	}
	group.Wait()
	seen := map[int]bool{}
	for _, slot := range slots {
		seen[slot] = true
	}
	if len(seen) != MaxNodes {
		t.Errorf("%d slots for %d nodes", len(seen), MaxNodes)
	}
	_, err := w.registrar.Join(t.Context(), w.asks(t, w.token(t), "late", NewFiles(t.TempDir())))
	wantError(t, err, ErrCellFull)
	wantWords(t, err, "32")
}

func TestOneTokenLetsInOneOfMany(t *testing.T) {
	w := newWorld(t)
	token := w.token(t)
	var group sync.WaitGroup
	results := make([]error, 8)
	for i := range results {
		ask := w.asks(t, token, spec.NodeName(fmt.Sprintf("n%d", i)), NewFiles(t.TempDir()))
		group.Go(func() { _, results[i] = w.registrar.Join(t.Context(), ask) })
	}
	group.Wait()
	in := 0
	for _, err := range results {
		if err == nil {
			in++
		} else if !errors.Is(err, ErrTokenUsed) {
			t.Errorf("error is %v, want %v", err, ErrTokenUsed)
		}
	}
	if in != 1 {
		t.Errorf("%d nodes joined with one token", in)
	}
}

func TestRenewIsForTheMemberWithItsKey(t *testing.T) {
	w := newWorld(t)
	files, _ := w.join(t, "b")
	var node record.Node
	w.read(t, record.KeyNodes+"b", &node)
	node.Links = []string{"10.1.0.2"}
	w.write(t, record.KeyNodes+"b", node)

	got, err := w.registrar.RenewCertificate(t.Context(), request.Renew{Node: "b", CSR: csrFor(t, files, "b")})
	must(t, err)
	cert := parse(t, got.Certificate)
	if len(cert.IPAddresses) != 1 {
		t.Error("the new link is not in the new certificate")
	}
	w.read(t, record.KeyNodes+"b", &node)
	if node.CertSerial != serialText(cert) {
		t.Error("the record has another serial")
	}
	tests := []struct {
		name string
		ask  request.Renew
		want error
	}{
		{"another key is refused", request.Renew{Node: "b", CSR: csrFor(t, NewFiles(t.TempDir()), "b")}, ErrNotMember},
		{"another's name is refused", request.Renew{Node: "b", CSR: csrFor(t, files, "a")}, ErrRequest},
		{"another's key is refused", request.Renew{Node: "a", CSR: csrFor(t, files, "a")}, ErrNotMember},
		{"a stranger is refused", request.Renew{Node: "x", CSR: csrFor(t, files, "x")}, ErrNotMember},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := w.registrar.RenewCertificate(t.Context(), tt.ask)
			wantError(t, err, tt.want)
			wantWords(t, err)
		})
	}
}

func TestRemoveNodeRevokesAndFreesTheSlot(t *testing.T) {
	w := newWorld(t)
	files, first := w.join(t, "b")
	second, err := w.registrar.RenewCertificate(t.Context(), request.Renew{Node: "b", CSR: csrFor(t, files, "b")})
	must(t, err)
	w.write(t, record.KeyReports+"b", record.Report{Node: "b"})
	w.write(t, record.KeyLease, record.Lease{Version: 2, Voters: 1, Prior: 2})
	err = w.registrar.RemoveNode(t.Context(), "b", "ann")
	wantError(t, err, ErrStillVoter)
	w.write(t, record.KeyLease, record.Lease{Version: 3, Voters: 1})
	must(t, w.registrar.RemoveNode(t.Context(), "b", "ann"))
	want := []string{"cell", "lease", "nodes/a", "slots/0", "wishes/a"}
	for _, c := range [][]byte{first.Certificate, second.Certificate} {
		want = append(want, "revoked/"+serialText(parse(t, c)))
	}
	want = append(want, "revoked/"+first.NodeID)
	slices.Sort(want)
	if diff := cmp.Diff(want, w.keys(t, "")); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	wantError(t, w.registrar.RemoveNode(t.Context(), "b", "ann"), ErrNotMember)
	_, err = w.registrar.RenewCertificate(t.Context(), request.Renew{Node: "b", CSR: csrFor(t, files, "b")})
	wantError(t, err, ErrNotMember)

	ask := w.asks(t, w.token(t), "b", files)
	again, err := w.registrar.Join(t.Context(), ask)
	must(t, err)
	if again.NodeID == first.NodeID || again.Slot != 1 {
		t.Errorf("joined again as %+v", again)
	}
}

func TestTokensLastAsAsked(t *testing.T) {
	w := newWorld(t)
	tests := []struct {
		name  string
		valid time.Duration
		want  error
		lasts time.Duration
	}{
		{"none asked for means an hour", 0, nil, time.Hour},
		{"seven days are the limit", request.MaxTokenValid, nil, request.MaxTokenValid},
		{"more is refused", request.MaxTokenValid + 1, ErrRequest, 0},
		{"less than nothing is refused", -time.Second, ErrRequest, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			made, err := w.registrar.CreateToken(t.Context(), request.Token{Valid: tt.valid, By: "ann"})
			wantError(t, err, tt.want)
			if err == nil && !made.Expires.Equal(start.Add(tt.lasts)) {
				t.Errorf("expires %s", made.Expires)
			}
		})
	}
}

func TestSweepDeletesWhatIsOver(t *testing.T) {
	w := newWorld(t)
	w.join(t, "b")
	must(t, w.registrar.RemoveNode(t.Context(), "b", "ann"))
	w.token(t)
	must(t, w.registrar.Sweep(t.Context()))
	if n := len(w.keys(t, record.KeyTokens)) + len(w.keys(t, record.KeyRevoked)); n != 3 {
		t.Errorf("%d left of 3 that are still needed", n)
	}
	w.clock.advance(2 * time.Hour)
	must(t, w.registrar.Sweep(t.Context()))
	if left := w.keys(t, record.KeyTokens); left != nil || len(w.keys(t, record.KeyRevoked)) != 2 {
		t.Errorf("tokens left: %v", left)
	}
	w.clock.advance(CertificateLife)
	must(t, w.registrar.Sweep(t.Context()))
	if left := w.keys(t, record.KeyRevoked); left != nil {
		t.Errorf("revocations left: %v", left)
	}
}

func TestAStoreWithoutCellOrAnswerIsNamed(t *testing.T) {
	w := newWorld(t)
	ask := w.asks(t, w.token(t), "b", NewFiles(t.TempDir()))
	w.store.SetUnavailable(true)
	_, err := w.registrar.Join(t.Context(), ask)
	wantError(t, err, store.ErrUnavailable)
	w.store.SetUnavailable(false)
	_, _, err = w.store.Txn(t.Context(), nil, []store.Op{{Key: record.KeyCell, Delete: true}})
	must(t, err)
	_, err = w.registrar.Join(t.Context(), ask)
	wantError(t, err, ErrNoCell)
	_, err = w.registrar.CreateToken(t.Context(), request.Token{})
	wantError(t, err, ErrNoCell)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = w.registrar.Join(ctx, ask)
	wantError(t, err, context.Canceled)
}
