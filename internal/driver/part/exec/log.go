package exec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/model/instance"
)

// MaxLine is the longest line that a [Log] returns, in bytes. Of a longer one
// the rest is left out.
const MaxLine = 64 << 10

// followPause is how often a followed output is looked at.
const followPause = 100 * time.Millisecond

// Log reads the kept output of one part: what its programs wrote to standard
// output and error, over restarts, oldest first. It needs little memory however
// much was written. It is safe for concurrent use.
type Log struct {
	dir   string
	clock clock.Clock
}

// Log returns the output of run's part, which may be empty yet.
func (d *Driver) Log(run instance.Run) Log { return Log{run.LogDir, d.clock} }

// Tail calls each with the last lines, without their newlines; lines below 0
// means all that is kept. An error of each ends it and is returned.
func (l Log) Tail(ctx context.Context, lines int, each func(line string) error) error {
	s, err := l.open(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	at, err := s.before(lines)
	if err != nil {
		return fmt.Errorf("read output: %w", err)
	}
	cut := cutter{each: each}
	if _, err := s.pass(at, &cut); err != nil {
		return err
	}
	return cut.flush()
}

// Follow does what Tail does and goes on with each line that is written, until
// ctx ends or each returns an error; it returns that error. Where the program
// wrote more than could be kept between two looks, a line says how much is
// missing.
func (l Log) Follow(ctx context.Context, lines int, each func(line string) error) error {
	cut := cutter{each: each}
	at := int64(-1)
	for {
		s, err := l.open(ctx)
		if err != nil {
			return err
		}
		at, err = s.resume(at, lines, &cut)
		s.close()
		if err != nil {
			return err
		}
		if err := l.clock.Sleep(ctx, followPause); err != nil {
			return errors.Join(cut.flush(), err)
		}
	}
}

// resume passes on what is new since at, -1 for the last lines, and returns
// where it ended.
func (s snapshot) resume(at int64, lines int, cut *cutter) (int64, error) {
	switch {
	case at < 0:
		var err error
		if at, err = s.before(lines); err != nil {
			return at, fmt.Errorf("read output: %w", err)
		}
	case at > s.end(): // the folder was emptied by somebody
		at = s.start()
	case at < s.start():
		if err := cut.gap(s.start() - at); err != nil {
			return at, err
		}
		at = s.start()
	}
	return s.pass(at, cut)
}

// snapshot is the old file and the one in use at one moment, as one stream that
// is counted from the first byte that was ever written.
type snapshot struct {
	old, now         *os.File // nil if there is none
	oldSize, nowSize int64
	removed          int64 // where now begins
}

// lockTries bounds how often a reader waits for a trimming to be done.
const lockTries = 100

func (l Log) open(ctx context.Context) (snapshot, error) {
	unlock := func() {}
	for range lockTries {
		release, err := lockOutput(l.dir, unix.LOCK_SH)
		if errors.Is(err, fs.ErrNotExist) {
			return snapshot{}, nil // nothing was ever written
		}
		if err == nil {
			unlock = release
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return snapshot{}, fmt.Errorf("read output: %w", err)
		}
		if err := l.clock.Sleep(ctx, time.Millisecond); err != nil {
			return snapshot{}, err
		}
	}
	defer unlock()
	var s snapshot
	var err error
	if s.now, s.nowSize, err = openSized(filepath.Join(l.dir, outputName)); err != nil {
		return snapshot{}, err
	}
	if s.old, s.oldSize, err = openSized(filepath.Join(l.dir, oldName)); err != nil {
		s.close()
		return snapshot{}, err
	}
	s.removed = max(removed(l.dir), s.oldSize)
	return s, nil
}

// openSized opens a file that may not exist.
func openSized(path string) (*os.File, int64, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read output: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("read output: %w", err), f.Close())
	}
	return f, info.Size(), nil
}

func (s snapshot) close() {
	for _, f := range []*os.File{s.old, s.now} {
		if f != nil {
			_ = f.Close() // only read
		}
	}
}

func (s snapshot) start() int64 { return s.removed - s.oldSize }
func (s snapshot) end() int64   { return s.removed + s.nowSize }

// ReadAt reads from one of the files; off counts from the first byte ever
// written and lies between start and end.
func (s snapshot) ReadAt(p []byte, off int64) (int, error) {
	if off < s.removed {
		p = p[:min(int64(len(p)), s.removed-off)]
		return s.old.ReadAt(p, off-s.start())
	}
	if off >= s.end() {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), s.end()-off)]
	return s.now.ReadAt(p, off-s.removed)
}

// blockBytes is how much is read at once.
const blockBytes = 64 << 10

// before returns where the last lines begin.
func (s snapshot) before(lines int) (int64, error) {
	if lines < 0 {
		return s.start(), nil
	}
	if lines == 0 {
		return s.end(), nil
	}
	block := make([]byte, blockBytes)
	for end := s.end(); end > s.start(); {
		from := max(s.start(), end-blockBytes)
		if end > s.removed {
			from = max(from, s.removed)
		}
		n, err := s.ReadAt(block[:end-from], from)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		for i := n - 1; i >= 0; i-- {
			if block[i] != '\n' || from+int64(i)+1 == s.end() {
				continue // the last newline ends the last line
			}
			if lines--; lines == 0 {
				return from + int64(i) + 1, nil
			}
		}
		end = from
	}
	return s.start(), nil
}

// pass gives all from at on to cut, and returns up to where it came. That is
// before the end if the file was emptied meanwhile.
func (s snapshot) pass(at int64, cut *cutter) (int64, error) {
	block := make([]byte, blockBytes)
	for at < s.end() {
		n, err := s.ReadAt(block, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return at, fmt.Errorf("read output: %w", err)
		}
		if n == 0 {
			return at, nil
		}
		at += int64(n)
		if err := cut.write(block[:n]); err != nil {
			return at, err
		}
	}
	return at, nil
}

// cutter makes lines of a stream.
type cutter struct {
	each func(line string) error
	line []byte
}

func (c *cutter) write(p []byte) error {
	for len(p) > 0 {
		part, rest, whole := bytes.Cut(p, []byte{'\n'})
		c.line = append(c.line, part[:min(len(part), MaxLine-len(c.line))]...)
		p = rest
		if !whole {
			return nil
		}
		if err := c.emit(); err != nil {
			return err
		}
	}
	return nil
}

// flush passes on a last line that has no newline yet.
func (c *cutter) flush() error {
	if len(c.line) == 0 {
		return nil
	}
	return c.emit()
}

func (c *cutter) gap(missing int64) error {
	if err := c.flush(); err != nil {
		return err
	}
	return c.each(fmt.Sprintf("[%d bytes of output are missing here: more was written than is kept]", missing))
}

func (c *cutter) emit() error {
	line := string(c.line)
	c.line = c.line[:0]
	return c.each(line)
}
