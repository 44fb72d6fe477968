package lab_test

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keelson/keelson/internal/lab"
)

func TestMain(m *testing.M) {
	lab.MaybeRunInner()
	if os.Getenv(toolVariable) != "" {
		runTool(os.Args[1:])
		return
	}
	os.Exit(m.Run())
}

// patience is how long a test waits for what takes milliseconds on a quiet
// machine.
const patience = 20 * time.Second

// raise makes a lab, or skips the test where that is forbidden.
func raise(t *testing.T, o lab.Options) *lab.Lab {
	t.Helper()
	start := time.Now()
	l, err := lab.New(t.Context(), o)
	if errors.Is(err, lab.ErrForbidden) {
		t.Skipf("this needs a machine on which a lab can be made: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	up := time.Since(start)
	t.Cleanup(func() {
		start := time.Now()
		if err := l.Close(); err != nil {
			t.Errorf("close the lab: %v", err)
		}
		t.Logf("%d hosts up in %s, down in %s", len(o.Hosts),
			up.Round(time.Millisecond), time.Since(start).Round(time.Millisecond))
	})
	return l
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// sh runs a shell line in the host and returns its trimmed output.
func sh(t *testing.T, h *lab.Host, line string) string {
	t.Helper()
	out, code, err := h.Run(within(t), "sh", "-c", line)
	if err != nil || code != 0 {
		t.Fatalf("%s on %s: status %d, %v\n%s", line, h.Name(), code, err, out)
	}
	return strings.TrimSpace(string(out))
}

// tool runs one of the tools of tool_test.go in the host.
func tool(t *testing.T, h *lab.Host, args ...string) string {
	t.Helper()
	r, err := h.Exec(within(t), toolCommand(args...))
	if err != nil || r.Exit.Code != 0 {
		t.Fatalf("%v on %s: status %d, %v\n%s", args, h.Name(), r.Exit.Code, err, r.Stderr)
	}
	return strings.TrimSpace(string(r.Stdout))
}

func toolCommand(args ...string) lab.Command {
	return lab.Command{Args: append([]string{lab.SelfPath}, args...), Env: []string{toolVariable + "=1", "GORACE=atexit_sleep_ms=0"}}
}

// pings returns how many of n pings from h to an address were answered.
func pings(t *testing.T, h *lab.Host, to string, n int) int {
	t.Helper()
	got, err := strconv.Atoi(tool(t, h, "ping", to, strconv.Itoa(n)))
	must(t, err)
	return got
}

// reaches waits until a ping from a to b is answered.
func reaches(t *testing.T, a, b *lab.Host) {
	t.Helper()
	for range 20 {
		if pings(t, a, b.Address(1), 1) == 1 {
			return
		}
	}
	t.Fatalf("%s does not reach %s", a.Name(), b.Name())
}

func unreachable(t *testing.T, a, b *lab.Host) {
	t.Helper()
	if got := pings(t, a, b.Address(1), 3); got != 0 {
		t.Fatalf("%s reaches %s: %d of 3 pings were answered", a.Name(), b.Name(), got)
	}
}

// await waits until so is true.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !so() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s in vain: %s", patience, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// lockedBuffer collects output of a process while the test looks at it.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lockedBuffer) len() int { return len(l.String()) }
