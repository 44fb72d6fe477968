package demo

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/keelson/keelson/internal/front/cli/screen"
	"github.com/keelson/keelson/internal/model/request"
)

const (
	keptLog   = 256 << 10 // bytes of a node's log that are kept
	shownLog  = 20        // lines of it that are shown
	shownAll  = 45        // lines of all logs that are shown after a failure
	shownLine = 200       // characters of such a line
)

// logbook keeps the ends of the agents' logs in memory, so that nothing is left
// of them if the demo is killed. It is safe for concurrent use.
type logbook struct {
	mu    sync.Mutex
	pages map[string]*page
}

func newLogbook() *logbook { return &logbook{pages: map[string]*page{}} }

// of returns where the log of a node goes.
func (l *logbook) of(node string) io.Writer {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pages[node] == nil {
		l.pages[node] = &page{}
	}
	return l.pages[node]
}

// page is the end of one node's log.
type page struct {
	mu   sync.Mutex
	text []byte
}

// Write appends to the page and never fails.
func (p *page) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text = append(p.text, b...)
	if over := len(p.text) - keptLog; over > keptLog { // seldom, since it copies
		p.text = slices.Clone(p.text[over:])
	}
	return len(b), nil
}

func (p *page) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(p.text[max(0, len(p.text)-keptLog):])
}

// save writes the logs of the nodes that have one into a new directory.
func (l *logbook) save(nodes []string) (dir string, err error) {
	dir, err = os.MkdirTemp("", "keelson-demo-logs-")
	if err != nil {
		return "", fmt.Errorf("keep the logs: %w", err)
	}
	for _, n := range nodes {
		if text := fmt.Sprint(l.of(n)); text != "" {
			err = errors.Join(err, os.WriteFile(filepath.Join(dir, n+".log"), []byte(text), 0o600))
		}
	}
	return dir, err
}

// lastLines returns the end of a text.
func lastLines(text string, n int) []string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return lines[max(0, len(lines)-n):]
}

// keepLogs shows the ends of the agents' logs and keeps the logs, and returns
// an error that says where.
func (s *show) keepLogs(cause error) error {
	shown := false
	for _, n := range s.nodes {
		text := fmt.Sprint(s.logs.of(n))
		if text == "" {
			continue
		}
		shown = true
		_, _ = fmt.Fprintf(s.Err, "\nthe end of the log of %s:\n", n) // who does not read misses nothing else
		for _, line := range lastLines(text, shownAll/len(s.nodes)) {
			_, _ = fmt.Fprintf(s.Err, "  %s\n", screen.Cut(screen.Clean(line), shownLine))
		}
	}
	failed := &request.Error{Kind: request.Refused, Code: "demo-failed", Text: cause.Error(), Err: cause}
	if !shown {
		return failed
	}
	_, _ = fmt.Fprintln(s.Err)
	dir, err := s.logs.save(s.nodes)
	if err != nil {
		return errors.Join(failed, err)
	}
	failed.Hint = "the logs of the hosts are in " + dir
	return failed
}
