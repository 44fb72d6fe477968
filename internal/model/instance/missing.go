package instance

import "errors"

// MissingError is that a part cannot start on this node for want of something that
// only a person brings there: trying again at once is in vain.
type MissingError struct {
	What string // such as "the program /usr/bin/shopd"
	Err  error  // what is told to the operator; not nil
}

// Error returns the text of the cause.
func (e *MissingError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *MissingError) Unwrap() error { return e.Err }

// Missing says what an error is for want of, empty if it is not a [MissingError].
func Missing(err error) string {
	var m *MissingError
	if errors.As(err, &m) {
		return m.What
	}
	return ""
}
