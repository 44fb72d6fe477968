package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/keelson/keelson/internal/store"
	"github.com/keelson/keelson/internal/store/storetest"
)

// TestStore runs the suite on one server, as a cell's own voter and as an
// external cluster that others use too.
func TestStore(t *testing.T) {
	t.Parallel()
	for _, external := range []bool{false, true} {
		t.Run(fmt.Sprintf("external=%v", external), func(t *testing.T) {
			t.Parallel()
			ca := newAuthority(t)
			o := options(t, ca, "a")
			startNew(t, o)
			var opened atomic.Int32
			storetest.Run(t, storetest.Subject{
				Open: func(t *testing.T) store.Store {
					c := dialOptions(ca, t, o.AdvertiseClient)
					c.External = external
					c.Prefix = fmt.Sprintf("/keelson/%d/", opened.Add(1))
					return connect(t, c)
				},
				Compact: func(t *testing.T, s store.Store, revision int64) {
					c := s.(*Client)
					if err := c.try(t.Context(), func(ctx context.Context) error {
						_, err := c.etcd.Compact(ctx, revision)
						return err
					}); err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
						t.Fatal(err)
					}
				},
			})
		})
	}
}
