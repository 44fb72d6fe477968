package wire

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair returns two peers that serve each other until the test ends.
func pair(t *testing.T, left, right Handler) (a, b *Peer) {
	t.Helper()
	x, y, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	if a, err = NewPeer(x); err != nil {
		t.Fatal(err)
	}
	if b, err = NewPeer(y); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 2)
	go func() { ended <- a.Run(t.Context(), left) }()
	go func() { ended <- b.Run(t.Context(), right) }()
	t.Cleanup(func() {
		for _, err := range []error{a.Close(), b.Close(), <-ended, <-ended} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	return a, b
}

func TestACallCarriesABodyAndFilesBothWays(t *testing.T) {
	a, _ := pair(t, nil, func(_ context.Context, r Request) (Reply, error) {
		var text string
		if err := r.Decode(&text); err != nil {
			return Reply{}, err
		}
		if len(r.Files) != 1 {
			return Reply{}, fmt.Errorf("%d files came", len(r.Files))
		}
		_, err := r.Files[0].WriteString("written there")
		return Reply{Body: string(r.Verb) + " " + text, Files: r.Files}, err
	})
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var reply string
	files, err := a.Call(t.Context(), "verb", "text", &reply, f)
	if err != nil || reply != "verb text" || len(files) != 1 {
		t.Fatalf("%q, %v, %v", reply, files, err)
	}
	defer files[0].Close()
	got := make([]byte, 64)
	n, err := files[0].ReadAt(got, 0)
	if string(got[:n]) != "written there" {
		t.Errorf("the file that came back holds %q, %v", got[:n], err)
	}
	if flags, err := unix.FcntlInt(files[0].Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("the file would leak into other programs: %d, %v", flags, err)
	}
}

func TestErrorsKeepTheirIdentity(t *testing.T) {
	a, _ := pair(t, nil, func(_ context.Context, r Request) (Reply, error) {
		switch r.Verb {
		case "off":
			return Reply{}, fmt.Errorf("h1: %w", ErrOff)
		case "file":
			_, err := os.Open("/no/such/file")
			return Reply{}, err
		case "marked":
			return Reply{}, Mark(syscall.EPERM, ErrForbidden)
		default:
			return Reply{}, errors.New("unknown")
		}
	})
	for _, c := range []struct {
		verb Verb
		is   error
		text string
	}{
		{"off", ErrOff, "h1: the host is off"},
		{"file", fs.ErrNotExist, "open /no/such/file: no such file or directory"},
		{"marked", ErrForbidden, "operation not permitted"},
		{"marked", syscall.EPERM, "operation not permitted"},
	} {
		_, err := a.Call(t.Context(), c.verb, nil, nil)
		if !errors.Is(err, c.is) || err.Error() != c.text {
			t.Errorf("%s: %v", c.verb, err)
		}
	}
	_, err := a.Call(t.Context(), "other", nil, nil)
	for _, s := range sentinels() {
		if errors.Is(err, s) {
			t.Errorf("%v is %v", err, s)
		}
	}
}

func TestNotesComeInOrder(t *testing.T) {
	got := make(chan string, 200)
	a, _ := pair(t, nil, func(_ context.Context, r Request) (Reply, error) {
		got <- string(r.Body)
		return Reply{}, nil
	})
	for i := range 100 {
		if err := a.Note("n", i); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		if s := <-got; s != fmt.Sprint(i) {
			t.Fatalf("note %d is %s", i, s)
		}
	}
}

func TestAnEndThatIsGoneFailsAllCalls(t *testing.T) {
	began := make(chan bool)
	a, b := pair(t, nil, func(ctx context.Context, _ Request) (Reply, error) {
		began <- true
		<-ctx.Done()
		return Reply{}, ctx.Err()
	})
	failed := make(chan error, 1)
	go func() {
		_, err := a.Call(t.Context(), "x", nil, nil)
		failed <- err
	}()
	<-began
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !errors.Is(err, ErrClosed) {
		t.Errorf("a waiting call: %v", err)
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if _, err := a.Call(t.Context(), "x", nil, nil); !errors.Is(err, ErrClosed) {
			t.Fatalf("a later call: %v", err)
		} else if a.isClosed() {
			return
		}
	}
	t.Error("the end is not noticed")
}

func (p *Peer) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

func TestACallEndsWithItsContext(t *testing.T) {
	a, _ := pair(t, nil, func(ctx context.Context, _ Request) (Reply, error) {
		<-ctx.Done()
		return Reply{}, ctx.Err()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := a.Call(ctx, "x", nil, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.pending) != 0 {
		t.Errorf("%d calls are still waiting", len(a.pending))
	}
}

func TestWhatIsTooLargeIsRefusedHere(t *testing.T) {
	a, _ := pair(t, nil, func(context.Context, Request) (Reply, error) {
		return Reply{Body: strings.Repeat("x", MaxMessage)}, nil
	})
	if _, err := a.Call(t.Context(), "x", strings.Repeat("x", MaxMessage), nil); err == nil || errors.Is(err, ErrClosed) {
		t.Errorf("a large request: %v", err)
	}
	if _, err := a.Call(t.Context(), "x", nil, nil); err == nil || errors.Is(err, ErrClosed) {
		t.Errorf("a large answer: %v", err)
	}
}

func FuzzReceive(f *testing.F) {
	f.Add([]byte(`{"id":1,"verb":"x","body":{}}`))
	f.Add([]byte(`{"id":1,"error":{"text":"t","code":"off","errno":2}}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, packet []byte) {
		if len(packet) == 0 {
			t.Skip()
		}
		x, y, err := Pair()
		if err != nil {
			t.Fatal(err)
		}
		defer y.Close()
		p, err := NewPeer(x)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if _, err := y.Write(packet); err != nil {
			t.Skip()
		}
		if _, files, err := p.receive(); err == nil && len(files) != 0 {
			t.Error("files came from nowhere")
		}
	})
}
