package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/store"
)

// lossy is an etcd that carries transactions out and loses the answers, or
// carries them out only after the next one.
type lossy struct {
	clientv3.KV
	lose  int // answers still to be lost
	delay int // transactions still to be delayed
	late  []func()
}

type lossyTxn struct {
	clientv3.Txn
	kv *lossy
}

func (l *lossy) Txn(ctx context.Context) clientv3.Txn {
	return &lossyTxn{l.KV.Txn(context.WithoutCancel(ctx)), l}
}

func (l *lossyTxn) If(c ...clientv3.Cmp) clientv3.Txn { l.Txn = l.Txn.If(c...); return l }

func (l *lossyTxn) Then(o ...clientv3.Op) clientv3.Txn { l.Txn = l.Txn.Then(o...); return l }

func (l *lossyTxn) Else(o ...clientv3.Op) clientv3.Txn { l.Txn = l.Txn.Else(o...); return l }

func (l *lossyTxn) Commit() (*clientv3.TxnResponse, error) {
	if l.kv.delay > 0 {
		l.kv.delay--
		l.kv.late = append(l.kv.late, func() { _, _ = l.Txn.Commit() })
		return nil, rpctypes.ErrTimeout
	}
	answer, err := l.Txn.Commit()
	if l.kv.lose > 0 {
		l.kv.lose--
		return nil, rpctypes.ErrTimeout
	}
	return answer, err
}

func (l *lossy) arrive() {
	for _, commit := range l.late {
		commit()
	}
	l.late = nil
}

func TestTransactionsHappenOnce(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	o := options(t, ca, "a")
	startNew(t, o)
	open := func(t *testing.T, name string) (*Client, *lossy) {
		d := dialOptions(ca, t, o.AdvertiseClient)
		d.Prefix, d.Name = "/"+name+"/", name
		c := connect(t, d)
		kv := &lossy{KV: c.etcd.KV}
		c.etcd.KV = kv
		return c, kv
	}

	t.Run("a lost answer is found again", func(t *testing.T) {
		c, kv := open(t, "lost")
		for i := range 3 {
			kv.lose = 2
			revision := int64(0)
			if e, found, err := c.Get(bounded(t), "n"); err != nil {
				t.Fatal(err)
			} else if found {
				revision = e.Revision
			}
			done, _, err := c.Txn(bounded(t), []store.Guard{{Key: "n", Revision: revision}},
				[]store.Op{{Key: "n", Value: fmt.Append(nil, i)}})
			if err != nil || !done {
				t.Fatalf("step %d: %v, %v", i, done, err)
			}
		}
		want(t, c, "n", "2")
	})

	t.Run("a late attempt does not overwrite what came after", func(t *testing.T) {
		c, kv := open(t, "late")
		kv.delay = 1
		put(t, c, "k", "old") // an attempt is on its way still
		put(t, c, "k", "new")
		kv.arrive()
		want(t, c, "k", "new")
	})

	t.Run("a refused transaction stays refused", func(t *testing.T) {
		c, kv := open(t, "refused")
		put(t, c, "k", "taken")
		kv.delay = 1
		done, _, err := c.Txn(bounded(t), []store.Guard{{Key: "k"}}, []store.Op{{Key: "k", Value: []byte("late")}})
		if done || err != nil {
			t.Fatalf("create of a present key: %v, %v", done, err)
		}
		if _, _, err := c.Txn(bounded(t), nil, []store.Op{{Key: "k", Delete: true}}); err != nil {
			t.Fatal(err)
		}
		kv.arrive()
		if _, found, err := c.Get(bounded(t), "k"); found || err != nil {
			t.Errorf("after the late attempt: %v, %v; want not found", found, err)
		}
	})

	t.Run("no answer at all is told as such", func(t *testing.T) {
		c, kv := open(t, "none")
		kv.delay = 1000
		_, _, err := c.Txn(bounded(t), nil, []store.Op{{Key: "k", Value: []byte("x")}})
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("got %v, want ErrUnavailable", err)
		}
	})

	t.Run("two clients of one name do not disturb each other's result", func(t *testing.T) {
		first, _ := open(t, "same")
		second, _ := open(t, "same")
		for i := range 4 * slots {
			put(t, first, fmt.Sprintf("first/%d", i), "x")
			put(t, second, fmt.Sprintf("second/%d", i), "x")
		}
		entries, _, err := first.List(bounded(t), "")
		if err != nil || len(entries) != 8*slots {
			t.Errorf("%d entries, %v; want %d", len(entries), err, 8*slots)
		}
	})
}

func TestStartExplainsWhatIsWrong(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	tests := []struct {
		name   string
		change func(t *testing.T, o *ServerOptions)
		want   error
		says   string
	}{
		{"a port in use is named", func(t *testing.T, o *ServerOptions) {
			o.ListenPeer = startNew(t, options(t, ca, "other")).options.ListenPeer
		}, ErrPortInUse, "another program listens on"},
		{"an address of another host is named", func(_ *testing.T, o *ServerOptions) {
			o.ListenPeer = "192.0.2.1:7482"
		}, ErrNoAddress, "192.0.2.1:7482"},
		{"an expired certificate or a clock years ahead is named", func(t *testing.T, o *ServerOptions) {
			o.TLS = ca.files(t, time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour))
		}, ErrCertificate, "set the clock or renew the certificate"},
		{"a directory without an owner is refused", func(t *testing.T, o *ServerOptions) {
			must(t, os.MkdirAll(filepath.Join(o.Dir, "member", "wal"), 0o700))
		}, ErrForeign, "does not say whose it is"},
		{"the directory of another cell is refused", func(t *testing.T, o *ServerOptions) {
			other := *o
			other.Cell = "cell-2"
			must(t, os.MkdirAll(o.Dir, 0o700))
			must(t, other.own(true))
		}, ErrForeign, "in cell cell-2"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := options(t, ca, "a")
			test.change(t, &o)
			err := NewServer(o).StartNew(t.Context())
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v\nwant %v and %q", err, test.want, test.says)
			}
		})
	}
}

func TestRestartWithoutDataSaysSo(t *testing.T) {
	t.Parallel()
	if err := NewServer(options(t, newAuthority(t), "a")).Restart(t.Context()); !errors.Is(err, ErrNoData) {
		t.Errorf("got %v, want ErrNoData", err)
	}
}

// used makes a data directory with something in it and returns its options.
func used(t *testing.T, ca *authority) ServerOptions {
	t.Helper()
	o := options(t, ca, "a")
	s := NewServer(o)
	must(t, s.StartNew(t.Context()))
	must(t, s.Ready(bounded(t)))
	c := connect(t, dialOptions(ca, t, o.AdvertiseClient))
	for i := range 20 {
		put(t, c, fmt.Sprintf("k/%d", i), strings.Repeat("x", 4000))
	}
	must(t, s.Stop(bounded(t)))
	return o
}

func overwrite(t *testing.T, file string, at int64, n int) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	_, err = f.WriteAt([]byte(strings.Repeat("\xa5", n)), at)
	must(t, err)
}

func firstWAL(t *testing.T, o ServerOptions) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(o.walDir(), "*.wal"))
	if err != nil || len(files) == 0 {
		t.Fatal("no log files", err)
	}
	return files[0]
}

func snapshotOf(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	sizes := map[string]int64{}
	must(t, filepath.Walk(dir, func(name string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			sizes[name] = info.Size()
		}
		return err
	}))
	return sizes
}

func TestCorruptDirectoryIsNamedAndLeft(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	tests := []struct {
		name   string
		damage func(t *testing.T, o ServerOptions)
	}{
		{"the database is cut off", func(t *testing.T, o ServerOptions) {
			must(t, os.Truncate(o.database(), 4*4096))
		}},
		{"the database is empty", func(t *testing.T, o ServerOptions) { must(t, os.Truncate(o.database(), 0)) }},
		{"the database's heads are overwritten", func(t *testing.T, o ServerOptions) { overwrite(t, o.database(), 0, 8192) }},
		{"the database's pages are overwritten", func(t *testing.T, o ServerOptions) { overwrite(t, o.database(), 8192, 64<<10) }},
		{"the database is missing", func(t *testing.T, o ServerOptions) { must(t, os.Remove(o.database())) }},
		{"the log is overwritten", func(t *testing.T, o ServerOptions) { overwrite(t, firstWAL(t, o), 2000, 20000) }},
		{"the log begins with garbage", func(t *testing.T, o ServerOptions) { overwrite(t, firstWAL(t, o), 0, 512) }},
		{"the log is cut off early", func(t *testing.T, o ServerOptions) { must(t, os.Truncate(firstWAL(t, o), 3000)) }},
		{"the log is empty", func(t *testing.T, o ServerOptions) { must(t, os.Truncate(firstWAL(t, o), 0)) }},
		{"the log is missing", func(t *testing.T, o ServerOptions) { must(t, os.RemoveAll(o.walDir())) }},
		{"the owner's note is garbage", func(t *testing.T, o ServerOptions) { overwrite(t, o.ownerFile(), 0, 10) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := used(t, ca)
			test.damage(t, o)
			before := snapshotOf(t, o.Dir)
			s := NewServer(o)
			err := s.Restart(t.Context())
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), o.Dir) {
				t.Errorf("got %v, want ErrCorrupt and the directory's name", err)
			}
			after := snapshotOf(t, o.Dir)
			for name := range before {
				if _, there := after[name]; !there {
					t.Errorf("%s is gone", name)
				}
			}
		})
	}
}

func TestRestartKeepsData(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	o := used(t, ca)
	s := NewServer(o)
	must(t, s.Restart(t.Context()))
	stopAtEnd(t, s)
	must(t, s.Ready(bounded(t)))
	c := connect(t, dialOptions(ca, t, o.AdvertiseClient))
	want(t, c, "k/19", strings.Repeat("x", 4000))
	put(t, c, "k/19", "new")
	want(t, c, "k/19", "new")
	if err := s.StartNew(t.Context()); err != nil {
		t.Errorf("starting a running server: %v", err)
	}
	must(t, s.Stop(bounded(t)))
	if err := s.StartNew(t.Context()); !errors.Is(err, errExists) {
		t.Errorf("a new cell over the data of one: %v, want errExists", err)
	}
}

func TestStoppedByTwoAtOnce(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	s := NewServer(used(t, ca))
	must(t, s.Restart(t.Context()))
	must(t, s.Ready(bounded(t)))
	errs := make(chan error, 2)
	for range 2 {
		go func() { errs <- s.Stop(bounded(t)) }()
	}
	for range 2 {
		must(t, <-errs)
	}
	if s.Running() {
		t.Error("it runs after it was stopped")
	}
	must(t, s.Restart(t.Context()))
	must(t, s.Stop(bounded(t)))
}

func TestDirectoryInUseByAnotherProcess(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	o := options(t, ca, "a")
	startNew(t, o)
	second := o
	second.ListenPeer, second.ListenClient = freePort(t), freePort(t)
	if err := NewServer(second).Restart(t.Context()); !errors.Is(err, ErrInUse) {
		t.Errorf("got %v, want ErrInUse", err)
	}
}

func TestUnfinishedFirstStartIsBegunAnew(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	o := options(t, ca, "a")
	must(t, os.MkdirAll(filepath.Join(o.memberDir(), "snap"), 0o700))
	must(t, os.WriteFile(o.database(), []byte("half"), 0o600))
	must(t, o.own(false))
	startNew(t, o)
	if aside, err := filepath.Glob(o.memberDir() + ".unfinished-*"); len(aside) != 1 || err != nil {
		t.Errorf("renamed directories: %v, %v; want one", aside, err)
	}
}

func TestDiscardKeepsTheNewest(t *testing.T) {
	t.Parallel()
	o := options(t, newAuthority(t), "a")
	s := NewServer(o)
	for i := range 3 {
		must(t, os.MkdirAll(o.Dir, 0o700))
		must(t, os.WriteFile(filepath.Join(o.Dir, "n"), fmt.Append(nil, i), 0o600))
		must(t, s.Discard(time.Date(2026, 1, 1, 0, 0, i, 0, time.UTC)))
	}
	must(t, s.Discard(time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC))) // nothing there
	aside, err := filepath.Glob(filepath.Join(filepath.Dir(o.Dir), "*"))
	must(t, err)
	if diff := cmp.Diff([]string{o.Dir + ".removed-20260101T000002.000Z"}, aside); diff != "" {
		t.Error(diff)
	}
}

func TestServerIsStoppedOnceHoweverManyAsk(t *testing.T) {
	t.Parallel()
	o := options(t, newAuthority(t), "a")
	s := startNew(t, o)
	ended := make(chan error)
	for range 8 {
		go func() { ended <- s.Stop(bounded(t)) }()
	}
	for range 8 {
		must(t, <-ended)
	}
	must(t, s.Restart(t.Context()))
	must(t, s.Ready(bounded(t)))
}

// TestFullDisk fills a small file system of its own.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts a small file system to fill")
	}
	ca := newAuthority(t)
	small := func(t *testing.T, size string) ServerOptions {
		o := options(t, ca, "a")
		dir := t.TempDir()
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
			t.Skipf("this machine does not let us mount a file system: %v", err)
		}
		t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
		o.Dir = filepath.Join(dir, "etcd")
		return o
	}
	t.Run("at the start", func(t *testing.T) {
		o := small(t, "4m")
		if err := NewServer(o).StartNew(t.Context()); !errors.Is(err, ErrDiskFull) {
			t.Errorf("got %v, want ErrDiskFull", err)
		}
	})
	t.Run("later", func(t *testing.T) {
		o := small(t, "40m")
		s := NewServer(o)
		must(t, s.StartNew(t.Context()))
		must(t, s.Ready(bounded(t)))
		must(t, os.WriteFile(filepath.Join(filepath.Dir(o.Dir), "ballast"), nil, 0o600))
		fill(t, filepath.Join(filepath.Dir(o.Dir), "ballast"))
		c := connect(t, dialOptions(ca, t, o.AdvertiseClient))
		ended := make(chan error, 1)
		go func() { ended <- s.Wait(bounded(t)) }()
		big := []store.Op{{Key: "big", Value: make([]byte, 1<<20)}}
		for range 30 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, _, err := c.Txn(ctx, nil, big)
			cancel()
			if err != nil {
				break
			}
		}
		select {
		case err := <-ended:
			if !errors.Is(err, ErrDiskFull) {
				t.Errorf("the server ended with %v, want ErrDiskFull", err)
			}
		case <-bounded(t).Done():
			t.Error("the server does not say that its disk is full")
		}
		// etcd may be stuck for good; then the stop says so in its time.
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	must(t, err)
	defer f.Close()
	block := make([]byte, 64<<10)
	for {
		if _, err := f.Write(block); errors.Is(err, unix.ENOSPC) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestClientExplainsAWrongClock(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	o := options(t, ca, "a")
	startNew(t, o)
	d := dialOptions(ca, t, o.AdvertiseClient)
	d.TLS = ca.files(t, time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour))
	d.Election = 100 * time.Millisecond
	_, _, err := connect(t, d).Get(bounded(t), "k")
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	if err := d.TLS.check(clock.System{}.Now()); !errors.Is(err, ErrCertificate) {
		t.Errorf("check: %v, want ErrCertificate", err)
	}
}

func TestExternalClusterIsLeftAlone(t *testing.T) {
	t.Parallel()
	d := dialOptions(newAuthority(t), t, "127.0.0.1:1")
	d.External = true
	c := connect(t, d)
	_, members := c.Members(t.Context())
	_, add := c.AddLearner(t.Context(), "127.0.0.1:2")
	for call, err := range map[string]error{
		"Members": members, "AddLearner": add, "Promote": c.Promote(t.Context(), "1"),
		"Remove": c.Remove(t.Context(), "1"), "MoveLeader": c.MoveLeader(t.Context(), "1"),
	} {
		if !errors.Is(err, ErrExternal) {
			t.Errorf("%s: %v, want ErrExternal", call, err)
		}
	}
}

func TestUnreachableStoreIsUnavailable(t *testing.T) {
	t.Parallel()
	d := dialOptions(newAuthority(t), t, "127.0.0.1:1")
	d.Election = 50 * time.Millisecond
	c := connect(t, d)
	_, _, get := c.Get(bounded(t), "k")
	_, _, txn := c.Txn(bounded(t), nil, []store.Op{{Key: "k"}})
	watch := c.Watch(bounded(t), "", 0, func([]store.Event) error { return nil })
	for call, err := range map[string]error{"Get": get, "Txn": txn, "Watch": watch} {
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnavailable", call, err)
		}
	}
}
