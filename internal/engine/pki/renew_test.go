package pki

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
	"github.com/keelson/keelson/internal/store/memstore"
)

// asked is a Signer that counts, and answers as the test says.
type asked struct {
	calls  atomic.Int32
	answer func(csr []byte) (request.Renewed, error)
}

func (a *asked) RenewCertificate(_ context.Context, csr []byte) (request.Renewed, error) {
	a.calls.Add(1)
	return a.answer(csr)
}

// renewal is a node in a synctest bubble, whose clock is the bubble's.
type renewal struct {
	*Renewer
	founding  Founding
	registrar *Registrar
	signer    *asked
}

func newRenewal(t *testing.T) *renewal {
	t.Helper()
	var clk clock.System
	files := NewFiles(t.TempDir())
	founding, err := Found("lab", record.Node{Name: "a", Address: "10.0.0.1"}, csrFor(t, files, "a"), false, clk.Now())
	must(t, err)
	must(t, files.Install(founding.Certificate, founding.Cell.CACert))
	r := &renewal{founding: founding, signer: &asked{}, registrar: &Registrar{Store: memstore.New(clk), Clock: clk}}
	must(t, r.registrar.InitCell(t.Context(), founding))
	r.signer.answer = func(csr []byte) (request.Renewed, error) {
		return r.registrar.RenewCertificate(t.Context(), request.Renew{Node: "a", CSR: csr})
	}
	r.Renewer = &Renewer{Files: files, Signer: r.signer, Clock: clk, Log: quiet(), Seed: 7}
	return r
}

func (r *renewal) left(t *testing.T) time.Duration {
	t.Helper()
	pair, err := r.Files.Certificate()
	must(t, err)
	return pair.Leaf.NotAfter.Sub(r.Clock.Now())
}

// run runs the renewer for d of the bubble's time.
func (r *renewal) run(t *testing.T, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	wantError(t, r.Run(ctx), context.DeadlineExceeded)
}

const day = 24 * time.Hour

func TestACertificateIsRenewedWhenAThirdOfItsLifeIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRenewal(t)
		var told []time.Time
		r.Renewed = func(expires time.Time) { told = append(told, expires) }
		r.run(t, 17*day)
		if n := r.signer.calls.Load(); n != 0 {
			t.Fatalf("asked %d times after 17 days", n)
		}
		r.run(t, 4*day)
		if n := r.signer.calls.Load(); n != 1 {
			t.Fatalf("asked %d times after 21 days", n)
		}
		if left := r.left(t); left < 25*day {
			t.Errorf("%s left", left)
		}
		pair, err := r.Files.Certificate()
		must(t, err)
		if diff := cmp.Diff([]time.Time{pair.Leaf.NotAfter}, told); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
		r.run(t, 365*day)
		if left := r.left(t); left < 9*day {
			t.Errorf("%s left after a year", left)
		}
	})
}

func TestSeedsSpreadTheRenewals(t *testing.T) {
	from, to := start, start.Add(CertificateLife)
	seen := map[time.Time]bool{}
	for seed := range uint64(100) {
		due := renewDue(from, to, seed)
		if left := to.Sub(due); left < 10*day || left > 12*day+12*time.Hour {
			t.Fatalf("seed %d: %s left", seed, left)
		}
		seen[due] = true
	}
	if len(seen) < 95 {
		t.Errorf("100 seeds, %d moments", len(seen))
	}
}

func TestAFailedRenewalIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRenewal(t)
		works := r.signer.answer
		r.signer.answer = func([]byte) (request.Renewed, error) { return request.Renewed{}, errors.New("nobody there") }
		r.run(t, 21*day)
		calls := r.signer.calls.Load()
		if calls < 24 || calls > 24*7 {
			t.Errorf("asked %d times in the first days", calls)
		}
		r.signer.answer = works
		r.run(t, 2*time.Hour)
		if left := r.left(t); left < 29*day {
			t.Errorf("%s left", left)
		}
	})
}

func TestAWrongAnswerIsNotInstalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, other := newRenewal(t), newRenewal(t)
		home, err := AuthorityOf(r.founding.Cell)
		must(t, err)
		away, err := AuthorityOf(other.founding.Cell)
		must(t, err)
		key, err := r.Files.Key()
		must(t, err)
		sign := func(a *Authority, files *Files, name string, id string) request.Renewed {
			issued, err := a.SignNode(csrFor(t, files, name), record.Node{Name: spec.NodeName(name), ID: id}, r.Clock.Now())
			must(t, err)
			return request.Renewed{Certificate: issued.Certificate, CA: a.CertPEM()}
		}
		id := r.founding.Node.ID
		ann, err := home.SignOperator(csrFor(t, r.Files, "ann"), "ann", Admin, time.Hour, r.Clock.Now())
		must(t, err)
		tests := []struct {
			name   string
			answer request.Renewed
			want   error
		}{
			{"the authority of another cell", sign(away, r.Files, "a", id), ErrWrongCell},
			{"another node's name", sign(home, r.Files, "b", id), ErrWrongNode},
			{"another node's id", sign(home, r.Files, "a", "other"), ErrWrongNode},
			{"another key", sign(home, other.Files, "a", id), ErrDamaged},
			{"an operator's certificate", request.Renewed{Certificate: ann.Certificate}, ErrWrongCell},
			{"nothing", request.Renewed{}, ErrDamaged},
		}
		for _, tt := range tests {
			_, err := r.take(tt.answer, r.Clock.Now())
			if !errors.Is(err, tt.want) {
				t.Errorf("%s: error is %v, want %v", tt.name, err, tt.want)
			}
			pair, err := r.Files.Certificate()
			must(t, err)
			if !key.PublicKey.Equal(pair.Leaf.PublicKey) || serialText(pair.Leaf) != r.founding.Node.CertSerial {
				t.Errorf("%s: the certificate was replaced", tt.name)
			}
		}
	})
}

func TestACellThatSleptTooLongRenewsOffline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRenewal(t)
		time.Sleep(90 * day)
		trust := Trust{Cell: r.founding.Cell.ID, Files: r.Files, Clock: r.Clock}
		_, err := trust.own()
		wantError(t, err, ErrCertificateExpired)
		authority, err := AuthorityOf(r.founding.Cell)
		must(t, err)
		r.Signer = OfflineSigner{Authority: authority, Node: r.founding.Node, Clock: r.Clock}
		r.run(t, time.Minute)
		_, err = trust.own()
		wantError(t, err, nil)
	})
}

func TestAnotherKeyIsNotSignedOffline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRenewal(t)
		authority, err := AuthorityOf(r.founding.Cell)
		must(t, err)
		key, err := newKey()
		must(t, err)
		csr, err := NewRequest(key, "a")
		must(t, err)
		_, err = OfflineSigner{Authority: authority, Node: r.founding.Node, Clock: r.Clock}.RenewCertificate(t.Context(), csr)
		wantError(t, err, ErrNotMember)
	})
}

// ahead is a clock that is off by a fixed time.
type ahead struct {
	clock.Clock
	by time.Duration
}

func (a ahead) Now() time.Time { return a.Clock.Now().Add(a.by) }

func TestACertificateSignedUnderAWrongClockIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRenewal(t)
		authority, err := AuthorityOf(r.founding.Cell)
		must(t, err)
		right := r.Clock
		for _, wrong := range []time.Duration{3 * 365 * day, 0} {
			r.Clock = ahead{right, wrong}
			r.Signer = OfflineSigner{Authority: authority, Node: r.founding.Node, Clock: r.Clock}
			r.run(t, time.Minute)
			trust := Trust{Cell: r.founding.Cell.ID, Files: r.Files, Clock: r.Clock}
			_, err = trust.own()
			wantError(t, err, nil)
		}
	})
}

func TestNothingIsSignedBeforeTheCellWasMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRenewal(t)
		authority, err := AuthorityOf(r.founding.Cell)
		must(t, err)
		r.Clock = ahead{r.Clock, -50 * 365 * day}
		r.Signer = OfflineSigner{Authority: authority, Node: r.founding.Node, Clock: r.Clock}
		_, err = r.step(t.Context())
		wantError(t, err, ErrClockOff)
		pair, err := r.Files.Certificate()
		must(t, err)
		if serialText(pair.Leaf) != r.founding.Node.CertSerial {
			t.Error("the certificate was replaced")
		}
	})
}

func TestRevocationsFollowTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var clk clock.System
		s := memstore.New(clk)
		put := func(key string) {
			op, err := put{key, record.Revoked{At: clk.Now()}}.op()
			must(t, err)
			_, _, err = s.Txn(t.Context(), nil, []store.Op{op})
			must(t, err)
		}
		put(record.KeyRevoked + "early")
		v := &Revocations{Store: s, Clock: clk, Log: quiet()}
		s.SetUnavailable(true)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- v.Run(ctx) }()
		synctest.Wait()
		if v.Revoked("early") {
			t.Error("revoked before the store answered")
		}
		s.SetUnavailable(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		put(record.KeyRevoked + "late")
		synctest.Wait()
		if !v.Revoked("early") || !v.Revoked("late") || v.Revoked("never") {
			t.Error("the list is not that of the store")
		}
		_, _, err := s.Txn(t.Context(), nil, []store.Op{{Key: record.KeyRevoked + "early", Delete: true}})
		must(t, err)
		synctest.Wait()
		if v.Revoked("early") {
			t.Error("still revoked")
		}
		// An outage forgets nothing.
		s.SetUnavailable(true)
		time.Sleep(time.Hour)
		if !v.Revoked("late") {
			t.Error("forgotten in an outage")
		}
		cancel()
		wantError(t, <-done, context.Canceled)
	})
}
