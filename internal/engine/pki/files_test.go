package pki

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFilesAreForTheirOwnerOnly(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Dir(w.files.KeyPath())
	got := map[string]os.FileMode{}
	for _, path := range []string{dir, w.files.KeyPath(), w.files.CertPath(), w.files.CAPath()} {
		info, err := os.Stat(path)
		must(t, err)
		got[filepath.Base(path)] = info.Mode().Perm()
	}
	want := map[string]os.FileMode{"pki": 0o700, "node.key": 0o600, "node.crt": 0o644, "ca.crt": 0o644}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("permissions (-want +got):\n%s", diff)
	}
}

func TestTheKeyIsMadeOnceAndNeverReplaced(t *testing.T) {
	dir := t.TempDir()
	first, err := NewFiles(dir).Key()
	must(t, err)
	second, err := NewFiles(dir).Key()
	must(t, err)
	if !first.Equal(second) {
		t.Error("another key after a restart")
	}
	files := NewFiles(dir)
	must(t, os.WriteFile(files.KeyPath(), []byte("junk"), 0o600))
	_, err = files.Key()
	wantError(t, err, ErrDamaged)
	wantWords(t, err, files.KeyPath(), "backup")
	text, err := os.ReadFile(files.KeyPath())
	must(t, err)
	if string(text) != "junk" {
		t.Error("the damaged key was overwritten")
	}
}

func TestInstallRefusesWhatDoesNotFit(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	before, err := os.ReadFile(w.files.CertPath())
	must(t, err)
	tests := []struct {
		name     string
		cert, ca []byte
	}{
		{"a certificate for another key", other.founding.Certificate, other.founding.Cell.CACert},
		{"the authority of another cell", w.founding.Certificate, other.founding.Cell.CACert},
		{"no certificate", nil, w.founding.Cell.CACert},
		{"no authority", w.founding.Certificate, []byte("junk")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wantError(t, w.files.Install(tt.cert, tt.ca), ErrDamaged)
			after, err := os.ReadFile(w.files.CertPath())
			must(t, err)
			if diff := cmp.Diff(string(before), string(after)); diff != "" {
				t.Errorf("the certificate was replaced:\n%s", diff)
			}
		})
	}
}

func TestWhatWasReadOnceIsServedWhenTheDiskIsGone(t *testing.T) {
	w := newWorld(t)
	pair, err := w.files.Certificate()
	must(t, err)
	must(t, os.RemoveAll(filepath.Dir(w.files.KeyPath())))
	again, err := w.files.Certificate()
	must(t, err)
	if again != pair {
		t.Error("another certificate")
	}
	_, err = w.files.CA()
	must(t, err)
}

func TestMissingAndDamagedFilesAreNamed(t *testing.T) {
	w := newWorld(t)
	fresh := func() *Files { return NewFiles(filepath.Dir(w.files.KeyPath())) }

	_, err := NewFiles(t.TempDir()).Certificate()
	wantError(t, err, ErrNoIdentity)
	wantWords(t, err, "keelson join")

	must(t, os.WriteFile(w.files.CertPath(), []byte("-----BEGIN"), 0o600))
	_, err = fresh().Certificate()
	wantError(t, err, ErrDamaged)
	wantWords(t, err, w.files.CertPath())

	must(t, os.WriteFile(w.files.CAPath(), nil, 0o600))
	_, err = fresh().CA()
	wantError(t, err, ErrDamaged)
	wantWords(t, err, w.files.CAPath())

	must(t, w.files.Remove())
	must(t, w.files.Remove())
	_, err = w.files.Certificate()
	wantError(t, err, ErrNoIdentity)
}
