package guardwire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

var (
	// ErrFrameLength means that a frame is empty or longer than [MaxFrame]. The
	// stream is out of step: end the connection.
	ErrFrameLength = errors.New("frame length out of bounds")

	// ErrMessage means that a whole frame was read whose content is not exactly
	// one message known to this version. The stream is still in step: the
	// caller may skip the frame and read on, as with a message that a newer
	// peer knows and this one does not.
	ErrMessage = errors.New("not one known message")
)

// headSize is the size of a frame's length, in bytes.
const headSize = 4

// WriteFrame writes m as one frame, with a single call of Write. It returns
// [ErrMessage] if m has not exactly one field set and [ErrFrameLength] if it is
// longer than [MaxFrame]; nothing was written then. Any other error is that of
// w, and the stream is out of step.
func WriteFrame(w io.Writer, m Message) error { return NewWriter(w).Write(m) }

// Writer writes frames and uses its memory again for the next one: states of many
// services are long, and written many times a second. It is not safe for
// concurrent use.
type Writer struct {
	to    io.Writer
	frame bytes.Buffer
	body  *json.Encoder
}

// NewWriter returns a writer of frames to w.
func NewWriter(w io.Writer) *Writer {
	f := &Writer{to: w}
	f.body = json.NewEncoder(&f.frame)
	return f
}

// Write is [WriteFrame] to the writer's stream.
func (f *Writer) Write(m Message) error {
	if n := m.fields(); n != 1 {
		return fmt.Errorf("write frame with %d messages: %w", n, ErrMessage)
	}
	f.frame.Reset()
	f.frame.Write(make([]byte, headSize))
	if err := f.body.Encode(&m); err != nil {
		return fmt.Errorf("write frame: %w: %w", ErrMessage, err)
	}
	frame := bytes.TrimSuffix(f.frame.Bytes(), []byte("\n")) // of the encoder
	length := len(frame) - headSize
	if length > MaxFrame {
		return fmt.Errorf("write frame of %d bytes: %w", length, ErrFrameLength)
	}
	binary.BigEndian.PutUint32(frame, uint32(length))
	if _, err := f.to.Write(frame); err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	return nil
}

// ReadFrame reads one frame. It returns [io.EOF] alone if the stream ended
// between two frames, [io.ErrUnexpectedEOF] if it ended within one,
// [ErrFrameLength], [ErrMessage], or the error of r. It never takes more memory
// than arrives.
func ReadFrame(r io.Reader) (Message, error) {
	var head [headSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return Message{}, io.EOF
		}
		return Message{}, fmt.Errorf("read frame length: %w", err)
	}
	length := binary.BigEndian.Uint32(head[:])
	if length == 0 || length > MaxFrame {
		return Message{}, fmt.Errorf("read frame of %d bytes: %w", length, ErrFrameLength)
	}

	var body bytes.Buffer
	if _, err := io.CopyN(&body, r, int64(length)); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return Message{}, fmt.Errorf("read frame: %w", err)
	}
	var m Message
	if err := json.Unmarshal(body.Bytes(), &m); err != nil {
		return Message{}, fmt.Errorf("read frame: %w: %w", ErrMessage, err)
	}
	if n := m.fields(); n != 1 {
		return Message{}, fmt.Errorf("read frame with %d messages: %w", n, ErrMessage)
	}
	return m, nil
}

// fields returns how many messages m carries.
func (m Message) fields() int {
	n := 0
	for _, set := range [...]bool{
		m.Duty != nil, m.Beat != nil, m.Release != nil,
		m.Quit != nil, m.Upgrade != nil, m.State != nil, m.Happened != nil,
	} {
		if set {
			n++
		}
	}
	return n
}
