package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/model/request"
)

// elsewhere is what to look at when something answers that is no node.
const elsewhere = "check the address and its port: a node answers at its API's port, which is 7480 unless it was given another"

// unreachable says why nobody has seen a call, and what to look at.
func (c *Client) unreachable(err error) error {
	out := &Error{Kind: request.Unreachable, Code: "unreachable", Err: err}
	if c.socket {
		out.Text, out.Hint = local(c.target, err, systemd())
	} else {
		out.Text, out.Hint = remote(c.target, err)
	}
	return out
}

// local explains a socket of this host.
func local(socket string, err error, systemd bool) (text, hint string) {
	start := "`keelson agent`"
	if systemd && socket == DefaultSocket {
		start = "`systemctl start keelson`"
	}
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Sprintf("you may not open %s", socket), "run this as root, for example with sudo"
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("no keelson agent runs here: there is no %s", socket),
			"start it with " + start + ", make a cell with `keelson init`, or call another server with --server"
	case errors.Is(err, unix.ECONNREFUSED):
		return fmt.Sprintf("no keelson agent runs here: nothing listens at %s", socket), "start it with " + start
	case errors.Is(err, unix.ENOTSOCK), errors.Is(err, unix.ENOTDIR):
		return fmt.Sprintf("%s is no socket of a keelson agent", socket), "give the one in the folder of the agent's --run with --socket"
	}
	return fmt.Sprintf("%s does not answer: %s", socket, reason(err)), "see what the agent writes; if it does not run, start it with " + start
}

// remote explains a host and port.
func remote(target string, err error) (text, hint string) {
	var name *net.DNSError
	switch {
	case errors.As(err, &name) && name.IsNotFound:
		return fmt.Sprintf("%s cannot be called: no address is known for the name %s", target, name.Name), "check how it is written, or give the node's IP address"
	case errors.As(err, &name):
		return fmt.Sprintf("%s cannot be called: the name %s could not be looked up", target, name.Name), "try again, or give the node's IP address"
	case errors.Is(err, unix.ECONNREFUSED):
		return target + " does not answer: nothing listens there (connection refused)", elsewhere + "; check that the keelson agent runs there"
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH):
		return fmt.Sprintf("%s does not answer: no way leads there (%s)", target, reason(err)), "check the address, and this host's network (`ip route`)"
	case late(err):
		return fmt.Sprintf("%s does not answer: nothing came back within %s", target, DialTimeout),
			"check the address, that the host is up and the keelson agent runs there, and that no firewall keeps its port shut"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		return target + " does not answer: it ended the connection", elsewhere + "; if that is right, the keelson agent there stops or starts: try again"
	}
	return fmt.Sprintf("%s does not answer: %s", target, reason(err)), "check the address, and that the keelson agent runs there"
}

// late reports whether the time for an answer was up. A [url.Error] says so of its
// own cause only, and hides what lies below.
func late(err error) bool {
	var slow net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &slow) && slow.Timeout()
}

// systemd reports whether systemd runs this host.
func systemd() bool {
	_, err := os.Stat("/run/systemd/system")
	return err == nil
}
