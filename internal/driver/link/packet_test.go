package link

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/keelson/keelson/internal/model/record"
)

func key(id uint32) record.LinkKey {
	return record.LinkKey{ID: id, Key: bytes.Repeat([]byte{byte(id)}, 32)}
}

func newCodec(t testing.TB, cell string, self uint8, incarnation uint64, keys ...record.LinkKey) *codec {
	t.Helper()
	c := &codec{}
	c.init(cell, self, incarnation)
	if len(keys) == 0 {
		keys = []record.LinkKey{key(1)}
	}
	if err := c.setKeys(keys); err != nil {
		t.Fatal(err)
	}
	for slot := range uint8(4) {
		c.admit(slot, true)
	}
	return c
}

func TestOpenTakesOnlyWhatIsMeantForIt(t *testing.T) {
	sealed := func() []byte { return newCodec(t, "c", 1, 7).seal(nil, 0, []byte("hello")) }
	with := func(at int, b byte) []byte {
		p := sealed()
		p[at] ^= b
		return p
	}
	other := newCodec(t, "c", 1, 7, record.LinkKey{ID: 1, Key: make([]byte, 32)}).seal(nil, 0, []byte("hello"))
	tests := []struct {
		name   string
		packet []byte
		want   Kind
	}{
		{"nothing", nil, Truncated},
		{"a header alone", sealed()[:headerSize], Truncated},
		{"a cut header", sealed()[:headerSize-1], Truncated},
		{"a cut payload", sealed()[:headerSize+18], Forged},
		{"a packet with more behind it", append(sealed(), 0), Forged},
		{"far too much", make([]byte, MaxPacket+1), Oversize},
		{"another version", with(atVersion, 3), Version},
		{"another cell", newCodec(t, "d", 1, 7).seal(nil, 0, []byte("hello")), Foreign},
		{"a packet to another node", newCodec(t, "c", 1, 7).seal(nil, 2, []byte("hello")), Misdirected},
		{"a packet of no peer", newCodec(t, "c", 9, 7).seal(nil, 0, []byte("hello")), Stranger},
		{"a slot that does not exist", with(atFrom, 0x80), Stranger},
		{"a key with another number", newCodec(t, "c", 1, 7, key(2)).seal(nil, 0, []byte("hello")), UnknownKey},
		{"another key with the same number", other, Forged},
		{"another sender's slot in the header", with(atFrom, 3), Forged},
		{"another incarnation in the header", with(atIncarnation+7, 8), Forged},
		{"another sequence number in the header", with(atSequence+7, 2), Forged},
		{"a changed payload", with(headerSize, 1), Forged},
		{"a changed seal", with(headerSize+5+15, 1), Forged},
		{"the sequence number 0", with(atSequence+7, 1), Stale},
	}
	for _, tt := range tests {
		t.Run(tt.name+" is dropped", func(t *testing.T) {
			c := newCodec(t, "c", 0, 1)
			_, payload, k := c.open(make([]byte, MaxPayload), tt.packet)
			if payload != nil || k != tt.want {
				t.Errorf("took %q, kind %s, want %s", payload, k, tt.want)
			}
			// Whatever it was, it must not keep out the real one.
			h, payload, k := c.open(make([]byte, MaxPayload), sealed())
			if k != taken || string(payload) != "hello" {
				t.Fatalf("the real packet is dropped as %s", k)
			}
			if diff := cmp.Diff(header{key: 1, from: 1, to: 0, incarnation: 7, sequence: 1}, h, cmp.AllowUnexported(header{})); diff != "" {
				t.Errorf("header (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAPayloadMayBeEmptyOrAsLongAsTheLimit(t *testing.T) {
	from, to := newCodec(t, "c", 1, 7), newCodec(t, "c", 0, 1)
	for _, size := range []int{0, 1, MaxPayload} {
		want := bytes.Repeat([]byte{5}, size)
		packet := from.seal(nil, 0, want)
		if size == MaxPayload && len(packet) != MaxPacket {
			t.Errorf("the longest packet has %d bytes, not %d", len(packet), MaxPacket)
		}
		_, got, k := to.open(make([]byte, MaxPayload), packet)
		if k != taken || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: dropped as %s", size, k)
		}
	}
}

func TestNoNonceIsUsedTwice(t *testing.T) {
	seen := map[[24]byte]bool{}
	for slot := range uint8(3) {
		for incarnation := range uint64(3) {
			c := newCodec(t, "c", slot, incarnation)
			for range 50 {
				c.seal(nil, 9, nil)
				if seen[c.nonce] {
					t.Fatalf("nonce %x twice", c.nonce)
				}
				seen[c.nonce] = true
			}
		}
	}
}

func TestKeysRotateWithoutALoss(t *testing.T) {
	from, to := newCodec(t, "c", 1, 7, key(1)), newCodec(t, "c", 0, 1, key(1))
	pass := func(step string, want Kind) {
		t.Helper()
		_, _, k := to.open(make([]byte, MaxPayload), from.seal(nil, 0, []byte(step)))
		if k != want {
			t.Errorf("%s: kind %d, want %d", step, k, want)
		}
	}
	set := func(c *codec, keys ...record.LinkKey) {
		t.Helper()
		if err := c.setKeys(keys); err != nil {
			t.Fatal(err)
		}
	}
	pass("before", taken)
	set(to, key(1), key(2)) // the receiver learns the new key first
	pass("the receiver knows both", taken)
	set(from, key(2), key(1))
	pass("the sender seals with the new one", taken)
	set(to, key(2))
	pass("the old one is gone", taken)
	set(from, key(1))
	pass("a sender with the old one", UnknownKey)
	late := from.seal(nil, 0, nil)
	set(to, key(2), key(1))
	if _, _, k := to.open(make([]byte, MaxPayload), late); k != taken {
		t.Errorf("the old key opens no more: %s", k)
	}
}

func TestSetKeysRefusesWhatIsNoKeyRing(t *testing.T) {
	short := record.LinkKey{ID: 3, Key: make([]byte, 31)}
	many := make([]record.LinkKey, MaxKeys+1)
	for i := range many {
		many[i] = key(uint32(i))
	}
	tests := []struct {
		name string
		keys []record.LinkKey
	}{
		{"no key", nil},
		{"a short key", []record.LinkKey{key(1), short}},
		{"two keys of one number", []record.LinkKey{key(1), key(1)}},
		{"too many keys", many},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCodec(t, "c", 1, 7)
			if err := c.setKeys(tt.keys); err == nil {
				t.Fatal("accepted")
			}
			if _, _, k := newCodec(t, "c", 0, 1).open(make([]byte, MaxPayload), c.seal(nil, 0, nil)); k != taken {
				t.Errorf("the old key is gone: %s", k)
			}
		})
	}
}

func TestANewIncarnationBeginsAnewAndTheOldOneIsOver(t *testing.T) {
	to := newCodec(t, "c", 0, 1)
	buf := make([]byte, MaxPayload)
	old, young := newCodec(t, "c", 1, 7), newCodec(t, "c", 1, 8)
	first, second := old.seal(nil, 0, nil), old.seal(nil, 0, nil)
	check := func(packet []byte, want Kind) {
		t.Helper()
		if _, _, k := to.open(buf, packet); k != want {
			t.Errorf("kind %d, want %d", k, want)
		}
	}
	check(first, taken)
	check(first, Duplicate)
	forged := young.seal(nil, 0, nil)
	forged[len(forged)-1] ^= 1
	check(forged, Forged)
	check(second, taken) // a forged one ends no incarnation
	check(young.seal(nil, 0, nil), taken)
	check(old.seal(nil, 0, nil), Stale)
	check(first, Stale)
	// Who leaves the cell is forgotten, and the slot's next owner may be younger.
	to.admit(1, false)
	check(first, Stranger)
	to.admit(1, true)
	check(newCodec(t, "c", 1, 3).seal(nil, 0, nil), taken)
}

// model is the window as a set without bounds.
type model struct {
	incarnation, newest uint64
	taken               map[uint64]bool
}

func (m *model) take(incarnation, sequence uint64) bool {
	if incarnation > m.incarnation && sequence > 0 {
		*m = model{incarnation: incarnation, taken: map[uint64]bool{}}
	}
	if incarnation < m.incarnation || sequence == 0 || m.taken[sequence] ||
		m.newest >= windowSize && sequence <= m.newest-windowSize {
		return false
	}
	m.taken[sequence] = true
	m.newest = max(m.newest, sequence)
	return true
}

func TestTheWindowTakesEachPacketOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w window
		m := model{taken: map[uint64]bool{}}
		base := rapid.SampledFrom([]uint64{0, 5000, 1<<64 - 4000}).Draw(t, "base")
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			incarnation := rapid.Uint64Range(0, 2).Draw(t, "incarnation")
			sequence := base + rapid.Uint64Range(0, 3*windowSize).Draw(t, "sequence")
			k := w.judge(incarnation, sequence)
			if k == taken {
				w.mark(incarnation, sequence)
			} else if k != Duplicate && k != Stale {
				t.Fatalf("counted as %s", k)
			}
			if want := m.take(incarnation, sequence); (k == taken) != want {
				t.Fatalf("incarnation %d, sequence %d: kind %d, want taken %v", incarnation, sequence, k, want)
			}
		}
	})
}

func TestOursKnowsWhatItSent(t *testing.T) {
	c := newCodec(t, "c", 1, 7)
	packet := c.seal(nil, 2, []byte("x"))
	if !c.ours(packet[:headerSize], 2) {
		t.Error("its own packet is not known")
	}
	ahead := bytes.Clone(packet)
	binary.BigEndian.PutUint64(ahead[atSequence:], 2)
	tests := []struct {
		name   string
		packet []byte
		to     uint8
	}{
		{"a packet to another slot", packet, 3},
		{"a short quote", packet[:headerSize-1], 2},
		{"a packet that was not sent yet", ahead, 2},
		{"a packet of another incarnation", newCodec(t, "c", 1, 6).seal(nil, 2, nil), 2},
		{"a packet of another node", newCodec(t, "c", 3, 7).seal(nil, 2, nil), 2},
		{"nothing", nil, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name+" is not its own", func(t *testing.T) {
			if c.ours(tt.packet, tt.to) {
				t.Error("taken for its own")
			}
		})
	}
}

func FuzzOpen(f *testing.F) {
	from := newCodec(f, "c", 1, 7)
	good := from.seal(nil, 0, []byte("hello"))
	f.Add(good)
	f.Add(good[:headerSize])
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0xff}, MaxPacket))
	f.Fuzz(func(t *testing.T, packet []byte) {
		c := newCodec(t, "c", 0, 1)
		before := c.heard
		_, payload, k := c.open(make([]byte, MaxPayload), packet)
		ok := k == taken
		switch {
		case ok && !bytes.Equal(packet, good):
			t.Errorf("took %x", packet)
		case ok && string(payload) != "hello":
			t.Errorf("payload %q", payload)
		case !ok && payload != nil:
			t.Errorf("dropped as %d with payload %q", k, payload)
		case !ok && c.heard != before:
			t.Error("a dropped packet changed what was heard")
		}
		c.ours(packet, 1)
		portClosed(packet)
	})
}

func BenchmarkSealAndOpen(b *testing.B) {
	from, to := newCodec(b, "c", 1, 7), newCodec(b, "c", 0, 1)
	payload, buf := make([]byte, 100), make([]byte, MaxPayload)
	var packet []byte
	b.ReportAllocs()
	for b.Loop() {
		packet = from.seal(packet[:0], 0, payload)
		if _, _, k := to.open(buf, packet); k != taken {
			b.Fatal(k)
		}
	}
}
