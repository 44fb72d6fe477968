package cib

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// endless counts what is read of it.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	e.read += len(p)
	return len(p), nil
}

func TestOneValueWithoutEndIsGivenUpEarly(t *testing.T) {
	rest := &endless{}
	_, err := Read(io.MultiReader(strings.NewReader(`<cib a="`), rest))
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	if rest.read > 2*MaxRun {
		t.Errorf("%d bytes were read", rest.read)
	}
}

type broken struct{}

var errGone = errors.New("gone")

func (broken) Read([]byte) (int, error) { return 0, errGone }

func TestADocumentThatCannotBeReadSaysWhy(t *testing.T) {
	if _, err := Read(broken{}); !errors.Is(err, errGone) {
		t.Errorf("got %v", err)
	}
}
