package lease

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/keelson/keelson/internal/core/quorum"
)

// ErrMalformed means that bytes are no message. Drop them.
var ErrMalformed = errors.New("malformed lease message")

// MaxTTL is the longest lease that a message may speak of.
const MaxTTL = 2 * time.Minute

// Append appends the encoding of m: a kind byte, then its fields as unsigned
// varints in the order of the switch below. Times are nanoseconds, TTLs
// microseconds.
func Append(buf []byte, m *Message) []byte {
	buf = append(buf, byte(m.Kind))
	u := func(vs ...uint64) {
		for _, v := range vs {
			buf = binary.AppendUvarint(buf, v)
		}
	}
	u(m.Version)
	switch m.Kind {
	case KindBeat:
		u(uint64(m.Sent), m.Set)
	case KindAck:
		u(m.Inc, uint64(m.Sent), m.Set, flag(m.RefusedAll), uint64(len(m.Refused)))
		for _, id := range m.Refused {
			u(uint64(id))
		}
	case KindSet:
		u(m.Set, uint64(m.Part), uint64(m.Parts), uint64(len(m.Entries)))
		for _, e := range m.Entries {
			u(uint64(e.ID), e.Number, uint64(e.TTL.Microseconds()), flag(e.Soft))
		}
	case KindPrepare:
		u(uint64(m.ID), m.Number, uint64(m.Rank), flag(m.Soft))
	case KindPromise:
		u(uint64(m.ID), m.Number, m.Inc)
	case KindPropose:
		u(uint64(m.ID), m.Number, uint64(m.TTL.Microseconds()), flag(m.Soft), uint64(m.Sent))
	case KindAccept:
		u(uint64(m.ID), m.Number, m.Inc, uint64(m.Sent))
	case KindNack:
		u(uint64(m.ID), m.Number, m.Inc, m.Highest, uint64(m.Holder))
	case KindRelease:
		u(uint64(m.ID), m.Number)
	case KindConfig:
		u(uint64(m.Voters), uint64(m.Prior), m.Number, m.Highest)
	}
	return buf
}

func flag(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// reader takes values off a buffer; the first that is not there spoils it.
type reader struct {
	data []byte
	bad  bool
}

func (r *reader) u(limit uint64) uint64 {
	v, n := binary.Uvarint(r.data)
	if n <= 0 || v > limit {
		r.bad = true
		return 0
	}
	r.data = r.data[n:]
	return v
}

func (r *reader) id() ID          { return ID(r.u(1<<32 - 1)) }
func (r *reader) any() uint64     { return r.u(1<<64 - 1) }
func (r *reader) flag() bool      { return r.u(1) == 1 }
func (r *reader) boot() Boot      { return Boot(r.u(1<<63 - 1)) }
func (r *reader) set() quorum.Set { return quorum.Set(r.u(1<<32 - 1)) }
func (r *reader) ttl() time.Duration {
	return time.Duration(r.u(uint64(MaxTTL.Microseconds()))) * time.Microsecond
}

// Parse reads what Append wrote into m and returns the bytes after it. It
// returns ErrMalformed for anything else. The slices of m are used again, so
// that a message read before into the same m is spoiled.
func Parse(data []byte, m *Message) ([]byte, error) {
	if len(data) == 0 {
		return nil, ErrMalformed
	}
	*m = Message{Kind: Kind(data[0]), Entries: m.Entries[:0], Refused: m.Refused[:0]}
	r := &reader{data: data[1:]}
	m.Version = r.any()
	switch m.Kind {
	case KindBeat:
		m.Sent, m.Set = r.boot(), r.any()
	case KindAck:
		m.Inc, m.Sent, m.Set, m.RefusedAll = r.any(), r.boot(), r.any(), r.flag()
		for range r.u(PartEntries) {
			m.Refused = append(m.Refused, r.id())
		}
	case KindSet:
		m.Set, m.Part, m.Parts = r.any(), uint8(r.u(63)), uint8(r.u(64))
		for range r.u(PartEntries) {
			m.Entries = append(m.Entries, Entry{ID: r.id(), Number: r.any(), TTL: r.ttl(), Soft: r.flag()})
		}
	case KindPrepare:
		m.ID, m.Number, m.Rank, m.Soft = r.id(), r.any(), uint8(r.u(255)), r.flag()
	case KindPromise:
		m.ID, m.Number, m.Inc = r.id(), r.any(), r.any()
	case KindPropose:
		m.ID, m.Number, m.TTL, m.Soft, m.Sent = r.id(), r.any(), r.ttl(), r.flag(), r.boot()
	case KindAccept:
		m.ID, m.Number, m.Inc, m.Sent = r.id(), r.any(), r.any(), r.boot()
	case KindNack:
		m.ID, m.Number, m.Inc, m.Highest, m.Holder = r.id(), r.any(), r.any(), r.any(), uint8(r.u(255))
	case KindRelease:
		m.ID, m.Number = r.id(), r.any()
	case KindConfig:
		m.Voters, m.Prior, m.Number, m.Highest = r.set(), r.set(), r.any(), r.any()
	default:
		return nil, ErrMalformed
	}
	if r.bad {
		return nil, ErrMalformed
	}
	return r.data, nil
}
