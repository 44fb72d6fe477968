package spec

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Valid reports whether n has the form of a node name.
func (n NodeName) Valid() bool { return validName(string(n), true) }

// Valid reports whether n has the form of a service name.
func (n ServiceName) Valid() bool { return validName(string(n), false) }

func validName(s string, dots bool) bool {
	if s == "" || len(s) > MaxName {
		return false
	}
	for i := range len(s) {
		alphanumeric := s[i] >= 'a' && s[i] <= 'z' || s[i] >= '0' && s[i] <= '9'
		mark := s[i] == '-' || dots && s[i] == '.'
		if alphanumeric || mark && i > 0 && i < len(s)-1 {
			continue
		}
		return false
	}
	return true
}

// ValidLabel reports whether key and value have the form of a label: a key of
// 1 to 63 characters of a-z, A-Z, 0-9, '-', '_', '.' and '/', and a value of up
// to 253 printable characters.
func ValidLabel(key, value string) bool {
	if key == "" || len(key) > MaxName || len(value) > MaxValue {
		return false
	}
	for _, r := range key {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./", r) {
			continue
		}
		return false
	}
	return printable(value)
}

// SplitLabel splits "key=value". It reports whether it found a key, a value
// and the '=' between them.
func SplitLabel(label string) (key, value string, ok bool) {
	key, value, ok = strings.Cut(label, "=")
	return key, value, ok && value != "" && ValidLabel(key, value)
}

// isText reports whether s can be an argument, variable or path.
func isText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

const nameHint = "use 1 to 63 of a-z, 0-9 and '-', with a letter or digit first and last"

func (c *checker) serviceName(path string, n ServiceName) {
	if !n.Valid() {
		c.add(path, BadName, fmt.Sprintf("%s is not a service name", quote(string(n))), nameHint)
	}
}

func (c *checker) nodeName(path string, n NodeName) {
	if !n.Valid() {
		c.add(path, BadName, fmt.Sprintf("%s is not a node name", quote(string(n))),
			"use 1 to 63 of a-z, 0-9, '-' and '.', with a letter or digit first and last")
	}
}

// signal is one signal and its number.
type signal struct {
	name   string
	number int
}

// signals are the signals that may end a program, by name, with their
// number on Linux (signal(7), the column for x86 and ARM).
var signals = [...]signal{
	{"ABRT", 6},
	{"ALRM", 14},
	{"HUP", 1},
	{"INT", 2},
	{"KILL", 9},
	{"QUIT", 3},
	{"TERM", 15},
	{"USR1", 10},
	{"USR2", 12},
	{"WINCH", 28},
}

// StopSignals returns the names that stop_signal may have, sorted.
func StopSignals() []string {
	names := make([]string, 0, len(signals))
	for _, s := range signals {
		names = append(names, s.name)
	}
	return names
}

// SignalNumber returns the number on Linux of a stop signal, with or without
// "SIG" before its name, and whether it may be used as one.
func SignalNumber(name string) (int, bool) {
	name = strings.TrimPrefix(strings.ToUpper(name), "SIG")
	i := slices.IndexFunc(signals[:], func(s signal) bool { return s.name == name })
	if i < 0 {
		return 0, false
	}
	return signals[i].number, true
}
