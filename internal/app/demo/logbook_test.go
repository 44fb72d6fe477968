package demo

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/front/cli"
	"github.com/keelson/keelson/internal/model/request"
)

func TestAPageKeepsItsEnd(t *testing.T) {
	l := newLogbook()
	line := strings.Repeat("x", 1023) + "\n"
	for range 5 * keptLog / len(line) {
		if n, err := l.of("alpha").Write([]byte(line)); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
	}
	fmt.Fprint(l.of("alpha"), "the end\n")
	got := fmt.Sprint(l.of("alpha"))
	if len(got) != keptLog || !strings.HasSuffix(got, "\nthe end\n") {
		t.Errorf("%d bytes are kept, and end with %q", len(got), got[max(0, len(got)-20):])
	}
	if diff := cmp.Diff([]string{"b", "c"}, lastLines("a\nb\nc\n", 2)); diff != "" {
		t.Errorf("the last lines (-want +got):\n%s", diff)
	}
}

func TestAFailureKeepsTheLogs(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var b strings.Builder
	s := &show{Options: Options{DemoOptions: cli.DemoOptions{Err: &b}}, nodes: []string{"alpha", "bravo"}, logs: newLogbook()}
	cause := errors.New("waited in vain")
	if err := s.keepLogs(cause); err.Error() != "waited in vain" || b.Len() > 0 {
		t.Errorf("without logs: %v, %q", err, b.String())
	}
	fmt.Fprint(s.logs.of("bravo"), "one\ntwo\x1b[2J\n")
	err := s.keepLogs(cause)
	var known *request.Error
	if !errors.As(err, &known) || !errors.Is(err, cause) {
		t.Fatalf("the error is %v", err)
	}
	if diff := cmp.Diff("\nthe end of the log of bravo:\n  one\n  two[2J\n\n", b.String()); diff != "" {
		t.Errorf("what is shown (-want +got):\n%s", diff)
	}
	dir := strings.TrimPrefix(known.Hint, "the logs of the hosts are in ")
	kept, err := os.ReadFile(filepath.Join(dir, "bravo.log"))
	if err != nil || string(kept) != "one\ntwo\x1b[2J\n" {
		t.Errorf("%v, what is kept: %q", err, kept)
	}
	if _, err := os.Stat(filepath.Join(dir, "alpha.log")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an empty log is kept: %v", err)
	}
}

func TestTheCauseInBracketsIsNotForPeople(t *testing.T) {
	for text, want := range map[string]string{
		"it is forbidden (by x); run it as root (fork: no space)": "it is forbidden (by x); run it as root",
		"it is forbidden": "it is forbidden",
		"(x)":             "(x)",
	} {
		if got := withoutCause(text); got != want {
			t.Errorf("%q became %q", text, got)
		}
	}
}
