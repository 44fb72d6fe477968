package wire

import (
	"errors"
	"syscall"
)

// What went wrong, as far as a caller may want to decide on it. They keep
// their identity across processes.
var (
	// ErrNoHost means the lab has no host of that name.
	ErrNoHost = errors.New("no such host in this lab")
	// ErrOff means the host is powered off; boot it first.
	ErrOff = errors.New("the host is off")
	// ErrNoCgroup means the lab has no cgroups of its own, which needs root;
	// nothing was changed.
	ErrNoCgroup = errors.New("this lab has no cgroups of its own (that needs root)")
	// ErrForbidden means this machine does not let this user make a lab.
	ErrForbidden = errors.New("this machine does not allow making a lab")
)

// sentinels lists the errors that keep their identity, by the word that
// stands for them on the wire.
func sentinels() map[string]error {
	return map[string]error{
		"no-host": ErrNoHost, "off": ErrOff, "no-cgroup": ErrNoCgroup, "forbidden": ErrForbidden,
	}
}

// Mark returns an error with the words of err that is also the sentinel.
func Mark(err, sentinel error) error { return marked{err, sentinel} }

type marked struct{ err, sentinel error }

// Error returns the words of the marked error.
func (m marked) Error() string { return m.err.Error() }

// Unwrap returns the error and its mark.
func (m marked) Unwrap() []error { return []error{m.err, m.sentinel} }

// remoteError is an error of another process.
type remoteError struct {
	Text  string        `json:"text"`
	Code  string        `json:"code,omitempty"`
	Errno syscall.Errno `json:"errno,omitempty"`
}

func pack(err error) *remoteError {
	e := &remoteError{Text: err.Error()}
	for code, sentinel := range sentinels() {
		if errors.Is(err, sentinel) {
			e.Code = code
		}
	}
	_ = errors.As(err, &e.Errno) // stays 0 if there is none
	return e
}

// Error returns the other process's own words.
func (e *remoteError) Error() string { return e.Text }

// Unwrap returns the sentinel and the errno that the error had at home.
func (e *remoteError) Unwrap() []error {
	var out []error
	if s, ok := sentinels()[e.Code]; ok {
		out = append(out, s)
	}
	if e.Errno != 0 {
		out = append(out, e.Errno)
	}
	return out
}
