package detect

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/keelson/keelson/internal/core/quorum"
)

// ErrMalformed means that bytes are no heartbeat. Drop them.
var ErrMalformed = errors.New("malformed heartbeat")

// beatSize is the length of an encoded heartbeat.
const beatSize = 8 + 8 + 4 + 4 + 4 + 4 + 1

// AppendBeat appends the encoding of b: sequence and send time in nanoseconds
// (8 bytes each), heard, suspect and skewed sets (4 each), lateness in microseconds (4)
// and flags (1), all big endian.
func AppendBeat(buf []byte, b Beat) []byte {
	buf = binary.BigEndian.AppendUint64(buf, b.Seq)
	buf = binary.BigEndian.AppendUint64(buf, uint64(b.Sent))
	buf = binary.BigEndian.AppendUint32(buf, uint32(b.Heard))
	buf = binary.BigEndian.AppendUint32(buf, uint32(b.Suspect))
	buf = binary.BigEndian.AppendUint32(buf, uint32(b.Skewed))
	buf = binary.BigEndian.AppendUint32(buf, uint32(min(b.Late.Microseconds(), 1<<31)))
	var flags byte
	if b.Abstain {
		flags |= flagAbstain
	}
	if b.Idle {
		flags |= flagIdle
	}
	return append(buf, flags)
}

// The flags of a heartbeat.
const (
	flagAbstain = 1 << iota
	flagIdle
	flagEnd
)

// ParseBeat reads what AppendBeat wrote and returns the bytes after it. It
// returns ErrMalformed for anything else.
func ParseBeat(data []byte) (Beat, []byte, error) {
	if len(data) < beatSize || data[beatSize-1] >= flagEnd {
		return Beat{}, nil, ErrMalformed
	}
	b := Beat{
		Seq:     binary.BigEndian.Uint64(data),
		Sent:    Boot(binary.BigEndian.Uint64(data[8:])),
		Heard:   quorum.Set(binary.BigEndian.Uint32(data[16:])),
		Suspect: quorum.Set(binary.BigEndian.Uint32(data[20:])),
		Skewed:  quorum.Set(binary.BigEndian.Uint32(data[24:])),
		Late:    time.Duration(binary.BigEndian.Uint32(data[28:])) * time.Microsecond,
		Abstain: data[32]&flagAbstain != 0,
		Idle:    data[32]&flagIdle != 0,
	}
	if b.Sent < 0 || b.Late > time.Hour {
		return Beat{}, nil, ErrMalformed
	}
	return b, data[beatSize:], nil
}
