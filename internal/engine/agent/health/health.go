// Package health reads what a node says of its own health: a file that an
// operator, or a program that watches the hardware, writes.
//
// Its main rule is that no file means well, and that what cannot be read is told
// and means well too: a broken probe must not empty a node. It judges nothing.
package health

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/keelson/keelson/internal/base/atomicfile"
	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

// The scores of words: with Yellow services would rather be elsewhere, with Red they
// must be.
const (
	Yellow = -1000
	Red    = -spec.MaxScore
)

const (
	every   = time.Second // how often the file is read at most
	maxFile = 4 << 10     // bytes
	maxWhy  = 200         // bytes
)

// errWord means that the first word of the file is no state of health.
var errWord = errors.New("its first word is not green, yellow, red, or a score from -1000000 to 0")

// A File is the file of one node. It is safe for concurrent use.
type File struct {
	path  string
	clock clock.Clock

	mu   sync.Mutex
	read time.Duration // boot time of the last look; 0: none
	last record.Health
	said string
}

// New returns the file at path, which need not exist.
func New(path string, c clock.Clock) *File { return &File{path: path, clock: c} }

// Look returns what the file says, as it was at most a second ago, and a sentence
// for the operator if it cannot be read.
func (f *File) Look() (record.Health, string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := f.clock.Boot(); f.read == 0 || now-f.read >= every {
		f.read = now
		f.last, f.said = f.look()
	}
	return f.last, f.said
}

func (f *File) look() (record.Health, string) {
	text, err := atomicfile.Read(f.path, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return record.Health{}, ""
	}
	var h record.Health
	if err == nil {
		h, err = parse(string(text))
	}
	if err != nil {
		return record.Health{}, fmt.Sprintf("The health of this node cannot be read from %s, and counts as good: %v. Write `green`, or remove the file.", f.path, err)
	}
	return h, ""
}

// parse reads a word or a score, and the reason after it.
func parse(text string) (record.Health, error) {
	words := strings.Fields(text)
	if len(words) == 0 {
		return record.Health{}, errWord
	}
	var h record.Health
	switch words[0] {
	case "green":
		return h, nil
	case "yellow":
		h.Score = Yellow
	case "red":
		h.Score = Red
	default:
		n, err := strconv.Atoi(words[0])
		if err != nil || n > 0 || n < -spec.MaxScore {
			return h, errWord
		}
		h.Score = n
	}
	if h.Score < 0 {
		why := strings.Join(words[1:], " ")
		h.Why = strings.ToValidUTF8(why[:min(len(why), maxWhy)], "")
	}
	return h, nil
}
