package pacemaker_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/keelson/keelson/internal/front/cli/pacemaker"
)

func TestAnImportEndsWhenItIsInterrupted(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	begun, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	r := (&pacemaker.Reader{Import: func(io.Reader, time.Time) (pacemaker.Imported, error) {
		close(begun)
		<-release
		return pacemaker.Imported{}, nil
	}}).Until(ctx)
	go func() { <-begun; stop() }()
	if _, err := r.Import(nil, time.Time{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestNothingThatATerminalObeysIsShown(t *testing.T) {
	r := (&pacemaker.Reader{Import: func(io.Reader, time.Time) (pacemaker.Imported, error) {
		return pacemaker.Imported{Notes: []string{"node \u009b2J\u202e\x1b[0m: é"}}, nil
	}}).Until(t.Context())
	got, err := r.Import(nil, time.Time{})
	if err != nil || got.Notes[0] != "node ?2J??[0m: é" {
		t.Errorf("%q, %v", got.Notes, err)
	}
}
