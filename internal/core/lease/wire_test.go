package lease

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var samples = []Message{
	{Kind: KindBeat, Version: 3, Sent: 5 * time.Second, Set: 9},
	{Kind: KindAck, Version: 1 << 40, Inc: 1 << 63, Sent: 0, Set: 2, Refused: []ID{4, 1 << 31}},
	{Kind: KindAck, Version: 1, Inc: 7, Sent: 1, RefusedAll: true},
	{Kind: KindSet, Version: 1, Set: 4, Part: 1, Parts: 2, Entries: []Entry{
		{ID: 7, Number: 12, TTL: time.Second, Soft: true}, {ID: 8, Number: 1 << 60, TTL: 300 * time.Millisecond},
	}},
	{Kind: KindPrepare, ID: 1, Number: 2, Rank: 255, Soft: true},
	{Kind: KindPromise, ID: 1, Number: 2, Inc: 9},
	{Kind: KindPropose, ID: 1, Number: 2, TTL: MaxTTL, Sent: time.Hour},
	{Kind: KindAccept, ID: 1, Number: 2, Inc: 4, Sent: time.Hour},
	{Kind: KindNack, ID: 1, Number: 2, Inc: 4, Highest: 99, Holder: NoSlot},
	{Kind: KindRelease, ID: 1 << 31, Number: 2},
	{Kind: KindConfig, Version: 4, Voters: 7, Prior: 0x80000000, Number: 3, Highest: 1 << 50},
}

func TestMessagesSurviveTheWire(t *testing.T) {
	var all []byte
	for i := range samples {
		all = Append(all, &samples[i])
	}
	for i := range samples {
		var got Message
		rest, err := Parse(all, &got)
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		if diff := cmp.Diff(samples[i], got); diff != "" {
			t.Errorf("message %d changed on the way (-sent +got):\n%s", i, diff)
		}
		all = rest
	}
	if len(all) > 0 {
		t.Errorf("%d bytes are left", len(all))
	}
}

func TestTruncatedMessagesAreMalformed(t *testing.T) {
	for i := range samples {
		whole := Append(nil, &samples[i])
		for n := range whole {
			var got Message
			if _, err := Parse(whole[:n], &got); err == nil {
				t.Errorf("message %d: the first %d of %d bytes were taken for a message", i, n, len(whole))
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for i := range samples {
		f.Add(Append(nil, &samples[i]))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var m, again Message
		rest, err := Parse(data, &m)
		if err != nil {
			return
		}
		if len(m.Entries) > PartEntries || len(m.Refused) > PartEntries || len(rest) >= len(data) {
			t.Fatalf("%d entries, %d refused, %d of %d bytes left", len(m.Entries), len(m.Refused), len(rest), len(data))
		}
		if _, err := Parse(Append(nil, &m), &again); err != nil {
			t.Fatalf("what was read cannot be written and read again: %v", err)
		}
		if diff := cmp.Diff(m, again); diff != "" {
			t.Error(diff)
		}
	})
}

// FuzzReceive feeds a voter and holder with arbitrary messages: it must neither
// panic nor grow without bound.
func FuzzReceive(f *testing.F) {
	for i := range samples {
		f.Add(Append(nil, &samples[i]), uint8(1), int64(time.Second))
	}
	f.Fuzz(func(t *testing.T, data []byte, from uint8, at int64) {
		n := voterAt(2 * time.Second)
		now := 2*time.Second + time.Duration(at)%time.Hour
		for len(data) > 0 {
			var m Message
			rest, err := Parse(data, &m)
			if err != nil {
				break
			}
			data = rest
			n.Receive(now, from, 1, &m)
			now += time.Millisecond
			n.Tick(now)
			n.Beat(now)
		}
		if len(n.voter.records) > MaxServices || len(n.Outbox()) > 10_000 {
			t.Error("bounds were passed")
		}
	})
}
