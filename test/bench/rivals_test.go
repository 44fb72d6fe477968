//go:build integration

package main

import (
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/keelson/keelson/internal/lab/rival"
)

// TestRivalsFailOver kills a host under each kind of rival, so that the bench
// still knows how to run them. It says nothing of how long they take.
func TestRivalsFailOver(t *testing.T) {
	binary := os.Getenv("KEELSON_BINARY")
	if os.Geteuid() != 0 || binary == "" {
		t.Skip("SKIPPED: this needs root, and KEELSON_BINARY: run `make lab`")
	}
	for _, c := range contestants() {
		if !slices.Contains([]string{"pacemaker-300", "keepalived-0.1"}, c.name) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			a, err := raise(t.Context(), options{binary: binary, dir: t.TempDir()}, c, hostsEach)
			if errors.Is(err, rival.ErrMissing) {
				t.Skipf("SKIPPED: %v", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := a.Close(); err != nil {
					t.Error(err)
				}
			}()
			got := a.trial(t.Context(), kill, 1)
			t.Log(describe(c.title, got))
			if got.Error != "" || got.Lost || got.OutageMS == 0 || got.To == got.From {
				t.Errorf("%+v", got)
			}
		})
	}
}
