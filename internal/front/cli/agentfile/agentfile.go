// Package agentfile reads the agent's own file, which names a watchdog, and an
// etcd cluster to use instead of the cell's own.
//
// Reading is strict: an unknown key is an error that names it. The package
// refuses files larger than [MaxBytes].
package agentfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/keelson/keelson/internal/model/request"
)

// File is the agent's own file. All of it is optional.
type File struct {
	// Store names an existing etcd cluster to use instead of the cell's own.
	Store *ExternalStore `yaml:"store"`
	// Watchdog is the path of the device that restarts this host if its guard
	// hangs; empty: none is used.
	Watchdog string `yaml:"watchdog"`
}

// ExternalStore is an etcd cluster of the operator's own.
type ExternalStore struct {
	Endpoints []string `yaml:"endpoints"` // "https://host:2379"
	CA        string   `yaml:"ca"`        // PEM files
	Cert      string   `yaml:"cert"`
	Key       string   `yaml:"key"`
	Prefix    string   `yaml:"prefix"` // of all keys; default "/keelson/"
}

// MaxBytes bounds the agent's file, in bytes.
const MaxBytes = 64 << 10

// DefaultPrefix keeps a cell's keys apart from others in the same etcd.
const DefaultPrefix = "/keelson/"

// Read reads the agent's file; an empty path gives the zero File.
func Read(path string) (File, error) {
	if path == "" {
		return File{}, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return File{}, bad(path, err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	content, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err != nil {
		return File{}, bad(path, err)
	}
	c, err := parse(content)
	if err != nil {
		return File{}, bad(path, err)
	}
	return c, nil
}

func bad(path string, err error) error {
	var known *os.PathError
	if errors.As(err, &known) {
		err = known.Err
	}
	return &request.Error{
		Kind: request.Invalid, Code: "config-invalid", Err: err,
		Text: fmt.Sprintf("%s: %s", path, strings.TrimSpace(err.Error())),
		Hint: "see `keelson agent --help` for what the file may say",
	}
}

// parse reads the content of the agent's file. Unknown keys are errors.
func parse(content []byte) (c File, err error) {
	// The parser is somebody else's code.
	defer func() {
		if r := recover(); r != nil {
			c, err = File{}, errors.New("it cannot be read as YAML")
		}
	}()
	if len(content) > MaxBytes {
		return File{}, fmt.Errorf("it has more than %d bytes", MaxBytes)
	}
	if len(strings.TrimSpace(string(content))) == 0 {
		return File{}, nil
	}
	if err := yaml.UnmarshalWithOptions(content, &c, yaml.DisallowUnknownField()); err != nil {
		return File{}, err
	}
	if c.Watchdog != "" && !strings.HasPrefix(c.Watchdog, "/") {
		return File{}, fmt.Errorf("watchdog: %q is no path such as /dev/watchdog", c.Watchdog)
	}
	if c.Store == nil {
		return c, nil
	}
	if len(c.Store.Endpoints) == 0 {
		return File{}, errors.New("store.endpoints is missing: list the etcd servers, such as https://10.0.0.9:2379")
	}
	for _, e := range c.Store.Endpoints {
		if !strings.HasPrefix(e, "https://") && !strings.HasPrefix(e, "http://") {
			return File{}, fmt.Errorf("store.endpoints: %q does not begin with https:// or http://", e)
		}
	}
	if (c.Store.Cert == "") != (c.Store.Key == "") {
		return File{}, errors.New("store.cert and store.key go together")
	}
	if c.Store.Prefix == "" {
		c.Store.Prefix = DefaultPrefix
	}
	return c, nil
}
