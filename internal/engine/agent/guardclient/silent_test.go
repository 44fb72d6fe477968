package guardclient

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keelson/keelson/internal/core/supervise"
	"github.com/keelson/keelson/internal/model/guardwire"
)

// The guard stands still, and the kernel goes on accepting connections for it. An
// agent that is on time goes by what it was told last, and waits for nothing more.
func TestAnAgentOnTimeStopsByTheLeaseOfAGuardThatStandsStill(t *testing.T) {
	for _, tt := range []struct {
		name string
		left time.Duration // of the lease, when the guard says its last word
	}{
		{"the lease ends while the silence is not noticed yet", guardSilence - 200*time.Millisecond},
		{"the lease ends right after the silence was noticed", guardSilence + 200*time.Millisecond},
		{"the lease ends after a new connection was made", guardSilence + changeover},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFarEnd()
				c := run(t, f)
				conn := <-f.conns
				go func() { _, _ = io.Copy(io.Discard, conn) }()
				s := state(7)
				s.State.Now = guardwire.Boot(bubble{}.Boot())
				send(t, conn, s)
				synctest.Wait()
				go func() {
					for x := range f.conns {
						go func() { _, _ = io.Copy(io.Discard, x) }()
					}
				}()
				until := bubble{}.Boot() + tt.left
				if stopped := stopsAt(c, until); stopped > until {
					t.Errorf("what runs is stopped %s after the lease's end", stopped-until)
				}
				close(f.conns)
			})
		})
	}
}

// stopsAt is when an agent stops what runs under a lease that is not renewed.
func stopsAt(c *Client, until time.Duration) time.Duration {
	h := supervise.Hold{Known: true, Held: true, Epoch: 5, Guard: 7, Until: until}
	var lag supervise.Lag
	for lag.Due = until - supervise.StopAhead - supervise.LookAhead; ; {
		time.Sleep(lag.Due - bubble{}.Boot())
		now, v := bubble{}.Boot(), c.Latest()
		heard := supervise.Heard{Said: time.Duration(v.State.Now), Unread: v.Unread}
		lag.Note(now, heard)
		switch {
		case until-now > supervise.StopAhead:
			lag.Due = until - supervise.StopAhead
		case v.Up && lag.Awaits(h, now, heard):
			lag.Due = now + supervise.LookEvery
		default:
			return now
		}
	}
}
