package cli_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// seat is a terminal of 100 columns and 20 lines with a command on it.
type seat struct {
	keyboard *os.File
	cmd      *exec.Cmd
	read     chan struct{}

	mu     sync.Mutex
	screen bytes.Buffer
}

// sit runs keelson on a terminal of its own.
func sit(t *testing.T, socket string, env []string, args ...string) *seat {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("this machine gives no pseudo-terminals: %v", err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: 100, Row: 20}); err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("this machine gives no pseudo-terminals: %v", err)
	}
	defer slave.Close()
	keepOutput(t, slave)

	path, err := exec.LookPath("keelson")
	if err != nil {
		t.Fatal(err)
	}
	s := &seat{keyboard: master, read: make(chan struct{})}
	s.cmd = exec.CommandContext(t.Context(), path, args...)
	s.cmd.Env = append(append(os.Environ(), "KEELSON_SOCKET="+socket, "TZ=UTC", "TERM=xterm", "NO_COLOR=", "GORACE="+noLinger), env...)
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = slave, slave, slave
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.read)
		buffer := make([]byte, 4096)
		for {
			n, err := master.Read(buffer)
			s.mu.Lock()
			s.screen.Write(buffer[:n])
			s.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { master.Close() })
	return s
}

// keepOutput has the kernel keep what the command writes when an interrupt is
// typed. Else it drops what stands in the terminal after it has sent the signal,
// and with it what a quick command has answered.
func keepOutput(t *testing.T, slave *os.File) {
	t.Helper()
	mode, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	mode.Lflag |= unix.NOFLSH
	if err := unix.IoctlSetTermios(int(slave.Fd()), unix.TCSETS, mode); err != nil {
		t.Fatal(err)
	}
}

func (s *seat) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.screen.String()
}

// shows waits until text stands on the screen.
func (s *seat) shows(t *testing.T, text string) {
	t.Helper()
	end := time.Now().Add(30 * time.Second)
	for !strings.Contains(s.text(), text) {
		if time.Now().After(end) {
			t.Fatalf("the screen does not show %q:\n%q", text, s.text())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (s *seat) types(t *testing.T, keys string) {
	t.Helper()
	if _, err := s.keyboard.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

// ends waits for the command's end and returns its exit status.
func (s *seat) ends(t *testing.T) int {
	t.Helper()
	err := s.cmd.Wait()
	<-s.read
	if err != nil && s.cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return s.cmd.ProcessState.ExitCode()
}

func openTown(t *testing.T) (*town, string) {
	t.Helper()
	town, socket := newTown(), filepath.Join(t.TempDir(), "api.sock")
	stop, err := town.open(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return town, socket
}

func TestATerminalIsAskedBeforeAnythingIsDestroyed(t *testing.T) {
	tests := []struct {
		name   string
		args   []string
		will   string
		answer string
		exit   int
		says   string
	}{
		{"no is no", []string{"delete", "shop"}, "shop is running on a. Deleting it stops it there", "n\r", 1, "nothing was changed"},
		{"nothing is no", []string{"delete", "shop"}, "delete shop? [y/N]", "\r", 1, "nothing was changed"},
		{"yes is yes", []string{"delete", "shop"}, "delete shop? [y/N]", "yes\r", 0, "shop is deleted"},
		{"a drain says what moves", []string{"drain", "a", "--no-wait"}, "each with a short outage: shop, slowmail.", "y\r", 0, "kept free"},
		{"a drain of a free node", []string{"drain", "b"}, "Nothing runs on b now", "y\r", 0, "b is free of services"},
		{"a removal of a lost node warns", []string{"node", "remove", "c", "--force"}, "could run twice", "n\r", 1, "nothing was changed"},
		{"a leave says who remains", []string{"leave"}, "This is node a of cell main.", "n\r", 1, "nothing was changed"},
		{"what is not there is not asked about", []string{"delete", "nope"}, "no service", "", 1, "hint"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, socket := openTown(t)
			s := sit(t, socket, nil, tt.args...)
			s.shows(t, tt.will)
			s.types(t, tt.answer)
			if got := s.ends(t); got != tt.exit || !strings.Contains(s.text(), tt.says) {
				t.Errorf("exit status %d, want %d:\n%s", got, tt.exit, s.text())
			}
		})
	}
}

func TestAQuestionCanBeInterrupted(t *testing.T) {
	_, socket := openTown(t)
	s := sit(t, socket, nil, "delete", "shop")
	s.shows(t, "[y/N]")
	s.types(t, "\x03")
	if got := s.ends(t); got != 1 || !strings.Contains(s.text(), "interrupted; nothing was changed") {
		t.Errorf("exit status %d:\n%s", got, s.text())
	}
}

func TestColoursAreForTerminalsThatWantThem(t *testing.T) {
	_, socket := openTown(t)
	s := sit(t, socket, nil, "status")
	if s.ends(t) != 0 || !strings.Contains(s.text(), "\x1b[32mrunning\x1b[0m") {
		t.Errorf("no colour:\n%q", s.text())
	}
	for _, env := range []string{"NO_COLOR=1", "TERM=dumb"} {
		s = sit(t, socket, []string{env}, "status")
		if s.ends(t) != 0 || strings.Contains(s.text(), "\x1b[3") {
			t.Errorf("colour in spite of %s:\n%q", env, s.text())
		}
	}
}

func TestAWatchTakesTheScreenAndGivesItBack(t *testing.T) {
	town, socket := openTown(t)
	s := sit(t, socket, nil, "status", "--watch")
	s.shows(t, "\x1b[?1049h")
	s.shows(t, "slowmail")
	town.mu.Lock()
	town.set("fresh", doc("fresh", 1))
	town.mu.Unlock()
	s.shows(t, "fresh")
	s.types(t, "\x03")
	if got := s.ends(t); got != 0 || !strings.HasSuffix(s.text(), "\x1b[?25h\x1b[?1049l") {
		t.Errorf("exit status %d:\n%q", got, s.text())
	}
}

func TestAWaitShowsHowFarItIs(t *testing.T) {
	town, socket := openTown(t)
	s := sit(t, socket, nil, "move", "slowmail", "b", "--timeout", "30s")
	done := make(chan struct{})
	go func() { // something moves in the cell, so that it tells its status
		defer close(done)
		for !strings.Contains(s.text(), "move slowmail: slowmail is recovering on a") {
			time.Sleep(200 * time.Millisecond)
			town.mu.Lock()
			town.bell()
			town.mu.Unlock()
		}
	}()
	<-done
	s.types(t, "\x03")
	if got := s.ends(t); got != 1 || !strings.Contains(s.text(), "move slowmail goes on in the cell") {
		t.Errorf("exit status %d:\n%q", got, s.text())
	}
}
