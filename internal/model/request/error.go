package request

// Kind sorts errors by what the caller can do about them.
type Kind uint8

// The kinds of errors.
const (
	Internal    Kind = iota // a fault of the cell's own
	Invalid                 // the request is wrong in itself
	NotFound                // what it names does not exist
	Exists                  // what it would make exists already
	Refused                 // it cannot be done in the present state
	Denied                  // the caller may not ask for it
	Unknown                 // the caller did not say who it is
	Unavailable             // the store or another node did not answer; it may have happened
	Conflict                // others changed the same thing too often at once
	Exhausted               // a limit is reached
	Expired                 // the time was up
	Unreachable             // the client found nobody to ask
	Canceled                // the caller gave up
)

// Error is an answer of no, in words for people. The code is stable, such as
// "name-taken"; scripts match on it. Text says what happened, Hint what to do
// next in one sentence and may be empty.
type Error struct {
	Kind Kind
	Code string
	Text string
	Hint string
	Err  error // what lies beneath; may be nil, and is not shown
}

// Error returns the text.
func (e *Error) Error() string { return e.Text }

// Unwrap returns what lies beneath.
func (e *Error) Unwrap() error { return e.Err }
