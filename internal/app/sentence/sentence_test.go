package sentence

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/atomicfile"
	"github.com/keelson/keelson/internal/model/request"
)

func TestWhatAFolderRefusesIsSaidInASentence(t *testing.T) {
	dir := t.TempDir()
	file, loop := filepath.Join(dir, "file"), filepath.Join(dir, "loop")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	read := func(path string) error {
		_, err := atomicfile.Read(path, 10)
		return err
	}
	refusal := func(op, path string, err error) error { return &fs.PathError{Op: op, Path: path, Err: err} }
	tests := []struct {
		name string
		dir  string
		err  error
		code string
		text string
		hint string
	}{
		{
			"a folder where nothing can be made", "/proc/x", refusal("mkdir", "/proc/x", unix.ENOENT),
			"no-such-folder", "no folder can be made at /proc/x: /proc takes none", "give a folder on a disk with --data or --run",
		},
		{"a file for a folder", file, os.MkdirAll(file, 0o700), "not-a-folder", file + " is not a folder", "give another with --data or --run"},
		{"a folder in a file", file + "/x/y", os.MkdirAll(file+"/x/y", 0o700), "not-a-folder", file + " is not a folder", "give another with --data or --run"},
		{"what is read under a file", file, read(file + "/node.json"), "not-a-folder", file + " is not a folder", "give another with --data or --run"},
		{"a folder where a file should be", dir, read(dir), "not-a-file", dir + " is a folder and should be a file; nothing was changed", "move it away, or give another folder with --data"},
		{"a name that is too long", dir, os.MkdirAll(dir+"/"+strings.Repeat("x", 300), 0o700), "no-such-folder", dir + "/" + strings.Repeat("x", 300) + " is too long for a path", "give a shorter one with --data or --run"},
		{"links in a circle", loop, read(loop + "/node.json"), "no-such-folder", loop + "/node.json leads in a circle of symbolic links", "give another with --data or --run"},
		{"a read-only disk", "/x/y", refusal("mkdir", "/x/y", unix.EROFS), "disk-read-only", "the disk under /x/y cannot be written: it is mounted read-only", "look at `dmesg` for why, mount it writable, then try again"},
		{"a folder of somebody else", "/x", refusal("mkdir", "/x", unix.EACCES), "not-allowed", "you may not use /x", "run this as root, for example with sudo, or give folders of your own with --data and --run"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var said *request.Error
			if !errors.As(Disk(tt.dir, tt.err), &said) || said.Code != tt.code || said.Text != tt.text || said.Hint != tt.hint {
				t.Errorf("it says %+v", said)
			}
		})
	}
	missing := read(filepath.Join(dir, "missing"))
	if got := Disk(dir, missing); !errors.Is(got, fs.ErrNotExist) || errors.As(got, new(*request.Error)) {
		t.Errorf("a file that is not there is the caller's to judge, and it says %v", got)
	}
}
