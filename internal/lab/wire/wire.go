// Package wire carries requests, replies and open files between the processes
// of a lab.
//
// Its one rule: a message is one packet, so nothing is ever half read, and an
// open file travels with the message that speaks of it. The two ends of a
// [Peer] are equal: either may ask, either may send a note that wants no
// answer. The package refuses messages above [MaxMessage]; bulk data goes
// through the files.
package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/clock"
)

const (
	// MaxMessage is the largest message in bytes, files not counted.
	MaxMessage = 128 << 10
	// MaxFiles is how many open files one message may carry.
	MaxFiles = 8
	// maxServing is how many requests of the other end are worked on at once.
	maxServing = 256
	// writeLimit bounds how long a send waits for an end that does not read.
	writeLimit = 5 * time.Second
)

// ErrClosed means the other end is gone; the request may or may not have been
// carried out.
var ErrClosed = errors.New("the other process is gone")

// Pair returns the two ends of a new connection. Both close on exec; the
// caller closes both.
func Pair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket pair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "lab"), os.NewFile(uintptr(fds[1]), "lab"), nil
}

// frame is what one packet holds. A request has ID and Verb, a reply ID only,
// a note Verb only.
type frame struct {
	ID    uint64          `json:"id,omitempty"`
	Verb  Verb            `json:"verb,omitempty"`
	Body  json.RawMessage `json:"body,omitempty"`
	Error *remoteError    `json:"error,omitempty"`
}

// Request is what the other end asks. The handler owns Files and closes them.
type Request struct {
	Verb  Verb
	Body  json.RawMessage
	Files []*os.File
}

// Decode fills v from the request's body.
func (r Request) Decode(v any) error {
	if err := json.Unmarshal(r.Body, v); err != nil {
		return fmt.Errorf("read the body of %q: %w", r.Verb, err)
	}
	return nil
}

// Reply is the answer. Files are sent and then closed.
type Reply struct {
	Body  any
	Files []*os.File
}

// A Handler answers requests. It is called from several goroutines at once for
// requests, and in order from one goroutine for notes, whose reply is dropped.
// ctx ends when the connection does.
type Handler func(ctx context.Context, r Request) (Reply, error)

// Peer is one end of a connection. It is safe for concurrent use.
type Peer struct {
	conn    *net.UnixConn
	writing sync.Mutex

	mu      sync.Mutex
	next    uint64
	pending map[uint64]chan answer
	closed  bool
}

type answer struct {
	frame frame
	files []*os.File
}

// NewPeer takes over one end made by [Pair]; f is closed in any case.
func NewPeer(f *os.File) (*Peer, error) {
	defer func() { _ = f.Close() }()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("use %s as a socket: %w", f.Name(), err)
	}
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(errors.New("the lab's connection is not a unix socket"), c.Close())
	}
	return &Peer{conn: conn, pending: map[uint64]chan answer{}}, nil
}

// Close ends the connection; Run and all calls return. Closing twice is fine.
func (p *Peer) Close() error {
	if err := p.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close the lab's connection: %w", err)
	}
	return nil
}

// Run reads until the connection ends, hands requests and notes to handle
// (nil refuses them), and returns nil when the other end closed. All calls
// that wait then fail with [ErrClosed]. It returns after the last handler.
func (p *Peer) Run(ctx context.Context, handle Handler) error {
	ctx, cancel := context.WithCancel(ctx)
	var serving sync.WaitGroup
	slots := make(chan struct{}, maxServing)
	defer serving.Wait()
	defer p.abandon()
	defer cancel()

	for {
		f, files, err := p.receive()
		if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) {
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case f.Verb == "":
			p.settle(answer{f, files})
		case handle == nil:
			closeAll(files)
		case f.ID == 0:
			// A note's answer has nowhere to go.
			_, _ = handle(ctx, Request{f.Verb, f.Body, files})
		default:
			slots <- struct{}{}
			serving.Go(func() {
				defer func() { <-slots }()
				p.serve(ctx, f, files, handle)
			})
		}
	}
}

func (p *Peer) serve(ctx context.Context, f frame, files []*os.File, handle Handler) {
	reply, err := handle(ctx, Request{f.Verb, f.Body, files})
	out := frame{ID: f.ID}
	if err != nil {
		out.Error = pack(err)
	}
	// Whoever asked is gone if this fails, and Run sees that by itself.
	if err := p.send(out, reply.Body, reply.Files); err != nil {
		_ = p.send(frame{ID: f.ID, Error: pack(err)}, nil, nil)
	}
	closeAll(reply.Files)
}

// Call asks and waits for the answer, which fills reply unless that is nil.
// The files that came with the answer belong to the caller. Errors: those the
// other end named, [ErrClosed], and ctx's.
func (p *Peer) Call(ctx context.Context, verb Verb, body, reply any, files ...*os.File) ([]*os.File, error) {
	wait := make(chan answer, 1)
	id, err := p.expect(wait)
	if err != nil {
		return nil, err
	}
	if err := p.send(frame{ID: id, Verb: verb}, body, files); err != nil {
		p.forget(id)
		return nil, err
	}
	select {
	case <-ctx.Done():
		p.forget(id)
		return nil, ctx.Err()
	case a, ok := <-wait:
		if !ok {
			return nil, ErrClosed
		}
		if a.frame.Error != nil {
			closeAll(a.files)
			return nil, a.frame.Error
		}
		if reply != nil {
			if err := json.Unmarshal(a.frame.Body, reply); err != nil {
				closeAll(a.files)
				return nil, fmt.Errorf("read the answer to %q: %w", verb, err)
			}
		}
		return a.files, nil
	}
}

// Note sends without waiting for an answer.
func (p *Peer) Note(verb Verb, body any) error {
	return p.send(frame{Verb: verb}, body, nil)
}

func (p *Peer) expect(wait chan answer) (uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return 0, ErrClosed
	}
	p.next++
	p.pending[p.next] = wait
	return p.next, nil
}

func (p *Peer) forget(id uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.pending, id)
}

func (p *Peer) settle(a answer) {
	p.mu.Lock()
	wait, ok := p.pending[a.frame.ID]
	delete(p.pending, a.frame.ID)
	p.mu.Unlock()
	if !ok {
		closeAll(a.files) // whoever asked has given up
		return
	}
	wait <- a
}

func (p *Peer) abandon() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for id, wait := range p.pending {
		delete(p.pending, id)
		close(wait)
	}
}

func (p *Peer) send(f frame, body any, files []*os.File) error {
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("write the body of %q: %w", f.Verb, err)
		}
		f.Body = raw
	}
	packet, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("write message %q: %w", f.Verb, err)
	}
	if len(packet) > MaxMessage || len(files) > MaxFiles {
		return fmt.Errorf("message %q has %d bytes and %d files: the limits are %d and %d",
			f.Verb, len(packet), len(files), MaxMessage, MaxFiles)
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	p.writing.Lock()
	defer p.writing.Unlock()
	if err := p.conn.SetWriteDeadline(clock.System{}.Now().Add(writeLimit)); err != nil {
		return fmt.Errorf("send %q: %w: %w", f.Verb, ErrClosed, err)
	}
	if _, _, err := p.conn.WriteMsgUnix(packet, rights, nil); err != nil {
		return fmt.Errorf("send %q: %w: %w", f.Verb, ErrClosed, err)
	}
	return nil
}

func (p *Peer) receive() (frame, []*os.File, error) {
	buf := make([]byte, MaxMessage)
	oob := make([]byte, unix.CmsgSpace(4*MaxFiles))
	n, oobn, flags, _, err := p.conn.ReadMsgUnix(buf, oob)
	if err != nil {
		return frame{}, nil, fmt.Errorf("read from the lab's connection: %w", err)
	}
	files, err := unpackFiles(oob[:oobn])
	if err != nil {
		return frame{}, nil, err
	}
	if n == 0 {
		closeAll(files)
		return frame{}, nil, io.EOF
	}
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		closeAll(files)
		return frame{}, nil, fmt.Errorf("a message on the lab's connection is longer than %d bytes", MaxMessage)
	}
	var f frame
	if err := json.Unmarshal(buf[:n], &f); err != nil {
		closeAll(files)
		return frame{}, nil, fmt.Errorf("read a message of the lab: %w", err)
	}
	return f, files, nil
}

func unpackFiles(oob []byte) ([]*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("read the files of a message: %w", err)
	}
	var files []*os.File
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			closeAll(files)
			return nil, fmt.Errorf("read the files of a message: %w", err)
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "from-lab"))
		}
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
