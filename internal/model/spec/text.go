package spec

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// ErrOutOfRange means that a number with a unit is written well, and larger or
// smaller than can be. The error that wraps it says which.
var ErrOutOfRange = errors.New("out of range")

// numberAndUnits is how a duration is written.
var numberAndUnits = regexp.MustCompile(`^[-+]?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$`)

// String returns the shortest usual form: "10m" rather than "10m0s".
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText returns d as text such as "1.5s".
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what [time.ParseDuration] reads. The unit is required.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil && numberAndUnits.Match(text) {
		return fmt.Errorf("%s is %w", clip(string(text)), ErrOutOfRange)
	}
	if err != nil {
		return fmt.Errorf("%q is not a duration: give a number and a unit such as 500ms, 10s, 5m or 1h", clip(string(text)))
	}
	*d = Duration(v)
	return nil
}

// String returns "auto" or a duration.
func (t TTL) String() string {
	if t == 0 {
		return "auto"
	}
	return Duration(t).String()
}

// MarshalText returns "auto" or a duration.
func (t TTL) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads "auto" or a duration that is not zero.
func (t *TTL) UnmarshalText(text []byte) error {
	if string(text) == "auto" {
		*t = 0
		return nil
	}
	var d Duration
	err := d.UnmarshalText(text)
	if errors.Is(err, ErrOutOfRange) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%q is not a lease length: write auto, or a number and a unit such as 500ms or 2s", clip(string(text)))
	}
	if d == 0 {
		return fmt.Errorf("a lease of no length cannot be held: write auto, or a length from %v to %v", MinTTL, Duration(MaxTTL))
	}
	*t = TTL(d)
	return nil
}

// unit is one unit of size.
type unit struct {
	name  string
	bytes int64
}

// units lists the units of size, the largest first.
var units = [...]unit{
	{"TiB", 1 << 40},
	{"TB", 1e12},
	{"GiB", 1 << 30},
	{"GB", 1e9},
	{"MiB", 1 << 20},
	{"MB", 1e6},
	{"KiB", 1 << 10},
	{"kB", 1e3},
	{"B", 1},
}

// String returns s exactly, in the largest unit that gives a whole number.
func (s Size) String() string {
	for _, u := range units {
		if s != 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return "0B"
}

// MarshalText returns s as text such as "512MiB".
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a number and a unit: B, kB, MB, GB, TB (powers of 1000)
// or KiB, MiB, GiB, TiB (powers of 1024). The unit is required. A fraction of a
// byte is dropped.
func (s *Size) UnmarshalText(text []byte) error {
	in := string(text)
	number := strings.TrimLeft(in, "+-")
	cut := strings.IndexFunc(number, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if cut <= 0 {
		return sizeError(in)
	}
	name := strings.TrimSpace(number[cut:])
	for _, u := range units {
		if !strings.EqualFold(name, u.name) {
			continue
		}
		n, err := scale(number[:cut], u.bytes)
		switch {
		case len(number) == len(in)-1 && err == nil, errors.Is(err, ErrOutOfRange):
			return fmt.Errorf("%s is %w", clip(in), ErrOutOfRange)
		case len(number) != len(in) || err != nil:
			return sizeError(in)
		}
		*s = Size(n)
		return nil
	}
	return sizeError(in)
}

// scale returns number times by, exactly but for a dropped fraction of one. The
// error is [ErrOutOfRange] if that is more than can be, and another one if number
// is none.
func scale(number string, by int64) (int64, error) {
	whole, fraction, dotted := strings.Cut(number, ".")
	if dotted && (fraction == "" || len(fraction) > 6) || strings.Contains(fraction, ".") {
		return 0, strconv.ErrSyntax
	}
	n, err := strconv.ParseInt(whole, 10, 64)
	if errors.Is(err, strconv.ErrRange) || err == nil && n > math.MaxInt64/by-1 {
		return 0, ErrOutOfRange
	}
	if err != nil {
		return 0, err
	}
	total := n * by
	if fraction != "" {
		f, err := strconv.ParseUint(fraction, 10, 32)
		if err != nil {
			return 0, err
		}
		divisor := int64(1)
		for range fraction {
			divisor *= 10
		}
		// by is at most 2^40 and f below 10^6, so the product fits.
		total += int64(f) * by / divisor
	}
	return total, nil
}

func sizeError(in string) error {
	return fmt.Errorf("%q is not a size: give a number and a unit such as 64KiB, 512MiB, 10MB or 2GiB", clip(in))
}

// clip bounds what an error repeats of its input.
func clip(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}
