// Package instance holds the words that the agent and the drivers of parts
// share: which part of which service is meant, and what became of it.
package instance

import (
	"path/filepath"
	"time"

	"github.com/keelson/keelson/internal/model/spec"
)

// Run names one part of one service on this node, with all that a driver needs
// to act on it. The same Run is passed to every call for that part.
type Run struct {
	Cell       string
	Node       spec.NodeName
	Service    spec.ServiceName
	Generation uint64
	Epoch      uint64 // fencing token, given to programs as KEELSON_EPOCH
	Part       spec.Part

	// RunDir is the folder for state that must not survive a reboot (it is on
	// tmpfs), LogDir that for kept output. Both are the driver's own for this
	// part and may not exist yet.
	RunDir string
	LogDir string

	// May, if not nil, returns an error once the service may run here no more. A
	// driver that starts something asks last of all, when what cuts the part off
	// ([Handles]) exists already, and returns that error. It does not block.
	May func() error
}

// Allowed returns the error of r.May, or nil if there is none.
func (r Run) Allowed() error {
	if r.May == nil {
		return nil
	}
	return r.May()
}

// Key is the part's path within the node: "service/part".
func (r Run) Key() string { return filepath.Join(string(r.Service), r.Part.Name) }

// Observed is what a probe saw.
type Observed struct {
	Running bool
	// Since is when it was started, zero if that is not known.
	Since time.Time
	// Generation and Epoch are those it was started with, 0 if not known.
	Generation uint64
	Epoch      uint64
	// Detail is one sentence for the operator, such as "pid 812" or
	// "on eth0".
	Detail string
}

// Handles are what can be cut off from outside, without the driver.
type Handles struct {
	// Addresses are "prefix%interface", such as "10.77.0.100/24%eth0".
	Addresses []string
	// Cgroups are folders whose processes can be killed: cgroup v2 folders by
	// path, cgroup v1 folders by path, or "pidfile:" and the path of a file
	// with the id of a session leader.
	Cgroups []string
}
