package link

import (
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/keelson/keelson/internal/model/record"
)

// The header, all numbers big endian.
const (
	atVersion     = 0
	atCell        = 1
	atKey         = 5
	atFrom        = 9
	atTo          = 10
	atIncarnation = 11
	atSequence    = 19
	headerSize    = 27

	protocol = 1

	// MaxPacket is the longest datagram, in bytes.
	MaxPacket = headerSize + MaxPayload + chacha20poly1305.Overhead
)

// header is a packet's header as values.
type header struct {
	key         uint32
	from, to    uint8
	incarnation uint64
	sequence    uint64
}

// openKey is a key with its number.
type openKey struct {
	id   uint32
	aead cipher.AEAD
}

// codec seals and opens packets. It is not safe for concurrent use.
type codec struct {
	cell        uint32
	self        uint8
	incarnation uint64
	sequence    uint64 // the last one used
	keys        []openKey
	nonce       [chacha20poly1305.NonceSizeX]byte
	heard       [MaxSlots]window
	peers       uint32 // set of slots
}

func (c *codec) init(cell string, self uint8, incarnation uint64) {
	tag := sha256.Sum256([]byte("keelson link " + cell))
	c.cell, c.self, c.incarnation = binary.BigEndian.Uint32(tag[:]), self, incarnation
}

func (c *codec) setKeys(keys []record.LinkKey) error {
	if len(keys) == 0 || len(keys) > MaxKeys {
		return fmt.Errorf("%d keys: %w", len(keys), ErrOptions)
	}
	next := make([]openKey, 0, len(keys))
	for _, k := range keys {
		aead, err := chacha20poly1305.NewX(k.Key)
		if err != nil {
			return fmt.Errorf("key %d with %d bytes: %w: %w", k.ID, len(k.Key), ErrOptions, err)
		}
		for _, other := range next {
			if other.id == k.ID {
				return fmt.Errorf("key %d twice: %w", k.ID, ErrOptions)
			}
		}
		next = append(next, openKey{id: k.ID, aead: aead})
	}
	c.keys = next
	return nil
}

// admit says whether slot is a peer. What was heard from one that is not is
// forgotten.
func (c *codec) admit(slot uint8, known bool) {
	if known {
		c.peers |= 1 << slot
		return
	}
	c.peers &^= 1 << slot
	c.heard[slot] = window{}
}

// seal appends the packet for payload to dst, under the next sequence number.
func (c *codec) seal(dst []byte, to uint8, payload []byte) []byte {
	c.sequence++
	h := header{key: c.keys[0].id, from: c.self, to: to, incarnation: c.incarnation, sequence: c.sequence}
	dst = append(dst, make([]byte, headerSize)...)
	c.put(dst, h)
	c.setNonce(h)
	return c.keys[0].aead.Seal(dst, c.nonce[:], payload, dst[:headerSize])
}

func (c *codec) put(b []byte, h header) {
	b[atVersion] = protocol
	binary.BigEndian.PutUint32(b[atCell:], c.cell)
	binary.BigEndian.PutUint32(b[atKey:], h.key)
	b[atFrom], b[atTo] = h.from, h.to
	binary.BigEndian.PutUint64(b[atIncarnation:], h.incarnation)
	binary.BigEndian.PutUint64(b[atSequence:], h.sequence)
}

// setNonce makes the nonce of a packet: sender, seven zeros, incarnation,
// sequence number.
func (c *codec) setNonce(h header) {
	clear(c.nonce[:8])
	c.nonce[0] = h.from
	binary.BigEndian.PutUint64(c.nonce[8:], h.incarnation)
	binary.BigEndian.PutUint64(c.nonce[16:], h.sequence)
}

// parse reads the header of a packet of this cell. It returns taken, or what to
// count the packet as if it is none.
func (c *codec) parse(packet []byte) (header, Kind) {
	switch {
	case len(packet) < headerSize:
		return header{}, Truncated
	case packet[atVersion] != protocol:
		return header{}, Version
	case binary.BigEndian.Uint32(packet[atCell:]) != c.cell:
		return header{}, Foreign
	}
	return header{
		key:  binary.BigEndian.Uint32(packet[atKey:]),
		from: packet[atFrom], to: packet[atTo],
		incarnation: binary.BigEndian.Uint64(packet[atIncarnation:]),
		sequence:    binary.BigEndian.Uint64(packet[atSequence:]),
	}, taken
}

// open returns the header and the payload of a packet, the payload in dst's
// memory, and taken; or what to count the packet as if it is not an authentic
// new packet of a peer for this node. dst and packet must not overlap.
func (c *codec) open(dst, packet []byte) (header, []byte, Kind) {
	if len(packet) > MaxPacket {
		return header{}, nil, Oversize
	}
	h, k := c.parse(packet)
	if k != taken {
		return header{}, nil, k
	}
	switch {
	case len(packet) < headerSize+chacha20poly1305.Overhead:
		return header{}, nil, Truncated
	case h.to != c.self:
		return header{}, nil, Misdirected
	case h.from >= MaxSlots || c.peers&(1<<h.from) == 0:
		return header{}, nil, Stranger
	}
	heard := &c.heard[h.from]
	if k := heard.judge(h.incarnation, h.sequence); k != taken {
		return header{}, nil, k
	}
	for i := range c.keys {
		if c.keys[i].id != h.key {
			continue
		}
		c.setNonce(h)
		payload, err := c.keys[i].aead.Open(dst[:0], c.nonce[:], packet[headerSize:], packet[:headerSize])
		if err != nil {
			return header{}, nil, Forged
		}
		heard.mark(h.incarnation, h.sequence)
		return h, payload, taken
	}
	return header{}, nil, UnknownKey
}

// ours reports whether the start of a packet, as a refusal quotes it, was sent
// by this codec to slot to.
func (c *codec) ours(packet []byte, to uint8) bool {
	h, k := c.parse(packet)
	return k == taken && h.from == c.self && h.to == to && h.incarnation == c.incarnation &&
		h.sequence > 0 && h.sequence <= c.sequence
}
