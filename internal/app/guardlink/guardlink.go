// Package guardlink makes a driver's socket the link of a guard.
package guardlink

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/driver/link"
	"github.com/keelson/keelson/internal/engine/guard"
	"github.com/keelson/keelson/internal/model/record"
)

// socketLink is the guard's view of a socket. Except for Receive, its methods are
// for the guard's loop.
type socketLink struct {
	socket *link.Socket
	pinger *link.Pinger // nil: echo requests are not allowed here
	peers  map[uint8][]netip.AddrPort
	log    *slog.Logger
	buf    []byte // for Drain
}

// Open opens the link that o describes, or goes on with the one it resumes.
func Open(clk clock.Clock, log *slog.Logger, o guard.LinkOptions) (guard.Link, error) {
	options := link.Options{
		Cell: o.Cell, Self: o.Slot, Incarnation: o.Incarnation, Listen: o.Listen, Keys: o.Keys, Clock: clk, Log: log,
	}
	var s *link.Socket
	var err error
	if o.Resume != nil {
		s, err = link.Adopt(options, o.Resume)
	} else {
		s, err = link.Listen(options)
	}
	if err != nil {
		return nil, err
	}
	l := &socketLink{socket: s, log: log, buf: make([]byte, link.MaxPayload)}
	if l.pinger, err = link.NewPinger(); err != nil {
		log.Info("kernels of silent nodes are not asked", logkey.Err, err)
		l.pinger = nil
	}
	return l, nil
}

func (l *socketLink) Configure(peers map[uint8][]netip.AddrPort, keys []record.LinkKey) error {
	l.peers = peers
	return errors.Join(l.socket.SetPeers(peers), l.socket.SetKeys(keys))
}

// Send drops what cannot be sent: it is repeated, or its loss is noticed.
func (l *socketLink) Send(to uint8, data []byte) {
	if err := l.socket.Send(to, data); err != nil {
		l.log.Debug("datagram not sent", logkey.Slot, to, logkey.Err, err)
	}
}

func (l *socketLink) Receive(ctx context.Context, f func(guard.Datagram)) error {
	return l.socket.Each(ctx, func(p link.Packet) { f(datagram(p)) })
}

func datagram(p link.Packet) guard.Datagram {
	return guard.Datagram{From: p.From, Incarnation: p.Incarnation, Data: p.Payload, Refused: p.Refused.IsValid()}
}

// Rest is a wish: where it is not granted, each datagram costs a wake-up.
func (l *socketLink) Rest(on bool) {
	if err := l.socket.SetRest(on); err != nil {
		l.log.Debug("receiver not changed", logkey.Err, err)
	}
}

func (l *socketLink) Drain(f func(guard.Datagram)) {
	// A link that is broken ends Receive, which tells.
	_ = l.socket.Drain(l.buf, func(p link.Packet) { f(datagram(p)) })
}

func (l *socketLink) Ping(to uint8) {
	if l.pinger == nil {
		return
	}
	for _, addr := range l.peers[to] {
		l.pinger.Ask(addr.Addr())
	}
}

func (l *socketLink) Answers(f func(uint8)) {
	if l.pinger == nil {
		return
	}
	l.pinger.Answers(func(from netip.Addr) {
		for slot, addrs := range l.peers {
			for _, a := range addrs {
				if a.Addr().Unmap().WithZone("") == from.Unmap().WithZone("") {
					f(slot)
				}
			}
		}
	})
}

// HandOver implements guard.Link.
func (l *socketLink) HandOver() ([]byte, func(), error) { return l.socket.HandOver() }

func (l *socketLink) Close() error {
	if l.pinger != nil {
		l.pinger.Close()
	}
	return l.socket.Close()
}
