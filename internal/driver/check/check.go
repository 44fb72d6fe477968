// Package check asks one question of a part, once or again and again.
//
// Its main rule: an answer is in time or it is a failure. Every question has a
// timeout, reads a bounded amount, and leaves nothing behind: no connection, no
// process, no goroutine. What a verdict leads to is not decided here.
package check

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/keelson/keelson/internal/base/command"
	"github.com/keelson/keelson/internal/model/spec"
)

// ErrNoQuestion means that a check names none, or more than one, of http, tcp
// and exec.
var ErrNoQuestion = errors.New("the check asks for none or more than one of http, tcp and exec")

// Bounds of what is read of an answer.
const (
	bodyBytes   = 64 << 10
	headerBytes = 64 << 10
	outputBytes = 200 // of a program's output, for the sentence
)

// Program runs a program to its end, or kills it with all that it started when ctx
// ends, and then returns ctx's error. It keeps so many bytes of what it prints.
// Where and as whom it runs is its own affair.
type Program func(ctx context.Context, argv []string, outputBytes int) (command.Result, error)

// Once asks c's question and returns nil if the answer is yes. Otherwise the
// error is a sentence for the operator that says what was asked and what came
// back. Run runs a program that is asked; no other question needs it.
//
// Once takes no longer than c's timeout, and a little more to clean up.
func Once(ctx context.Context, c spec.Check, run Program) error {
	switch c.Kind() {
	case "http":
		return askHTTP(ctx, c)
	case "tcp":
		return askTCP(ctx, c)
	case "exec":
		return askProgram(ctx, c, run)
	default:
		return ErrNoQuestion
	}
}

// askHTTP passes any status from 200 to 399. Redirects are not followed, no
// proxy is used, and a certificate proves nothing here: the question is
// whether the service answers.
func askHTTP(ctx context.Context, c spec.Check) error {
	limited, cancel := context.WithTimeout(ctx, c.EffectiveTimeout())
	defer cancel()
	request, err := http.NewRequestWithContext(limited, http.MethodGet, c.HTTP, nil)
	if err != nil {
		return fmt.Errorf("%s cannot be asked: %w", c.HTTP, err)
	}
	request.Header.Set("User-Agent", "keelson-check")
	transport := &http.Transport{
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: headerBytes,
		TLSClientConfig:        &tls.Config{InsecureSkipVerify: true}, // see above: no secret is sent
	}
	answer, err := transport.RoundTrip(request) // follows no redirects
	if err != nil {
		return fmt.Errorf("%s did not answer: %w", c.HTTP, cause(ctx, limited, c, err))
	}
	_, err = io.Copy(io.Discard, io.LimitReader(answer.Body, bodyBytes))
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		return fmt.Errorf("%s did not finish its answer: %w", c.HTTP, cause(ctx, limited, c, err))
	}
	if answer.StatusCode < 200 || answer.StatusCode > 399 {
		return fmt.Errorf("%s answered with status %d", c.HTTP, answer.StatusCode)
	}
	return nil
}

// askTCP passes if a connection is accepted.
func askTCP(ctx context.Context, c spec.Check) error {
	limited, cancel := context.WithTimeout(ctx, c.EffectiveTimeout())
	defer cancel()
	conn, err := new(net.Dialer).DialContext(limited, "tcp", c.TCP)
	if err != nil {
		return fmt.Errorf("%s did not accept a connection: %w", c.TCP, cause(ctx, limited, c, err))
	}
	_ = conn.Close() // it was accepted: that was the question
	return nil
}

// askProgram passes if the program exits with 0.
func askProgram(ctx context.Context, c spec.Check, run Program) error {
	limited, cancel := context.WithTimeout(ctx, c.EffectiveTimeout())
	defer cancel()
	result, err := run(limited, c.Exec, outputBytes)
	said := quote(result)
	switch {
	case err != nil && ctx.Err() == nil && limited.Err() != nil:
		return fmt.Errorf("%s %w: more than %s%s", c.Exec[0], command.ErrTimeout, c.EffectiveTimeout(), said)
	case err != nil:
		return fmt.Errorf("check program: %w", err)
	case result.Signal != "":
		return fmt.Errorf("%s was killed by signal %s%s", c.Exec[0], result.Signal, said)
	case result.Code != 0:
		return fmt.Errorf("%s exited with status %d%s", c.Exec[0], result.Code, said)
	}
	return nil
}

// cause words the error of a question for a person: the layers that the
// network library adds say the same thing again.
func cause(outer, limited context.Context, c spec.Check, err error) error {
	if outer.Err() != nil {
		return outer.Err()
	}
	var network net.Error
	if limited.Err() != nil || errors.As(err, &network) && network.Timeout() {
		return fmt.Errorf("no answer in %s", c.EffectiveTimeout())
	}
	var link *url.Error
	if errors.As(err, &link) {
		err = link.Err
	}
	var number syscall.Errno
	if errors.As(err, &number) {
		return number
	}
	var name *net.DNSError
	if errors.As(err, &name) {
		return fmt.Errorf("the name %s is not known: %s", name.Name, name.Err)
	}
	return err
}

// quote returns what a program said, as one line to add to a sentence.
func quote(r command.Result) string {
	text := strings.ToValidUTF8(string(r.Output), "?")
	if r.Truncated { // perhaps within a character, which then is invalid
		text = strings.TrimRightFunc(text, func(c rune) bool { return c == '?' || c == utf8.RuneError })
	}
	text = strings.Join(strings.Fields(text), " ")
	text = strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return '?'
		}
		return c
	}, text)
	switch {
	case text == "":
		return ""
	case r.Truncated:
		return ": " + text + " ..."
	default:
		return ": " + text
	}
}
