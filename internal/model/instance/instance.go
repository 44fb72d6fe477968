// Package instance holds the words that the agent and the drivers of parts
// share: which part of which service is meant, and what became of it.
package instance

import (
	"path/filepath"
	"strconv"
	"strings"
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

	// Own says that Epoch only counts the lives of a copy on this node: it is no
	// fencing token and not given to programs.
	Own bool
	// Copy is the copy's number, 0 for one that is like all others; Role is the
	// role of the copy in which the part runs, empty if copies have none.
	Copy int
	Role spec.Role
	// Lease is which of the service's leases Epoch is of, where the part runs as
	// primary of several; 0 is the first.
	Lease int

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

// Name is that of the instance.
func (r Run) Name() Name { return NameOf(r.Service, r.Copy) }

// Key is the part's path within the node: "service/part", or "service:2/part"
// for a part of a numbered copy.
func (r Run) Key() string { return filepath.Join(string(r.Name()), r.Part.Name) }

// Name tells the instances on one node apart: it is the service's name, followed
// by the number of a numbered copy, as in "web:2".
type Name string

// NameOf returns the name of a copy; 0 stands for a copy without a number.
func NameOf(s spec.ServiceName, number int) Name {
	if number == 0 {
		return Name(s)
	}
	return Name(string(s) + ":" + strconv.Itoa(number))
}

// Service is the service that n is an instance of.
func (n Name) Service() spec.ServiceName {
	s, _, _ := strings.Cut(string(n), ":")
	return spec.ServiceName(s)
}

// Number is that of the copy, 0 if it has none.
func (n Name) Number() int {
	_, text, _ := strings.Cut(string(n), ":")
	number, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return number
}

// Valid reports whether n is the name of an instance in its only spelling.
func (n Name) Valid() bool {
	return n.Service().Valid() && n.Number() >= 0 && n == NameOf(n.Service(), n.Number())
}

// LeaseName names one of a service's leases, as guards and agents speak of it: the
// first has the service's own name, and those of further primaries have names that
// no service can have, such as "db/2".
func LeaseName(s spec.ServiceName, lease int) spec.ServiceName {
	if lease == 0 {
		return s
	}
	return s + "/" + spec.ServiceName(strconv.Itoa(lease+1))
}

// LeaseOf is what [LeaseName] made a name of.
func LeaseOf(name spec.ServiceName) (s spec.ServiceName, lease int) {
	base, text, further := strings.Cut(string(name), "/")
	if n, err := strconv.Atoi(text); further && err == nil && n > 1 {
		return spec.ServiceName(base), n - 1
	}
	return name, 0
}

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
