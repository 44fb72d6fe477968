package exec

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/model/instance"
)

// Code names a kind of [Error]. The codes are stable.
type Code string

// The codes.
const (
	BadSpec       Code = "exec-bad-spec"       // the part cannot be understood
	NoProgram     Code = "exec-no-program"     // the program, or its interpreter, is not there
	NotExecutable Code = "exec-not-executable" // it is there, but is no program
	NoDir         Code = "exec-no-dir"         // the working folder is not there
	NoUser        Code = "exec-no-user"        // no such user
	NoGroup       Code = "exec-no-group"       // no such group
	NotAllowed    Code = "exec-not-allowed"    // the kernel refused a right
	NotStarted    Code = "exec-not-started"    // refused for another reason
	Ended         Code = "exec-ended"          // it ran, and does no more
	Stopped       Code = "exec-stopped"        // it was stopped on request
	WontDie       Code = "exec-wont-die"       // it could not be killed: take it to run on
)

// Error is an error for the operator.
type Error struct {
	Reason   Code
	Sentence string // what happened, to what, and what to do next
	Err      error  // the cause, nil if there is none
}

// Error returns the sentence.
func (p *Error) Error() string { return p.Sentence }

// Unwrap returns the cause.
func (p *Error) Unwrap() error { return p.Err }

// Code returns the reason as text.
func (p *Error) Code() string { return string(p.Reason) }

// executable is what begins the name of a program that is there and is none.
const executable = "an executable program "

// lacking is err for want of something that only a person brings to this node.
func lacking(what string, err *Error) error { return &instance.MissingError{What: what, Err: err} }

// exit is how a process ended.
type exit struct{ status unix.WaitStatus }

// describe puts the end of a program into words; e is nil if it is not known.
// Oom tells that the kernel killed processes of the part for want of memory.
func describe(e *exit, oom bool) *Error {
	note := ""
	switch {
	case oom && e != nil && e.status.Signaled() && e.status.Signal() == unix.SIGKILL:
		note = " (out of memory)"
	case oom:
		note = " (a process of it was killed: out of memory)"
	}
	switch {
	case e == nil:
		return &Error{Ended, "ended with unknown status" + note, nil}
	case e.status.Signaled():
		return &Error{Ended, "killed by signal " + signalName(e.status.Signal()) + note, nil}
	default:
		return &Error{Ended, fmt.Sprintf("exited with status %d%s", e.status.ExitStatus(), note), nil}
	}
}

func signalName(s unix.Signal) string {
	const prefix = len("SIG")
	if name := unix.SignalName(s); len(name) > prefix {
		return name[prefix:]
	}
	return fmt.Sprint(int(s))
}
