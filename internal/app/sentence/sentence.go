// Package sentence makes what a disk, a port or the store refused into what an
// operator can read and act on. An error that is in words already stays as it is.
package sentence

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/atomicfile"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/store"
	"github.com/keelson/keelson/internal/store/etcdstore"
)

// Disk makes a sentence of what a disk refuses. dir is the folder that was
// to be used; an error that is already in words, or not the disk's, stays.
func Disk(dir string, err error) error {
	var known *request.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	at := dir
	var path *fs.PathError
	if errors.As(err, &path) {
		at = filepath.Dir(path.Path)
		if rel, err := filepath.Rel(dir, path.Path); err == nil && !strings.HasPrefix(rel, "..") {
			at = dir
		}
	}
	if path != nil {
		switch {
		case errors.Is(err, unix.ENOTDIR):
			at = obstacle(path.Path)
		case errors.Is(err, unix.EISDIR), errors.Is(err, unix.ENAMETOOLONG), errors.Is(err, unix.ELOOP):
			at = path.Path
		case errors.Is(err, fs.ErrNotExist) && path.Op == "mkdir":
			return nowhere(path.Path, err)
		}
	}
	for _, s := range []struct {
		is               error
		code, text, hint string
	}{
		{unix.ENOSPC, "disk-full", "the disk under %s is full; what was there before is intact", "make room, then try again"},
		{unix.EDQUOT, "disk-full", "the disk quota for %s is used up; what was there before is intact", "make room, then try again"},
		{unix.EROFS, "disk-read-only", "the disk under %s cannot be written: it is mounted read-only", "look at `dmesg` for why, mount it writable, then try again"},
		{unix.EIO, "disk-failing", "the disk under %s does not work: the kernel reports an I/O error", "look at `dmesg`; the disk may have to be replaced"},
		{unix.ENOTDIR, "not-a-folder", "%s is not a folder", "give another with --data or --run"},
		{unix.EISDIR, "not-a-file", "%s is a folder and should be a file; nothing was changed", "move it away, or give another folder with --data"},
		{unix.ENAMETOOLONG, "no-such-folder", "%s is too long for a path", "give a shorter one with --data or --run"},
		{unix.ELOOP, "no-such-folder", "%s leads in a circle of symbolic links", "give another with --data or --run"},
		{atomicfile.ErrTooLarge, "data-corrupted", "a file under %s is far larger than it can be; nothing was changed", "look at what is in that folder, and restore it from a backup"},
	} {
		if errors.Is(err, s.is) {
			return &request.Error{Kind: request.Refused, Code: s.code, Text: fmt.Sprintf(s.text, at), Hint: s.hint, Err: err}
		}
	}
	if errors.Is(err, fs.ErrPermission) {
		if path != nil {
			at = path.Path
		}
		return &request.Error{
			Kind: request.Refused, Code: "not-allowed", Err: err, Text: "you may not use " + at,
			Hint: "run this as root, for example with sudo, or give folders of your own with --data and --run",
		}
	}
	return err
}

// obstacle returns the part of path that is no folder, and would have to be one.
func obstacle(path string) string {
	for at := filepath.Clean(path); ; at = filepath.Dir(at) {
		if found, err := os.Stat(at); err == nil && !found.IsDir() {
			return at
		}
		if at == filepath.Dir(at) {
			return path
		}
	}
}

// nowhere says that a folder cannot be made where nothing can be, as under /proc.
func nowhere(path string, err error) error {
	return &request.Error{
		Kind: request.Refused, Code: "no-such-folder", Err: err,
		Text: fmt.Sprintf("no folder can be made at %s: %s takes none", path, filepath.Dir(path)),
		Hint: "give a folder on a disk with --data or --run",
	}
}

// Store makes what can be wrong with the store a sentence. dir is the
// folder of the store's data.
func Store(dir string, err error) error {
	var known *request.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	where, host := listening(err)
	for _, s := range []struct {
		is               error
		code, text, hint string
	}{
		{etcdstore.ErrPortInUse, "port-in-use", where + " is used by another program", "stop that program (`ss -ltnp` names it) and try again; a new node can take other ports with --peer-port and --client-port"},
		{etcdstore.ErrNoAddress, "no-such-address", "this server does not have the address " + host, "give a new node an address of this server with --address; if it had this one before, bring it back (`ip address`)"},
		{etcdstore.ErrDiskFull, "disk-full", "the disk under " + dir + " is full; what was written before is intact", "make room (a voter needs 32 MiB to begin), then try again"},
		{etcdstore.ErrCorrupt, "data-corrupted", "the store's data in " + dir + " is damaged (" + Innermost(err) + "); it was left as it is", "move " + dir + " away and start the agent: one of several voters gets its data from the others; the only voter of a cell needs " + dir + " from a backup"},
		{etcdstore.ErrForeign, "data-foreign", dir + " holds the data of another cell or node; it was left as it is", "move " + dir + " away if it is not needed"},
		{etcdstore.ErrInUse, "already-running", "another agent uses " + dir, "stop it first"},
		{etcdstore.ErrCertificate, "certificate-invalid", "this node's certificate is not valid at this host's time", "check the clock (`date -u`); if it is right, join again under the same name with a new token"},
		{etcdstore.ErrFull, "store-full", "the cell's store has reached its size limit and takes no changes", "delete services that are not needed; what runs goes on"},
		{etcdstore.ErrBroken, "store-broken", "the store stopped in a way that this process cannot mend (" + Innermost(err) + ")", "start the agent again; what runs goes on"},
		{store.ErrUnavailable, "store-unavailable", "the cell's store does not answer (" + Innermost(err) + ")", "check that a majority of the voters runs and can be reached"},
	} {
		if errors.Is(err, s.is) {
			return &request.Error{Kind: request.Refused, Code: s.code, Text: s.text, Hint: s.hint, Err: err}
		}
	}
	return Disk(dir, err)
}

// Unanswered makes a sentence of a store that did not answer. what says what
// became of the request then.
func Unanswered(what string, err error) error {
	var known *request.Error
	if errors.As(err, &known) || !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &request.Error{
		Kind: request.Unavailable, Code: "store-unavailable", Err: err,
		Text: what + ": the cell's store does not answer",
		Hint: "a majority of the voters must be up and in touch: see `keelson status`; then try again",
	}
}

// listening names the port and the host that could not be listened on.
func listening(err error) (where, host string) {
	var op *net.OpError
	if !errors.As(err, &op) || op.Addr == nil {
		return "a port of the store", "that its store listens on"
	}
	host, port, split := net.SplitHostPort(op.Addr.String())
	if split != nil {
		return op.Addr.String(), op.Addr.String()
	}
	return fmt.Sprintf("port %s on %s", port, host), host
}

// Innermost returns the cause at the end of a chain of errors, which says most
// in the fewest words.
func Innermost(err error) string {
	for {
		var next error
		switch e := err.(type) { //nolint:errorlint // walks the chain by itself
		case interface{ Unwrap() error }:
			next = e.Unwrap()
		case interface{ Unwrap() []error }:
			if all := e.Unwrap(); len(all) > 0 {
				next = all[len(all)-1]
			}
		}
		if next == nil {
			return err.Error()
		}
		err = next
	}
}

// Hint returns what an error tells the operator to do.
func Hint(err error) string {
	var known *request.Error
	if errors.As(err, &known) {
		return known.Hint
	}
	return ""
}
