package exec

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// crowd gives the part's output a disk of its own, which fill fills.
func (b *bench) crowd() (fill func()) {
	b.t.Helper()
	if err := os.MkdirAll(b.run.LogDir, 0o750); err != nil {
		b.t.Fatal(err)
	}
	if err := unix.Mount("none", b.run.LogDir, "tmpfs", 0, "size=1m,mode=755"); err != nil {
		b.t.Skipf("mounting a small disk needs root: %v", err)
	}
	b.t.Cleanup(func() {
		if err := unix.Unmount(b.run.LogDir, unix.MNT_DETACH); err != nil {
			b.t.Error(err)
		}
	})
	return func() {
		// As much as fits: the error is that no more does.
		_ = os.WriteFile(filepath.Join(b.run.LogDir, "ballast"), make([]byte, 2<<20), 0o600)
	}
}

func TestAProgramStartsThoughTheDiskOfItsOutputIsFull(t *testing.T) {
	b := newBench(t, modes()[0])
	b.crowd()()
	b.shell("echo hello || exit 1; echo went on > " + b.file("went") + "; exec sleep 1000")
	b.start()
	b.eventually("it went on", func() bool { return b.written("went") })
	want := "The output of shop/exec is not kept since its start"
	if warned := strings.Join(b.d.Warnings(), " "); !strings.Contains(warned, want) || !strings.Contains(warned, b.run.LogDir) {
		t.Errorf("it warns %q, want %q", warned, want)
	}
	b.stop()
	if warned := strings.Join(b.d.Warnings(), " "); strings.Contains(warned, "shop/exec") {
		t.Errorf("after its stop it warns %q", warned)
	}
}

func TestAProgramThatEndsWhenTheDiskIsFullSaysWhy(t *testing.T) {
	b := newBench(t, modes()[0])
	fill := b.crowd()
	b.shell("until test -e " + b.file("go") + "; do sleep 0.01; done; head -c 200000 /dev/zero || exit 1")
	b.start()
	fill()
	b.d.tend(t.Context())
	if warned := strings.Join(b.d.Warnings(), " "); !strings.Contains(warned, "is full: what shop/exec prints cannot be kept") {
		t.Errorf("it warns %q", warned)
	}
	if err := os.WriteFile(b.file("go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := b.d.Wait(t.Context(), b.run)
	want := "exited with status 1; the disk under " + b.run.LogDir + " is full, its output could not be kept"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %q", err, want)
	}
}
