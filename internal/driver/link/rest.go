package link

import (
	"fmt"
	"io"
	"net"
)

// maxDrain bounds the datagrams that one call of Drain hands out.
const maxDrain = 1024

// SetRest chooses whether Receive hands out datagrams. At rest they stay in the
// kernel's queues until [Socket.Drain] takes them, which saves the price of a
// wake-up for each: several times that of the datagram, for the host that
// receives as for the one that sends. Refusals and Wake are told at once all the
// same. The end of a rest wakes too.
func (s *Socket) SetRest(on bool) error {
	s.reading.Lock()
	defer s.reading.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return net.ErrClosed
	}
	if err := s.waiter.heed(!on); err != nil {
		return fmt.Errorf("change what wakes the receiver: %w", err)
	}
	s.resting = on
	if !on {
		// Of what has come meanwhile the kernel tells nobody anew.
		s.wakeLocked()
	}
	return nil
}

// Drain calls f with every packet that is there now and does not wait. buf must
// have room for [MaxPayload] bytes; Packet.Payload lies in it and is valid
// during the call only. It returns [io.ErrShortBuffer], [net.ErrClosed], or the
// system's error if the sockets can no longer be read.
func (s *Socket) Drain(buf []byte, f func(Packet)) error {
	if len(buf) < MaxPayload {
		return fmt.Errorf("receive into %d bytes: %w", len(buf), io.ErrShortBuffer)
	}
	// Bad datagrams must not hide good ones behind them.
	for good, bad := 0, 0; good < maxDrain && bad < maxDrain; bad += maxBatch {
		if n, err := s.look(everything); err != nil || n == 0 {
			return err
		}
		seen := s.seen()
		for ; good < maxDrain; good++ {
			p, ok := s.next(buf, everything)
			if !ok {
				break
			}
			f(p)
		}
		if s.seen() == seen {
			return nil // ready for another reason
		}
	}
	return nil
}

// seen is how many datagrams were read, good or bad.
func (s *Socket) seen() uint64 {
	c := s.Counters()
	n := c.Received + c.Refused
	for _, k := range c.Dropped {
		n += k
	}
	return n
}
