package atomicfile

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// names returns what is in dir, so that leftovers show.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestWriteReplacesContentAndPermissions(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "node.json")
	for _, step := range []struct {
		data string
		perm fs.FileMode
	}{{"one", 0o600}, {"", 0o644}, {"three", 0o666}} {
		if err := Write(path, []byte(step.data), step.perm); err != nil {
			t.Fatal(err)
		}
		got, err := Read(path, 10)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != step.data || info.Mode() != step.perm {
			t.Errorf("read %q with %s, want %q with %s", got, info.Mode(), step.data, step.perm)
		}
	}
	if diff := cmp.Diff([]string{"node.json"}, names(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestWriteThatFailsLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(path, "inside"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, []byte("x"), 0o600); err == nil {
		t.Error("a file took the name of a folder that is not empty")
	}
	if diff := cmp.Diff([]string{"taken"}, names(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if err := Write(filepath.Join(dir, "no", "such"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("write into a missing folder: %v, want fs.ErrNotExist", err)
	}
}

func TestFullDiskKeepsTheOldFile(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	dir := t.TempDir()
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The thread gets its own mounts and is never unlocked, so it ends with
		// the goroutine and nothing outside sees the small file system.
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
			t.Errorf("unshare: %v", err)
			return
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Errorf("private mounts: %v", err)
			return
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
			t.Errorf("mount: %v", err)
			return
		}
		path := filepath.Join(dir, "node.json")
		if err := Write(path, []byte("old"), 0o600); err != nil {
			t.Error(err)
			return
		}
		if err := Write(path, bytes.Repeat([]byte("x"), 128<<10), 0o600); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("write of too much: %v, want no space left", err)
		}
		got, err := Read(path, 10)
		if err != nil || string(got) != "old" {
			t.Errorf("afterwards: %q, %v, want the old content", got, err)
		}
		if diff := cmp.Diff([]string{"node.json"}, names(t, dir)); diff != "" {
			t.Errorf("files (-want +got):\n%s", diff)
		}
	}()
	<-done
}

func TestReadRefusesWhatIsTooLarge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := Read(path, 5); err != nil || string(got) != "12345" {
		t.Errorf("at the limit: %q, %v", got, err)
	}
	if got, err := Read(path, 4); !errors.Is(err, ErrTooLarge) || got != nil {
		t.Errorf("above the limit: %q, %v, want ErrTooLarge", got, err)
	}
	if _, err := Read(path+"-none", 4); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v, want fs.ErrNotExist", err)
	}
}

func TestCleanRemovesOnlyInterruptedWrites(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"node.json", tempPrefix + "node.json-1", ".hidden"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Clean(dir); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{".hidden", "node.json"}, names(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if err := Clean(filepath.Join(dir, "none")); err != nil {
		t.Errorf("clean of a missing folder: %v", err)
	}
}
