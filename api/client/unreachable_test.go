package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/model/request"
)

func TestASocketThatCannotBeCalledIsSaidWithWhatToDoHere(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", unix.ECONNREFUSED)}
	tests := []struct {
		name       string
		socket     string
		err        error
		systemd    bool
		text, hint string
	}{
		{
			"none, where systemd runs", DefaultSocket, fs.ErrNotExist, true, "no keelson agent runs here: there is no " + DefaultSocket,
			"start it with `systemctl start keelson`, make a cell with `keelson init`, or call another server with --server",
		},
		{
			"none, where no systemd runs", DefaultSocket, fs.ErrNotExist, false, "no keelson agent runs here: there is no " + DefaultSocket,
			"start it with `keelson agent`, make a cell with `keelson init`, or call another server with --server",
		},
		{
			"none in a folder that systemd's service does not use", "/x/api.sock", fs.ErrNotExist, true, "no keelson agent runs here: there is no /x/api.sock",
			"start it with `keelson agent`, make a cell with `keelson init`, or call another server with --server",
		},
		{"an agent that ended", DefaultSocket, refused, false, "no keelson agent runs here: nothing listens at " + DefaultSocket, "start it with `keelson agent`"},
		{"a file", "/x", os.NewSyscallError("connect", unix.ENOTSOCK), false, "/x is no socket of a keelson agent", "give the one in the folder of the agent's --run with --socket"},
		{"somebody else's", "/x", fs.ErrPermission, false, "you may not open /x", "run this as root, for example with sudo"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if text, hint := local(tt.socket, tt.err, tt.systemd); text != tt.text || hint != tt.hint {
				t.Errorf("it says %q, %q", text, hint)
			}
		})
	}
}

func TestAServerThatCannotBeCalledIsSaidWithWhatToCheck(t *testing.T) {
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	tests := []struct {
		name       string
		err        error
		text, hint string
	}{
		{"a name that nobody has", dial(&net.DNSError{Err: "no such host", Name: "x", IsNotFound: true}), "no address is known for the name x", "how it is written"},
		{"a name server that is away", dial(&net.DNSError{Err: "timeout", Name: "x", IsTimeout: true}), "the name x could not be looked up", "IP address"},
		{"no listener", dial(unix.ECONNREFUSED), "nothing listens there", "its API's port, which is 7480"},
		{"no way", dial(unix.EHOSTUNREACH), "no way leads there (no route to host)", "ip route"},
		{"no answer", dial(os.ErrDeadlineExceeded), "nothing came back within 3s", "firewall"},
		{"no answer, as a call says it", &url.Error{Op: "Post", URL: "x", Err: fmt.Errorf("%w: %w", errNobody, errors.Join(dial(os.ErrDeadlineExceeded)))}, "nothing came back within 3s", "firewall"},
		{"an end", dial(unix.ECONNRESET), "it ended the connection", "its port"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if text, hint := remote("x:1", tt.err); !strings.HasPrefix(text, "x:1 ") || !strings.Contains(text, tt.text) || !strings.Contains(hint, tt.hint) {
				t.Errorf("it says %q, %q", text, hint)
			}
		})
	}
}

// listen gives each caller to serve, and returns the address.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serve(conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-ended })
	return l.Addr().String()
}

func TestWhatIsNoNodeIsNamedAndNeverSaidInGoWords(t *testing.T) {
	plain := httptest.NewServer(nil)
	t.Cleanup(plain.Close)
	old := httptest.NewUnstartedServer(nil)
	old.TLS = &tls.Config{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12}
	old.StartTLS()
	t.Cleanup(old.Close)
	other := httptest.NewTLSServer(nil)
	t.Cleanup(other.Close)
	tests := []struct{ name, at, text string }{
		{"a web server without TLS", plain.Listener.Addr().String(), "does not speak TLS as nodes do"},
		{"a server that speaks another version", old.Listener.Addr().String(), "does not speak TLS as nodes do"},
		{"a server with another certificate", other.Listener.Addr().String(), "is no node of this cell"},
		{"a server that ends what is begun", listen(t, func(net.Conn) {}), "ended the connection"},
		{"a server that talks first", listen(t, func(c net.Conn) { _, _ = c.Write([]byte("220 mail\r\n")); _, _ = c.Read(make([]byte, 9)) }), "does not speak TLS as nodes do"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := New(Options{Servers: []string{tt.at}, TLS: &tls.Config{MinVersion: tls.VersionTLS13}})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			for what, call := range map[string]func(context.Context) error{
				"status": func(ctx context.Context) error { _, err := c.Status(ctx); return err },
				"join":   func(ctx context.Context) error { _, err := c.Join(ctx, request.Join{}); return err },
			} {
				var said *Error
				if err := call(t.Context()); !errors.As(err, &said) || said.Kind != request.Unreachable ||
					!strings.HasPrefix(said.Text, tt.at+" ") || !strings.Contains(said.Text, tt.text) || said.Hint == "" {
					t.Errorf("%s: %+v", what, said)
				}
			}
		})
	}
}
