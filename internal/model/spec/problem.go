package spec

import (
	"fmt"
	"strings"
	"time"
)

// Code is the stable name of a kind of problem. Scripts match on it.
type Code string

// The codes of problems.
const (
	BadName       Code = "bad-name"
	NoParts       Code = "no-parts"
	TooMany       Code = "too-many"
	TooLong       Code = "too-long"
	BadKind       Code = "bad-kind" // a part of no kind or of several
	Clash         Code = "clash"    // two things that cannot be together
	BadCommand    Code = "bad-command"
	BadSignal     Code = "bad-signal"
	BadEnv        Code = "bad-env"
	BadUser       Code = "bad-user"
	BadPath       Code = "bad-path"
	OutOfRange    Code = "out-of-range"
	BadCheck      Code = "bad-check" // a check of no kind or of several
	BadURL        Code = "bad-url"
	BadHostPort   Code = "bad-host-port"
	BadAddress    Code = "bad-address"
	BadInterface  Code = "bad-interface"
	BadLabel      Code = "bad-label"
	BadPreference Code = "bad-preference"
	BadProof      Code = "bad-proof"
	BadQuorumLoss Code = "bad-quorum-loss"
	BadRole       Code = "bad-role"
	Circle        Code = "circle"  // services that wait for each other
	TooBig        Code = "too-big" // no node can have it
	NotYet        Code = "not-yet" // right, but this version cannot do it
	SelfReference Code = "self-reference"
	Duplicate     Code = "duplicate"
	AddressTaken  Code = "address-taken"   // it belongs to another service
	UnknownName   Code = "unknown-service" // the cell has none of that name
)

// Problem is one thing that is wrong with a service.
type Problem struct {
	// Path leads to the value in the service: "parts[1].exec.command[0]". It
	// uses the names of the JSON form and is empty for the service as a whole.
	Path string
	Code Code
	// Message says what is wrong, Hint what to do. Both are plain sentences
	// without a full stop; Hint may be empty.
	Message string
	Hint    string
	// Warning is true if the service can be used all the same.
	Warning bool
}

// String returns the problem in one line.
func (p Problem) String() string {
	var b strings.Builder
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Message)
	if p.Hint != "" {
		b.WriteString(": " + p.Hint)
	}
	return b.String()
}

// checker collects problems, at most [MaxProblems].
type checker struct {
	problems []Problem
}

func (c *checker) add(path string, code Code, message, hint string) {
	if len(c.problems) < MaxProblems {
		c.problems = append(c.problems, Problem{Path: path, Code: code, Message: message, Hint: hint})
	}
}

// duration reports d if it is not between lo and hi. Zero passes: it means
// that the value is not set.
func (c *checker) duration(path string, d Duration, lo, hi time.Duration) {
	if d != 0 && (time.Duration(d) < lo || time.Duration(d) > hi) {
		c.add(path, OutOfRange, fmt.Sprintf("%v is out of range", d),
			fmt.Sprintf("give %v to %v", Duration(lo), Duration(hi)))
	}
}

func (c *checker) size(path string, s, lo, hi Size) {
	if s != 0 && (s < lo || s > hi) {
		c.add(path, OutOfRange, fmt.Sprintf("%v is out of range", s), fmt.Sprintf("give %v to %v", lo, hi))
	}
}

func (c *checker) number(path string, n, lo, hi int) {
	if n < lo || n > hi {
		c.add(path, OutOfRange, fmt.Sprintf("%d is out of range", n), fmt.Sprintf("give %d to %d", lo, hi))
	}
}

// positive reports a number that is set and not between 1 and most.
func (c *checker) positive(path string, n, most int) {
	if n != 0 {
		c.number(path, n, 1, most)
	}
}

// count reports a list that is too long and returns how much of it to look at.
func (c *checker) count(path, what string, n, most int) int {
	if n > most {
		c.add(path, TooMany, fmt.Sprintf("%d %s are too many", n, what), fmt.Sprintf("give at most %d", most))
	}
	return min(n, most)
}

// once reports the second and further appearances of a value in a list.
func once[T ~string](c *checker, path string, list []T) {
	seen := make(map[T]int, len(list))
	for i, v := range list {
		if first, ok := seen[v]; ok {
			c.add(index(path, i), Duplicate, fmt.Sprintf("%s is listed twice", quote(string(v))),
				fmt.Sprintf("remove one of them; the first is number %d of the list", first+1))
			continue
		}
		seen[v] = i
	}
}

func index(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

func quote(s string) string { return fmt.Sprintf("%q", clip(s)) }
