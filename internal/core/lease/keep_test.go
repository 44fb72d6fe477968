package lease

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/core/quorum"
)

// loner is a voter of one that holds what it seeks.
func loner(t *testing.T, s Seek) (n *Node, now Boot) {
	t.Helper()
	n = New(0, 1)
	n.Configure(quorum.Config{Version: 1, Voters: quorum.Of(0)})
	n.Admit(0, 10, 10_000, time.Second)
	now = 2 * time.Second
	n.Seek(now, []Seek{s})
	deliver(n, now)
	if held := n.Holds(now, nil); len(held) != 1 || held[0].Until <= now {
		t.Fatalf("it holds %+v", held)
	}
	return n, now
}

// deliver carries what a node says to itself.
func deliver(n *Node, now Boot) {
	for out := n.Outbox(); len(out) > 0; out = n.Outbox() {
		for i := range out {
			if out[i].To == n.self {
				n.Receive(now, n.self, n.inc, &out[i].Message)
			}
		}
	}
}

func TestOnlySoftLeasesAreKept(t *testing.T) {
	tests := []struct {
		name string
		seek Seek
		want []NoteKind
	}{
		{"neither", Seek{}, []NoteKind{Ended}},
		{"exclusive, and said to be kept", Seek{Keep: true}, []NoteKind{Ended}},
		{"soft", Seek{Soft: true}, []NoteKind{Ended}},
		{"soft and kept", Seek{Soft: true, Keep: true}, []NoteKind{Ended, Kept}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.seek.ID, tt.seek.TTL, tt.seek.Claim = 5, 400*time.Millisecond, true
			n, now := loner(t, tt.seek)
			n.Notes()
			n.Seek(now, []Seek{{ID: 5, TTL: tt.seek.TTL, Soft: tt.seek.Soft, Keep: tt.seek.Keep}}) // claims no more
			now += time.Second
			shown := n.Holds(now, nil) // before anything noticed that it has lapsed
			n.Tick(now)
			var got []NoteKind
			for _, note := range n.Notes() {
				got = append(got, note.Kind)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("notes (-want +got):\n%s", diff)
			}
			after := n.Holds(now, nil)
			if diff := cmp.Diff(shown, after); diff != "" {
				t.Errorf("what is shown depends on who looked first:\n%s", diff)
			}
			kept := len(tt.want) == 2
			if n.Keeps(5) != kept || n.Keeping() != kept || len(after) == 1 != kept {
				t.Errorf("keeps %v, keeping %v, shows %+v", n.Keeps(5), n.Keeping(), after)
			}
			for _, h := range after {
				if !h.Keep || h.Until > now {
					t.Errorf("it looks like a lease: %+v at %s", h, now)
				}
			}
		})
	}
}
