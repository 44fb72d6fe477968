package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/front/cli"
	"github.com/keelson/keelson/internal/front/cli/build"
	"github.com/keelson/keelson/internal/model/record"
)

// TestMain makes this binary the guard that an agent under test starts, and an
// agent that has a process of its own.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "guard" || os.Args[1] == "agent") {
		ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
		defer stop()
		os.Exit(cli.Execute(ctx, cli.Environment{
			Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
			Getenv: os.Getenv, Clock: clock.System{}, Actions: New("test").Actions(),
		}))
	}
	os.Exit(m.Run())
}

// patience bounds every wait of these tests. Only a broken node reaches it.
const patience = 60 * time.Second

// shifted is a clock that is off by a fixed time.
type shifted struct {
	clock.Clock
	by time.Duration
}

func (s shifted) Now() time.Time { return s.Clock.Now().Add(s.by) }

// host is a server under test: a loopback address and two folders of its own.
type host struct {
	t       *testing.T
	name    string
	address string
	folder  string
	app     *App
	log     *journal
	cell    record.Cell // as it was made; only of its first host
}

// journal is what an agent has logged.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func newHost(t *testing.T, name string) *host {
	t.Helper()
	// The path of a socket has at most 107 characters.
	folder, err := os.MkdirTemp("", "keelson-app-")
	must(t, err)
	h := &host{t: t, name: name, folder: folder, log: &journal{}}
	h.address = fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(250), rand.IntN(256), 1+rand.IntN(250))
	h.app = &App{version: "test", clock: clock.System{}, stderr: h.log, present: present}
	t.Cleanup(func() {
		h.endGuard()
		must(t, os.RemoveAll(folder))
		if t.Failed() {
			t.Logf("%s logged:\n%s", name, h.log)
		}
	})
	return h
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (h *host) data(parts ...string) string {
	return filepath.Join(append([]string{h.folder, "data"}, parts...)...)
}

func (h *host) folders() folders { return folders{data: h.data(), run: filepath.Join(h.folder, "run")} }

// keelson runs one command as a person would and returns all that it printed.
func (h *host) keelson(args ...string) (status int, printed string) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	return h.keelsonUntil(ctx, args...)
}

func (h *host) keelsonUntil(ctx context.Context, args ...string) (status int, printed string) {
	var out bytes.Buffer
	status = cli.Execute(ctx, cli.Environment{
		Args: args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out,
		Getenv: func(key string) string {
			if key == "KEELSON_SOCKET" {
				return h.folders().api()
			}
			return ""
		},
		Clock: h.app.clock, Build: build.Of("test", nil), Actions: h.app.Actions(),
	})
	return status, out.String()
}

// where are the flags that give this host its place.
func (h *host) where(more ...string) []string {
	f := h.folders()
	return append([]string{"--data", f.data, "--run", f.run}, more...)
}

// new are the flags of a new node.
func (h *host) new(more ...string) []string {
	return h.where(append([]string{"--name", h.name, "--address", h.address, "--no-start"}, more...)...)
}

func (h *host) init(more ...string) (int, string) {
	h.t.Helper()
	return h.keelson(append([]string{"init"}, h.new(more...)...)...)
}

func (h *host) join(by *host, token string, more ...string) (int, string) {
	h.t.Helper()
	return h.keelson(append([]string{"join", by.address, "--token", token}, h.new(more...)...)...)
}

// done fails the test unless a command said that it is done.
func done(t *testing.T, status int, printed string) {
	t.Helper()
	if status != 0 {
		t.Fatalf("ended with %d:\n%s", status, printed)
	}
}

// says fails the test unless a command ended with status and said each of
// words, in a sentence for people and with a hint.
func says(t *testing.T, status int, printed string, want int, words ...string) {
	t.Helper()
	t.Logf("[%d] %s", status, strings.TrimSpace(printed))
	if status != want {
		t.Errorf("ended with %d, want %d", status, want)
	}
	for _, w := range words {
		if !strings.Contains(printed, w) {
			t.Errorf("it does not say %q", w)
		}
	}
	if !strings.Contains(printed, "\nhint: ") {
		t.Error("there is no hint")
	}
	for _, noise := range []string{"goroutine ", "panic", "rpc error", "%!", "syscall", "bind:", ".go:"} {
		if strings.Contains(printed, noise) {
			t.Errorf("it shows %q", noise)
		}
	}
}

// running is an agent that was started.
type running struct {
	h     *host
	stop  func()
	ended chan struct{}

	status  int
	printed string
}

func (h *host) agent(more ...string) *running {
	h.t.Helper()
	ctx, stop := context.WithCancel(h.t.Context())
	a := &running{h: h, stop: stop, ended: make(chan struct{})}
	go func() {
		defer close(a.ended)
		a.status, a.printed = h.keelsonUntil(ctx, append([]string{"agent"}, h.where(more...)...)...)
	}()
	h.t.Cleanup(a.end)
	return a
}

// process starts an agent in a process of its own.
func (h *host) process() *running {
	h.t.Helper()
	self, err := os.Executable()
	must(h.t, err)
	ctx, stop := context.WithCancel(h.t.Context())
	cmd := exec.CommandContext(ctx, self, append([]string{"agent"}, h.where()...)...)
	// Not a pipe: the guard would keep it open.
	log, err := os.Create(h.folder + "/log")
	must(h.t, err)
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = patience
	must(h.t, cmd.Start())
	a := &running{h: h, stop: stop, ended: make(chan struct{})}
	go func() {
		defer close(a.ended)
		_ = cmd.Wait() // its status says it
		a.status = cmd.ProcessState.ExitCode()
	}()
	h.t.Cleanup(a.end)
	return a
}

// output is what an agent in a process of its own has printed.
func (h *host) output() string {
	text, err := os.ReadFile(h.folder + "/log")
	must(h.t, err)
	return string(text)
}

func (a *running) end() {
	a.stop()
	<-a.ended
}

// fails waits until the agent has given up and returns what it said.
func (a *running) fails() (int, string) {
	a.h.t.Helper()
	select {
	case <-a.ended:
	case <-time.After(patience):
		a.h.t.Fatal("the agent did not end")
	}
	return a.status, a.printed
}

// until waits until cond holds.
func (h *host) until(what string, cond func() bool) {
	h.t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatalf("%s: waited %s: %s", h.name, patience, what)
		}
	}
}

// status is what `keelson status` says, as far as these tests care.
type status struct {
	Stale   bool `json:"stale"`
	Quorate bool `json:"quorate"`
	Nodes   []struct {
		Name  string `json:"name"`
		Voter bool   `json:"voter"`
	} `json:"nodes"`
	Problems []string `json:"problems"`
}

func (h *host) status() (s status, ok bool) {
	code, printed := h.keelson("status", "-o", "json")
	return s, code == 0 && json.Unmarshal([]byte(printed), &s) == nil
}

// ready waits until the node answers and the cell's store takes changes.
func (h *host) ready() {
	h.t.Helper()
	h.until("ready", func() bool {
		if s, ok := h.status(); !ok || s.Stale || !s.Quorate {
			return false
		}
		// A command goes on trying while the store begins to answer: one alone must
		// not use up the patience.
		ctx, cancel := context.WithTimeout(h.t.Context(), patience/6)
		defer cancel()
		code, _ := h.keelsonUntil(ctx, "token", "create", "--valid", "1s")
		return code == 0
	})
}

func (h *host) token() string {
	h.t.Helper()
	status, printed := h.keelson("token", "create", "-o", "json")
	done(h.t, status, printed)
	var made struct {
		Token string `json:"token"`
	}
	must(h.t, json.Unmarshal([]byte(printed), &made))
	return made.Token
}

// endGuard ends the guard that an agent of this host has started.
func (h *host) endGuard() {
	conn, err := net.Dial("unix", h.folders().guard())
	if err != nil {
		return
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	must(h.t, err)
	must(h.t, raw.Control(func(fd uintptr) {
		peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err == nil && int(peer.Pid) != os.Getpid() {
			err = syscall.Kill(int(peer.Pid), syscall.SIGTERM)
		}
		if err != nil {
			h.t.Log(err)
		}
	}))
	h.until("the guard ends", func() bool {
		c, err := net.Dial("unix", h.folders().guard())
		if err == nil {
			c.Close()
		}
		return err != nil
	})
}

// content is every file under a folder, by name.
func content(t *testing.T, folder string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		all[strings.TrimPrefix(path, folder)] = string(data)
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return all
}
