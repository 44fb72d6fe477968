package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/app/sentence"
	"github.com/keelson/keelson/internal/base/atomicfile"
	"github.com/keelson/keelson/internal/engine/pki"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
)

// folders are where a node keeps its things.
type folders struct{ data, run string }

func (f folders) local() string     { return filepath.Join(f.data, "node.json") }
func (f folders) founding() string  { return filepath.Join(f.data, "founding.json") }
func (f folders) pki() string       { return filepath.Join(f.data, "pki") }
func (f folders) etcd() string      { return filepath.Join(f.data, "etcd") }
func (f folders) logs() string      { return filepath.Join(f.data, "logs") }
func (f folders) lastKnown() string { return filepath.Join(f.data, "last-known.json") }
func (f folders) starts() string    { return filepath.Join(f.data, "guard-incarnation") }
func (f folders) parts() string     { return filepath.Join(f.run, "parts") }
func (f folders) journal() string   { return filepath.Join(f.run, "journal") }
func (f folders) health() string    { return filepath.Join(f.run, "health") }
func (f folders) guard() string     { return filepath.Join(f.run, "guard.sock") }
func (f folders) api() string       { return filepath.Join(f.run, "api.sock") }

// erase deletes the state of a node that is no member any more, as much of it as
// can be: its keys, its store and those that were put aside, and at last its
// identity. The output of programs stays.
func (f folders) erase() error {
	gone := []string{f.pki(), f.etcd(), f.founding(), f.lastKnown(), f.lastKnown() + ".removed", f.starts(), f.agentLock()}
	aside, err := filepath.Glob(f.etcd() + ".removed-*")
	for _, path := range append(append(gone, aside...), f.local()) {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return err
}

// local is who this node is: the file node.json.
type local struct {
	Format    int               `json:"format"`
	Cell      string            `json:"cell"`
	CellID    string            `json:"cell_id"`
	Node      spec.NodeName     `json:"node"`
	NodeID    string            `json:"node_id"`
	Slot      uint8             `json:"slot"`
	Address   string            `json:"address"`
	Ports     record.Ports      `json:"ports"`
	Links     []string          `json:"links,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	Witness   bool              `json:"witness,omitempty"`
	Endpoints []string          `json:"endpoints"`        // of the store, as last known
	Config    string            `json:"config,omitempty"` // the agent's file given to init or join
}

// Limits of the local files.
const (
	localFormat = 1
	maxLocal    = 1 << 20
)

// readLocal returns who this node is. Its error tells the operator what to do.
func readLocal(f folders) (local, error) {
	var l local
	data, err := atomicfile.Read(f.local(), maxLocal)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return l, refused("not-a-member", "run `keelson init` for a new cell, or `keelson join` for an existing one; if this server is in a cell, give the folder of its state with --data",
			"this server is not a member of a cell: %s does not exist", f.local())
	case err != nil:
		return l, sentence.Disk(f.data, err)
	}
	l, err = parseLocal(data)
	if err != nil {
		return l, &request.Error{
			Kind: request.Refused, Code: "identity-damaged", Err: err,
			Text: f.local() + " cannot be read as the identity of a node; nothing was changed",
			Hint: pki.Afresh,
		}
	}
	return l, pki.NewFiles(f.pki()).Belongs(l.Node, l.CellID, f.local())
}

// errNoIdentity means that a file is not the identity of a node.
var errNoIdentity = errors.New("not the identity of a node")

// parseLocal reads the content of node.json.
func parseLocal(data []byte) (local, error) {
	var l local
	if err := json.Unmarshal(data, &l); err != nil {
		return local{}, fmt.Errorf("%w: %w", errNoIdentity, err)
	}
	if l.Format != localFormat || !l.Node.Valid() || l.CellID == "" || l.Slot >= pki.MaxNodes {
		return local{}, errNoIdentity
	}
	if _, err := netip.ParseAddr(l.Address); err != nil {
		return local{}, fmt.Errorf("%w: %w", errNoIdentity, err)
	}
	for _, port := range []int{l.Ports.API, l.Ports.Link, l.Ports.Peer, l.Ports.Client} {
		if port < 0 || port > 65535 {
			return local{}, errNoIdentity
		}
	}
	l.Ports = withDefaults(l.Ports)
	return l, nil
}

func (l local) write(f folders) error {
	l.Format = localFormat
	data, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the node's identity: %w", err)
	}
	if err := atomicfile.Write(f.local(), append(data, '\n'), 0o600); err != nil {
		return sentence.Disk(f.data, err)
	}
	return nil
}

func withDefaults(p record.Ports) record.Ports {
	for _, d := range []struct {
		port  *int
		value int
	}{{&p.API, 7480}, {&p.Link, 7481}, {&p.Peer, 7482}, {&p.Client, 7483}} {
		if *d.port == 0 {
			*d.port = d.value
		}
	}
	return p
}

func hostPort(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

// lock takes the lock file for this process, until unlock is called or the
// process ends. unlock is nil if another has it.
func lock(path string) (unlock func(), err error) {
	fd, err := lockFile(path)
	if err != nil || fd < 0 {
		return nil, err
	}
	return func() { _ = unix.Close(fd) }, nil
}

// lockFile is lock for those who need the descriptor; it is negative if another
// process has the lock.
func lockFile(path string) (fd int, err error) {
	fd, err = unix.Open(path, unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return -1, sentence.Disk(filepath.Dir(path), &fs.PathError{Op: "open", Path: path, Err: err})
	}
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = unix.Close(fd)
		if errors.Is(err, unix.EWOULDBLOCK) {
			return -1, nil
		}
		return -1, fmt.Errorf("lock %s: %w", path, err)
	}
	return fd, nil
}

// makeFolder makes a folder that only its owner may enter.
func makeFolder(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return sentence.Disk(path, fmt.Errorf("make folder %s: %w", path, err))
	}
	return nil
}
