package plane

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/core/detect"
	"github.com/keelson/keelson/internal/core/lease"
	"github.com/keelson/keelson/internal/core/quorum"
)

// kept says of every field of a Node how it survives. A field that is new has to
// be kept by State and Restore, or to be one that may be lost, and to be named
// here.
var kept = map[string]string{
	"self": "kept", "inc": "kept", "duty": "kept", "detector": "kept, see package detect", "leases": "kept, see package lease",
	"interval": "kept", "nextBeat": "kept", "held": "kept", "pending": "kept", "urgent": "kept", "packets": "kept",
	"msg": "lost: room that is used again", "spare": "lost: room that is used again", "handed": "lost: was sent",
	"version": "lost: the detector is told again who votes", "nextHurry": "kept", "restless": "kept", "gone": "kept", "idle": "kept", "keeping": "kept",
}

func TestEveryFieldIsKeptOrMayBeLost(t *testing.T) {
	typ := reflect.TypeFor[Node]()
	for i := range typ.NumField() {
		if name := typ.Field(i).Name; kept[name] == "" {
			t.Errorf("field %s: keep it in State and Restore, or say here why it may be lost", name)
		}
	}
	if n := typ.NumField(); n != len(kept) {
		t.Errorf("%d fields, %d are spoken of here", n, len(kept))
	}
}

// reborn is n as another process takes it over.
func reborn(t *testing.T, n *Node) *Node {
	t.Helper()
	data, err := json.Marshal(n.State())
	if err != nil {
		t.Fatal(err)
	}
	var s State
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&s); err != nil {
		t.Fatal(err)
	}
	other := New(n.self, n.inc)
	if err := other.Restore(s); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(n.State(), other.State()); diff != "" {
		t.Fatalf("the state of the node that took over is another: %s", diff)
	}
	return other
}

// flight is a packet on its way.
type flight struct {
	at   Boot
	from uint8
	Packet
}

// history is a random history of a cell, written down as the nodes made it. With
// reborn, nodes are now and then replaced by one made of their state.
func history(t *testing.T, seed uint64, replace bool) []string {
	random := rand.New(rand.NewPCG(seed, 1)) // of the world; the same with and without
	dice := rand.New(rand.NewPCG(seed, 2))   // of the replacements
	const size = 5
	var log []string
	nodes := make([]*Node, size)
	config := quorum.Config{Version: 1, Voters: quorum.Of(0, 1, 2)}
	duty := func() Duty {
		d := Duty{Members: 1<<size - 1, Config: config, Floor: 10, Ceiling: 100_000, Longest: time.Second}
		for id := range lease.ID(60) {
			order := []uint8{uint8(id % size), uint8((id + 1) % size), uint8((id + 3) % size)}
			d.Seeks = append(d.Seeks, Seek{ID: id + 1, TTL: time.Second - time.Duration(id%3)*200*time.Millisecond, Soft: id%4 == 0, Keep: id%8 < 5, Order: order, Claim: true})
		}
		return d
	}
	for slot := range nodes {
		nodes[slot] = New(uint8(slot), uint64(slot)+1)
		nodes[slot].SetDuty(0, duty())
	}
	var air []flight
	frozen := make([]Boot, size)
	loss := 0
	for now := Boot(0); now < 10*time.Second; now += time.Millisecond {
		if random.IntN(400) == 0 {
			loss = random.IntN(40)
		}
		if random.IntN(600) == 0 {
			frozen[random.IntN(size)] = now + time.Duration(random.IntN(1500))*time.Millisecond
		}
		if slot := random.IntN(size); random.IntN(2000) == 0 { // one starts anew
			nodes[slot] = New(uint8(slot), uint64(now))
			nodes[slot].SetDuty(now, duty())
		}
		if random.IntN(2500) == 0 {
			config = quorum.Config{Version: config.Version + 1, Voters: quorum.Of(0, 1, 2, 3, 4), Prior: config.Voters}
			for slot := range nodes {
				nodes[slot].SetDuty(now, duty())
			}
		}
		var later []flight
		for _, f := range air {
			switch {
			case f.at > now || now < frozen[f.To]:
				later = append(later, f)
			default:
				if err := nodes[f.To].Receive(now, f.from, nodes[f.from].inc, f.Data); err != nil {
					t.Fatal(err)
				}
			}
		}
		air = later
		for slot, n := range nodes {
			if now < frozen[slot] {
				continue
			}
			if replace && dice.IntN(150) == 0 {
				n = reborn(t, n)
				nodes[slot] = n
			}
			if n.Next() <= now {
				n.Tick(now)
			}
			if holds := n.Holds(now, nil); len(holds) > 0 && random.IntN(900) == 0 {
				n.Release(now, holds[0].ID, holds[0].Number)
			}
			if random.IntN(3000) == 0 {
				n.Refused(uint8(random.IntN(size)))
			}
			if replace && dice.IntN(150) == 0 {
				n = reborn(t, n) // with packets that wait
				nodes[slot] = n
			}
			for _, p := range n.Packets() {
				log = append(log, fmt.Sprintf("%s %d to %d: %x", now, slot, p.To, p.Data))
				if random.IntN(100) >= loss {
					air = append(air, flight{at: now + time.Duration(random.IntN(20))*time.Millisecond, from: uint8(slot), Packet: Packet{To: p.To, Data: bytes.Clone(p.Data)}})
				}
			}
			for _, note := range n.Notes() {
				log = append(log, fmt.Sprintf("%s %d notes %v", now, slot, note))
			}
			if now%(10*time.Millisecond) == 0 {
				log = append(log, fmt.Sprintf("%s %d sees %v and holds %v", now, slot, n.View(now), n.Holds(now, nil)))
			}
		}
	}
	return log
}

func TestNodeThatTookOverDoesWhatTheOneBeforeWouldHaveDone(t *testing.T) {
	seeds := uint64(3)
	if testing.Short() {
		seeds = 1
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("history ", seed), func(t *testing.T) {
			t.Parallel()
			plain, taken := history(t, seed, false), history(t, seed, true)
			for i := range plain {
				if i >= len(taken) || plain[i] != taken[i] {
					t.Fatalf("line %d of %d differs:\n  without: %s\n  with:    %s", i, len(plain), plain[i], taken[min(i, len(taken)-1)])
				}
			}
			won := 0
			for _, line := range plain {
				if bytes.Contains([]byte(line), []byte("notes {1 ")) {
					won++
				}
			}
			if won < 60 {
				t.Errorf("only %d leases were won in this history: it shows nothing", won)
			}
		})
	}
}

func TestStateThatIsNoneIsRefused(t *testing.T) {
	whole := func() State {
		a, b, duty := pair(3)
		a.SetDuty(0, duty)
		b.SetDuty(0, duty)
		play(t, a, b, 0, 3*time.Second)
		a.Tick(3*time.Second + 40*time.Millisecond)
		return a.State()
	}
	if len(whole().Pending)+len(whole().Packets) == 0 {
		t.Fatal("nothing waits to be sent")
	}
	tests := []struct {
		name  string
		spoil func(*State)
		want  error
	}{
		{"of another slot", func(s *State) { s.Self = 1 }, ErrState},
		{"of another incarnation", func(s *State) { s.Inc++ }, ErrState},
		{"a detector of another slot", func(s *State) { s.Detector.Self = 1 }, detect.ErrState},
		{"leases of another incarnation", func(s *State) { s.Leases.Inc++ }, lease.ErrState},
		{"a pause between heartbeats that cannot be", func(s *State) { s.Interval = -1 }, ErrState},
		{"a packet for nobody", func(s *State) { s.Pending[0].To = 32 }, ErrState},
		{"a packet longer than any", func(s *State) { s.Pending[0].Data = make([]byte, MaxPacket+1) }, ErrState},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := whole()
			tt.spoil(&s)
			n := New(0, 1)
			if err := n.Restore(s); !errors.Is(err, tt.want) {
				t.Errorf("the answer is %v", err)
			}
			if diff := cmp.Diff(New(0, 1).State(), n.State()); diff != "" {
				t.Errorf("the node was changed: %s", diff)
			}
		})
	}
}
