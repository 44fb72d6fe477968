package guardclient

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/model/guardwire"
)

// bubble is a clock whose boot time is the bubble's.
type bubble struct{ clock.System }

func (bubble) Boot() time.Duration { return time.Duration(time.Now().UnixNano()) }

// farEnd is a guard made by hand: each connection is handed to the test.
type farEnd struct {
	mu      sync.Mutex
	gone    bool
	conns   chan net.Conn
	starts  []time.Duration
	onStart func() error
}

func newFarEnd() *farEnd { return &farEnd{conns: make(chan net.Conn, 1)} }

func (f *farEnd) dial(context.Context) (net.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gone {
		return nil, errors.New("connection refused")
	}
	near, far := net.Pipe()
	f.conns <- far
	return near, nil
}

func (f *farEnd) setGone(gone bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gone = gone
}

func (f *farEnd) start(context.Context) error {
	f.mu.Lock()
	f.starts = append(f.starts, bubble{}.Boot())
	f.mu.Unlock()
	if f.onStart != nil {
		return f.onStart()
	}
	return errors.New("no such program")
}

func run(t *testing.T, f *farEnd) *Client { return runWith(t, f, func(*Options) {}) }

func runWith(t *testing.T, f *farEnd, change func(*Options)) *Client {
	t.Helper()
	o := Options{Clock: bubble{}, Log: slog.New(slog.DiscardHandler), Dial: f.dial, Start: f.start}
	change(&o)
	c := New(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run ended with %v", err)
		}
	})
	return c
}

func state(guard uint64) guardwire.Message {
	return guardwire.Message{State: &guardwire.State{Protocol: guardwire.Version, Guard: guard}}
}

func send(t *testing.T, conn net.Conn, m guardwire.Message) {
	t.Helper()
	if err := guardwire.WriteFrame(conn, m); err != nil {
		t.Fatal(err)
	}
}

// next returns the next message that is not a beat.
func next(t *testing.T, conn net.Conn) guardwire.Message {
	t.Helper()
	for {
		m, err := guardwire.ReadFrame(conn)
		if err != nil {
			t.Fatal(err)
		}
		if m.Beat == nil {
			return m
		}
	}
}

func expect(t *testing.T, conn net.Conn, want guardwire.Message) {
	t.Helper()
	if diff := cmp.Diff(want, next(t, conn)); diff != "" {
		t.Fatalf("wrong message (-want +got):\n%s", diff)
	}
}

func TestGuardOfAnotherVersionIsAskedToBecomeThatOfTheAgent(t *testing.T) {
	tests := []struct {
		name, build string
		asked       bool
	}{
		{"of the same version", "v2", false},
		{"of another version", "v1", true},
		{"of a kind that cannot be asked", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFarEnd()
				want := guardwire.Upgrade{Path: "/usr/bin/keelson", Args: []string{"guard"}, Build: "v2"}
				runWith(t, f, func(o *Options) {
					o.Build = "v2"
					o.Upgrade = func() (guardwire.Upgrade, error) { return want, nil }
				})
				conn := <-f.conns
				defer conn.Close()
				asked := make(chan guardwire.Upgrade, 100)
				go func() {
					for {
						m, err := guardwire.ReadFrame(conn)
						if err != nil {
							return
						}
						if m.Upgrade != nil {
							asked <- *m.Upgrade
						}
					}
				}()
				says := func(d time.Duration) {
					for ; d > 0; d -= time.Second {
						send(t, conn, guardwire.Message{State: &guardwire.State{Protocol: guardwire.Version, Guard: 1, Build: tt.build}})
						time.Sleep(time.Second)
					}
				}
				says(time.Minute)
				if got := len(asked); got != 1 && tt.asked || got > 0 && !tt.asked {
					t.Errorf("it was asked %d times in a minute", got)
				}
				says(upgradeAgain)
				if got := len(asked); got != 2 && tt.asked || got > 0 && !tt.asked {
					t.Errorf("it was asked %d times", got)
				}
				if tt.asked {
					if diff := cmp.Diff(want, <-asked); diff != "" {
						t.Error(diff)
					}
				}
			})
		})
	}
}

func TestGuardThatBecomesAnotherProgramIsNotTakenForLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarEnd()
		c := run(t, f)
		duty := guardwire.Duty{Node: "a"}
		conn := <-f.conns
		send(t, conn, state(1))
		c.SetDuty(1, duty)
		expect(t, conn, guardwire.Message{Duty: &duty})
		// Its connections end with the old program; the socket goes on.
		conn.Close()
		conn = <-f.conns
		time.Sleep(100 * time.Millisecond)
		if v := c.Latest(); !v.Up || v.Gone {
			t.Errorf("while it changes over: %+v", v)
		}
		send(t, conn, state(1))
		expect(t, conn, guardwire.Message{Duty: &duty}) // said again
		if v := c.Latest(); !v.Up {
			t.Errorf("afterwards: %+v", v)
		}
		// One that is not heard again is lost, although something listens.
		conn.Close()
		conn = <-f.conns
		defer conn.Close()
		time.Sleep(2 * changeover)
		if c.Latest().Up {
			t.Error("a guard that does not speak counts as up")
		}
	})
}

func TestGuardThatEndsEachConnectionIsNotAskedWithoutAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarEnd()
		run(t, f)
		began, n := time.Now(), 0
		for ; time.Since(began) < 10*time.Second; n++ {
			conn := <-f.conns
			send(t, conn, state(1))
			conn.Close()
		}
		if n > 30 {
			t.Errorf("%d connections in 10 s", n)
		}
	})
}

func TestDutyGoesOnlyToTheGuardItWasMadeFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarEnd()
		c := run(t, f)
		duty := guardwire.Duty{Cell: "c", Lease: guardwire.Lease{Floor: 1000}}

		first := <-f.conns
		c.SetDuty(7, duty)
		send(t, first, state(7))
		expect(t, first, guardwire.Message{Duty: &duty})
		first.Close()

		// The same guard on a new connection is told its duty again.
		second := <-f.conns
		send(t, second, state(7))
		expect(t, second, guardwire.Message{Duty: &duty})
		second.Close()

		// Another guard is not: it must not take the floor of the one before.
		third := <-f.conns
		send(t, third, state(8))
		third.SetReadDeadline(time.Now().Add(5 * guardwire.BeatEvery / 2))
		beats := 0
		for {
			m, err := guardwire.ReadFrame(third)
			if err != nil {
				break
			}
			if m.Beat == nil {
				t.Fatalf("got %+v, want only beats", m)
			}
			beats++
		}
		if beats != 2 {
			t.Errorf("%d beats in 2.5 times BeatEvery, want 2", beats)
		}
		third.SetReadDeadline(time.Time{})
		other := guardwire.Duty{Cell: "c", Lease: guardwire.Lease{Floor: 2000}}
		c.SetDuty(8, other)
		expect(t, third, guardwire.Message{Duty: &other})
	})
}

func TestDutyIsSentBeforeTheReleaseThatFollowsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarEnd()
		c := run(t, f)
		conn := <-f.conns
		c.Release("early", 1) // nobody to hear it: lost
		send(t, conn, state(7))
		synctest.Wait()

		duty := guardwire.Duty{Cell: "c"}
		c.SetDuty(7, duty)
		c.Release("shop", 3)
		expect(t, conn, guardwire.Message{Duty: &duty})
		expect(t, conn, guardwire.Message{Release: &guardwire.Release{Service: "shop", Epoch: 3}})
		c.Quit()
		expect(t, conn, guardwire.Message{Quit: &guardwire.Quit{}})
	})
}

func TestViewFollowsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarEnd()
		f.gone = true
		c := run(t, f)
		synctest.Wait()
		if diff := cmp.Diff(View{Gone: true}, c.Latest()); diff != "" {
			t.Errorf("nobody listens (-want +got):\n%s", diff)
		}

		f.setGone(false)
		conn := <-f.conns
		go func() { // a guard reads
			for {
				if _, err := guardwire.ReadFrame(conn); err != nil {
					return
				}
			}
		}()
		changed := c.Changed()
		send(t, conn, state(7))
		<-changed
		want := View{State: *state(7).State, Heard: true, Up: true}
		if diff := cmp.Diff(want, c.Latest()); diff != "" {
			t.Errorf("connected (-want +got):\n%s", diff)
		}

		// A guard that falls silent is away, and what it said stays known.
		f.setGone(true)
		time.Sleep(guardSilence + redialMost + time.Second)
		synctest.Wait()
		want.Up, want.Gone = false, true
		if diff := cmp.Diff(want, c.Latest()); diff != "" {
			t.Errorf("silent (-want +got):\n%s", diff)
		}
	})
}

func TestHappeningsAreDeliveredAndUnknownMessagesSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarEnd()
		c := run(t, f)
		conn := <-f.conns
		send(t, conn, state(7))
		if _, err := conn.Write([]byte("\x00\x00\x00\x0b{\"poem\":{}}")); err != nil {
			t.Fatal(err)
		}
		want := guardwire.Happened{Kind: "lease-won", At: 5, Service: "shop"}
		send(t, conn, guardwire.Message{Happened: &want})
		if diff := cmp.Diff(want, <-c.Happened()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestGuardOfAnotherVersionIsNotServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarEnd()
		c := run(t, f)
		for _, s := range []guardwire.State{
			{Protocol: guardwire.Version - 1, Guard: 7},
			{Protocol: guardwire.Version + 2, Guard: 7},
			{Protocol: guardwire.Version},
		} {
			conn := <-f.conns
			send(t, conn, guardwire.Message{State: &s})
			if _, err := guardwire.ReadFrame(conn); err == nil {
				t.Errorf("state %+v: the connection goes on", s)
			}
			if c.Latest().Heard {
				t.Errorf("state %+v was taken", s)
			}
		}
		conn := <-f.conns
		send(t, conn, guardwire.Message{State: &guardwire.State{Protocol: guardwire.Version + 1, Guard: 7}})
		synctest.Wait()
		if !c.Latest().Up {
			t.Error("a guard that is one version ahead was not taken")
		}
	})
}

func TestGuardIsStartedWithGrowingPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarEnd()
		f.gone = true
		run(t, f)
		time.Sleep(5 * time.Minute)
		f.mu.Lock()
		starts := f.starts
		f.mu.Unlock()
		if n := len(starts); n < 10 || n > 25 {
			t.Fatalf("%d starts in 5 minutes, want 10 to 25", n)
		}
		for i := 7; i < len(starts); i++ {
			if pause := starts[i] - starts[i-1]; pause < restartMost*7/10 || pause > restartMost+redialMost {
				t.Errorf("pause %d is %v, want about %v", i, pause, restartMost)
			}
		}
	})
}

func TestNoGuardIsStartedAfterQuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarEnd()
		c := run(t, f)
		conn := <-f.conns
		send(t, conn, state(1))
		synctest.Wait()
		c.Quit()
		expect(t, conn, guardwire.Message{Quit: &guardwire.Quit{}})
		f.setGone(true)
		_ = conn.Close()
		time.Sleep(5 * time.Minute)
		if len(f.starts) != 0 {
			t.Errorf("%d guards were started after the agent had ended its guard", len(f.starts))
		}
	})
}

func TestGuardThatWasStartedIsConnectedToAsSoonAsItListens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarEnd()
		f.gone = true
		f.onStart = func() error {
			time.AfterFunc(300*time.Millisecond, func() { f.setGone(false) })
			return nil
		}
		began := time.Now()
		run(t, f)
		<-f.conns
		if took := time.Since(began); took > 400*time.Millisecond {
			t.Errorf("connected after %v, want 300 ms and a little", took)
		}
		if len(f.starts) != 1 {
			t.Errorf("%d starts, want 1", len(f.starts))
		}
	})
}

func TestOldestHappeningIsDroppedIfNobodyTakesThem(t *testing.T) {
	c := New(Options{Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)})
	for i := range happenedRoom + 5 {
		c.keep(guardwire.Happened{Epoch: uint64(i)})
	}
	if h := <-c.Happened(); h.Epoch != 5 {
		t.Errorf("first is %d, want 5", h.Epoch)
	}
}

func TestRealSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "guard.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := New(Options{Socket: path, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); c.Run(ctx) }()
	defer func() { cancel(); <-done }()

	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	duty := guardwire.Duty{Cell: "c"}
	c.SetDuty(7, duty)
	send(t, conn, state(7))
	expect(t, conn, guardwire.Message{Duty: &duty})
}

func TestNoBeatOfAnAgentThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarEnd()
		c := run(t, f)
		conn := <-f.conns
		// beats counts them while the guard goes on speaking.
		beats := func(seconds int) int {
			n := 0
			for range seconds {
				send(t, conn, state(7))
				// No beat begins at the deadline, so that none is cut in two.
				conn.SetReadDeadline(time.Now().Add(930 * time.Millisecond))
				for {
					m, err := guardwire.ReadFrame(conn)
					if err != nil {
						break
					}
					if m.Beat != nil {
						n++
					}
				}
				conn.SetReadDeadline(time.Time{})
				time.Sleep(70 * time.Millisecond)
			}
			return n
		}
		if n := beats(2); n < 3 {
			t.Errorf("%d beats in 2s of an agent that works", n)
		}
		beats(4) // the agent does not look
		if n := beats(2); n != 0 {
			t.Errorf("%d beats of an agent that has not looked for %s", n, hangLimit)
		}
		c.Happened()
		if n := beats(2); n < 3 {
			t.Errorf("%d beats in 2s of an agent that works again", n)
		}
	})
}

// belated is a connection whose deadline has passed by the time that what came in
// is read.
type belated struct {
	net.Conn
	passed bool
}

func (b *belated) Read(p []byte) (int, error) {
	if b.passed {
		return copy(p, "word"), nil
	}
	return 0, os.ErrDeadlineExceeded
}

func (b *belated) SetReadDeadline(time.Time) error {
	b.passed = true
	return nil
}

func TestWhatCameInBeforeADeadlineThatWasMissedIsRead(t *testing.T) {
	var got [4]byte
	n, err := newListener(&belated{}, clock.System{}).Read(got[:])
	if err != nil || string(got[:n]) != "word" {
		t.Errorf("read %q, %v", got[:n], err)
	}
}

// A reader that gets no processor is one that nobody lets run here.
func TestWhatNobodyHasTakenInLiesUnread(t *testing.T) {
	path := filepath.Join(t.TempDir(), "guard.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	r := newListener(near, clock.System{})
	ask := func(when string, want bool) {
		t.Helper()
		if got := r.unread(); got != want {
			t.Errorf("%s: unread %v", when, got)
		}
	}
	// read reads until nothing is left, as far as the deadline is concerned.
	read := func(n int) int {
		t.Helper()
		r.SetReadDeadline(time.Now().Add(-time.Second))
		n, err := r.Read(make([]byte, n))
		if n == 0 && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("read: %v", err)
		}
		return n
	}
	ask("before the first word", false)
	far.Write([]byte("word"))
	ask("the word waits", true)
	if n := read(2); n != 2 {
		t.Fatalf("%d bytes after a deadline that was missed", n)
	}
	ask("half of it waits", true)
	read(2)
	ask("all is read, and not taken in", true)
	read(2)
	ask("nothing more came, but the frame is not whole", true)
	r.done()
	ask("it was taken in, and nobody looked for more", true)
	read(2)
	ask("nothing more came", false)
	far.Close()
	ask("the end was not seen", true)
	near.Close()
	ask("this end is closed", false)
}
