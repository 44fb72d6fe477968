package etcdstore

import (
	"errors"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/store"
)

func TestKeptIsWhatTheServerHasRunningOrStopped(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	o := options(t, ca, "a")
	s := startNew(t, o)
	c := connect(t, dialOptions(ca, t, o.AdvertiseClient))
	put(t, c, "cell", "old")
	put(t, c, "cell", "new")
	put(t, c, "nodes/a", "this node")
	put(t, c, "nodes/b", "gone")
	if done, _, err := c.Txn(bounded(t), nil, []store.Op{{Key: "nodes/b", Delete: true}}); err != nil || !done {
		t.Fatal(done, err)
	}
	put(t, c, "nodes/c", "not asked for")

	want := map[string][]byte{"cell": []byte("new"), "nodes/a": []byte("this node")}
	look := func(when string) {
		t.Helper()
		got, err := s.Kept(bounded(t), "/keelson/cell-1/", "cell", "nodes/a", "nodes/b", "nodes/never")
		if err != nil {
			t.Fatal(when, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	look("running")
	must(t, s.Stop(bounded(t)))
	look("stopped")
	must(t, os.WriteFile(o.TLS.Cert, nil, 0o600))
	look("stopped and without a certificate")

	other, err := s.Kept(bounded(t), "/keelson/cell-2/", "cell")
	if err != nil || len(other) != 0 {
		t.Errorf("under another prefix it has %v, %v", other, err)
	}
	must(t, os.Truncate(o.database(), 4*4096))
	if _, err := s.Kept(bounded(t), "/keelson/cell-1/", "cell"); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a damaged database gives %v, want ErrCorrupt", err)
	}
	must(t, os.Remove(o.database()))
	if _, err := s.Kept(bounded(t), "/keelson/cell-1/", "cell"); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a missing database gives %v, want ErrCorrupt", err)
	}
}
