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
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/model/instance"
)

// Files in a part's log folder. The program appends to the first, which is
// copied to the second and emptied when it is half the limit long. The third
// holds how many bytes were ever taken off the first, so that a reader knows
// where it is.
const (
	outputName  = "output.log"
	oldName     = "output.log.1"
	removedName = "output.removed"
)

// Pauses between two looks at the outputs. Between two looks a program may
// write beyond its limit.
const (
	fastest = 50 * time.Millisecond
	slowest = time.Second
)

// busyShare is the part of its limit by which an output may grow between two
// looks before it is looked at as often as possible.
const busyShare = 16

// openOutput returns what the program writes to. An output that cannot be kept
// is thrown away: a full disk of logs is no reason not to run.
func (d *Driver) openOutput(ctx context.Context, run instance.Run, l launch) (*os.File, error) {
	f, err := createOutput(run.LogDir)
	if err == nil && full(run.LogDir, l.who) {
		err = errors.Join(unix.ENOSPC, f.Close())
	}
	lost := ""
	if err != nil {
		lost = fmt.Sprintf("The output of %s is not kept since its start, because it cannot be written under %s (%v). "+
			"Make room there, then restart the service to see its output again.", run.Key(), run.LogDir, plain(err))
	}
	d.trouble(aboutOutput(run), lost)
	if err == nil && l.who != nil {
		// So that the program can open its own /dev/stdout.
		if err := f.Chown(int(l.who.Uid), int(l.who.Gid)); err != nil {
			d.log.WarnContext(ctx, "output not given to the program's user",
				logkey.Service, run.Service, logkey.Part, run.Part.Name, logkey.Err, err)
		}
	}
	if err == nil {
		return f, nil
	}
	d.log.WarnContext(ctx, "output not kept",
		logkey.Service, run.Service, logkey.Part, run.Part.Name, logkey.Err, err)
	f, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", run.Key(), err)
	}
	return f, nil
}

// plain is the system's word for what is wrong, if there is one.
func plain(err error) error {
	var number unix.Errno
	if errors.As(err, &number) {
		return number
	}
	return err
}

func aboutOutput(run instance.Run) string { return "output " + run.Key() }

// fullBytes is how much room a disk has at most that is called full.
const fullBytes = 64 << 10

// full reports whether a user, nil for root, can write next to nothing more to the
// disk that dir is on.
func full(dir string, who *syscall.Credential) bool {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return false
	}
	free := s.Bfree
	if who != nil && who.Uid != 0 || who == nil && os.Geteuid() != 0 {
		free = s.Bavail // the rest is for root
	}
	return s.Blocks > 0 && free*uint64(s.Bsize) < fullBytes
}

// crowded adds to the end of a program that it may have been for want of room for
// its output.
func crowded(run instance.Run, end *Error) *Error {
	if outputFull(run) {
		end.Sentence += "; the disk under " + run.LogDir + " is full, its output could not be kept"
	}
	return end
}

// outputFull reports whether run's program cannot write its output for want of room.
func outputFull(run instance.Run) bool {
	anybody := &syscall.Credential{Uid: 1}
	if run.Part.Exec == nil || !full(run.LogDir, anybody) { // users are looked up only if it matters
		return false
	}
	id, err := identify(run.Key(), run.Part.Exec)
	return err == nil && full(run.LogDir, id.credential)
}

func aboutDisk(run instance.Run) string { return "disk " + run.Key() }

// watchDisk warns while there is no room for the output of a program.
func (d *Driver) watchDisk(run instance.Run) {
	text := ""
	if outputFull(run) {
		text = fmt.Sprintf("The disk under %s is full: what %s prints cannot be kept, and a program that minds may end. Make room there.", run.LogDir, run.Key())
	}
	if d.trouble(aboutDisk(run), text) {
		d.log.Warn("disk of an output was full", logkey.Service, run.Service, logkey.Part, run.Part.Name, logkey.Path, run.LogDir)
	}
}

func createOutput(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	return os.OpenFile(filepath.Join(dir, outputName), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
}

// trim bounds the output in dir: the file in use and the one before it have
// at most half of limit bytes each, besides what is written while it works. It
// returns the length of the file in use, 0 if there is none, and whether it was
// full. A full one that is being read at the moment is left for the next look.
//
// Bytes written between the last copying and the emptying are lost; that is
// some microseconds, unless the program writes faster than can be copied.
func trim(dir string, limit int64) (size int64, full bool, err error) {
	path := filepath.Join(dir, outputName)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("bound output: %w", err)
	}
	if !info.Mode().IsRegular() {
		return 0, false, fmt.Errorf("bound output: %s is not a file", path)
	}
	if info.Size() <= limit/2 {
		return info.Size(), false, nil
	}
	unlock, err := lockOutput(dir, unix.LOCK_EX)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return info.Size(), true, nil
	}
	if err != nil {
		return info.Size(), false, fmt.Errorf("bound output: %w", err)
	}
	defer unlock()
	end, kept := keepOld(dir, info.Size(), limit/2)
	// Empty it also if the copy failed, on a full disk above all.
	if err := os.Truncate(path, 0); err != nil {
		return info.Size(), false, errors.Join(fmt.Errorf("bound output: %w", err), kept)
	}
	total := strconv.FormatInt(removed(dir)+end, 10)
	if err := os.WriteFile(filepath.Join(dir, removedName), []byte(total), 0o640); err != nil {
		kept = errors.Join(kept, err)
	}
	if kept != nil {
		return 0, true, fmt.Errorf("bound output: %w", kept)
	}
	return 0, true, nil
}

// tailShare is the part of half the limit that is kept for what is written
// while the rest is being copied.
const tailShare = 8

// keepOld copies the end of the output, at most room bytes, to the old file. It
// returns up to where the output was dealt with.
func keepOld(dir string, size, room int64) (end int64, err error) {
	late := room / tailShare
	from, err := os.Open(filepath.Join(dir, outputName))
	if err != nil {
		return size, err
	}
	defer func() { _ = from.Close() }() // only read
	temp := filepath.Join(dir, oldName+".new")
	to, err := os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return size, err
	}
	start := wholeLine(from, max(0, size-(room-late)), size)
	_, err = io.Copy(to, io.NewSectionReader(from, start, size-start))
	var more int64
	if err == nil {
		more, err = io.Copy(to, io.NewSectionReader(from, size, late))
	}
	if err := errors.Join(err, to.Close()); err != nil {
		return size, errors.Join(err, os.Remove(temp))
	}
	return size + more, os.Rename(temp, filepath.Join(dir, oldName))
}

// wholeLine returns where the first line begins that is whole from start on, or
// start if that is too far.
func wholeLine(f *os.File, start, end int64) int64 {
	if start == 0 {
		return 0
	}
	block := make([]byte, min(end-start, blockBytes/4)+1)
	n, err := f.ReadAt(block, start-1)
	if err != nil && !errors.Is(err, io.EOF) {
		return start
	}
	if i := bytes.IndexByte(block[:n], '\n'); i >= 0 {
		return start + int64(i)
	}
	return start
}

// removed returns how many bytes were ever taken off the output in dir.
func removed(dir string) int64 {
	text, err := os.ReadFile(filepath.Join(dir, removedName))
	if err != nil {
		return 0
	}
	return parseRemoved(string(text))
}

func parseRemoved(text string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil {
		return 0
	}
	return max(n, 0)
}

// lockOutput keeps readers and the trimming of an output apart. It does not
// wait: the other side is soon done, and both sides look again soon.
func lockOutput(dir string, how int) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
	}
	return func() { _ = f.Close() }, nil // closing unlocks
}
