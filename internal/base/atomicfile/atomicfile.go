// Package atomicfile writes small files so that a reader sees the old content
// or the new, never a part of one, also after a loss of power.
//
// The rule: the new content is on disk before it gets the name. Whatever goes
// wrong before that (no space, no permission, a crash) leaves the old file as
// it was. The package does no locking: of two writers at the same time, one
// wins. It follows no symbolic link at the name; the link is replaced.
package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ErrTooLarge means that a file is longer than the caller is ready to read.
// Nothing of it was returned.
var ErrTooLarge = errors.New("file is too large")

// tempPrefix begins the names of files that are being written.
const tempPrefix = ".writing-"

// Write puts data into the file at path, with exactly the permissions perm, and
// returns when it would survive a loss of power. The folder must exist.
//
// An error means that the old file is unchanged, with one exception: when only
// the folder could not be synced, the new content is in place but may be lost
// with the power. The temporary file is removed unless the process dies; see
// [Clean].
func Write(path string, data []byte, perm fs.FileMode) error {
	dir := filepath.Dir(path)
	temp, err := os.CreateTemp(dir, tempPrefix+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := fill(temp, data, perm); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(temp.Name()))
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(temp.Name()))
	}
	if err := SyncDir(dir); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// fill writes, syncs and closes f.
func fill(f *os.File, data []byte, perm fs.FileMode) error {
	_, err := f.Write(data)
	if err == nil {
		err = f.Chmod(perm)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// SyncDir makes the names in a folder survive a loss of power.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	err = d.Sync()
	if err := errors.Join(err, d.Close()); err != nil {
		return fmt.Errorf("sync folder %s: %w", dir, err)
	}
	return nil
}

// Read returns the content of the file at path, which may have up to limit
// bytes, else the error is [ErrTooLarge]. A file that does not exist is
// [fs.ErrNotExist].
func Read(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("read %s: %w: more than %d bytes", path, ErrTooLarge, limit)
	}
	return data, nil
}

// Clean removes what interrupted writes have left in dir. Call it when nobody
// writes there, such as at start. A folder that does not exist is clean.
func Clean(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("clean %s: %w", dir, err)
	}
	var failed []error
	for _, e := range entries {
		if e.Type().IsRegular() && strings.HasPrefix(e.Name(), tempPrefix) {
			failed = append(failed, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("clean: %w", err)
	}
	return nil
}
