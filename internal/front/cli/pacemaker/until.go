package pacemaker

import (
	"context"
	"io"
	"strings"
	"time"
	"unicode"
)

// Until returns a reader whose work is given up as soon as ctx ends, with its error.
// Documents are bounded, and so is the work that goes on unheard until then: the
// program ends without it.
func (r *Reader) Until(ctx context.Context) *Reader {
	return &Reader{
		Import: func(from io.Reader, now time.Time) (Imported, error) {
			out, err := given(ctx, func() (Imported, error) { return r.Import(from, now) })
			out.Notes = plain(out.Notes)
			return out, err
		},
		Simulate: func(from io.Reader, now time.Time) (Simulated, error) {
			out, err := given(ctx, func() (Simulated, error) { return r.Simulate(from, now) })
			out.Not, out.Steps = plain(out.Not), plain(out.Steps)
			return out, err
		},
	}
}

func given[T any](ctx context.Context, work func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	done := make(chan answer, 1)
	go func() {
		value, err := work()
		done <- answer{value, err}
	}()
	select {
	case a := <-done:
		return a.value, a.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}

// plain shows what a terminal would obey in texts that are somebody else's.
func plain(texts []string) []string {
	for i, t := range texts {
		texts[i] = Plain(t)
	}
	return texts
}

// Plain returns a text with a question mark in the place of every character that is
// not seen: what a terminal obeys, and what changes the direction of writing.
func Plain(text string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) || unicode.Is(unicode.Cf, c) || c == unicode.ReplacementChar {
			return '?'
		}
		return c
	}, text)
}
