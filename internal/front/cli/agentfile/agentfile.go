// Package agentfile finds the agent's own file, which names a watchdog, and an
// etcd cluster to use instead of the cell's own.
//
// What it says is read by package specfile, as strictly as the files of services.
// The package refuses files larger than [specfile.MaxAgentBytes].
package agentfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/specfile"
)

// File is the agent's own file. All of it is optional.
type File = specfile.Agent

// Read reads the agent's file; an empty path gives the zero File. The error is a
// [*request.Error]; if the file says something wrong, it wraps
// [specfile.Problems].
func Read(path string) (File, error) {
	if path == "" {
		return File{}, nil
	}
	content, err := load(path)
	if err != nil {
		return File{}, unread(path, err)
	}
	file, err := specfile.ReadAgent(path, content)
	if err != nil {
		return File{}, &request.Error{
			Kind: request.Invalid, Code: "config-invalid", Err: err, Text: err.Error(),
			Hint: "see `keelson agent --help` for what the agent's file may say",
		}
	}
	return file, nil
}

// load returns a file's content, with one byte more than it may have at most.
func load(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(f, specfile.MaxAgentBytes+1))
	return content, errors.Join(err, f.Close())
}

// unread says why there is no content.
func unread(path string, err error) error {
	out := &request.Error{Kind: request.Invalid, Code: "config-unreadable", Err: err, Hint: "give the agent's file with --config, or leave that out: none is needed"}
	var known *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		out.Code, out.Text = "config-missing", fmt.Sprintf("there is no agent's file %s", path)
		out.Hint = "put it back, or name the one to use with --config; `keelson agent --help` shows what it may say"
	case errors.Is(err, unix.EISDIR):
		out.Text = path + " is a folder, not the agent's file"
	case errors.Is(err, fs.ErrPermission):
		out.Text, out.Hint = "you may not read the agent's file "+path, "run this as root, for example with sudo"
	case errors.As(err, &known):
		out.Text = fmt.Sprintf("the agent's file %s cannot be read: %s", path, known.Err)
	default:
		out.Text = fmt.Sprintf("the agent's file %s cannot be read: %s", path, err)
	}
	return out
}
