// Package past reads what the history of a cluster says of one resource on one node:
// the operations that were run there, and how each ended.
//
// Its main rule is that it orders them by when they happened and judges none. What
// they come to is for package crm to say. It is pure.
package past

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/core/crm/clause"
	"github.com/keelson/keelson/internal/model/cib"
)

// Operation is one entry of a resource's history on a node.
type Operation struct {
	ID       string
	Task     string
	Interval time.Duration
	Call     int
	Status   int
	Code     int
	Want     int
	At       time.Time // of the last change of the result
	HasTime  bool
	Last     bool // the entry of the last failure
	Transit  int
	Digest   string // of the parameters with which it ran
}

// The exit codes of resource agents, and the states of an operation.
const (
	CodeOK            = 0
	CodeNotRunning    = 7
	CodePrimary       = 8
	CodeFailedPrimary = 9
	CodeDegraded      = 190
	CodeDegradedPrim  = 191

	StatusPending      = -1
	StatusDone         = 0
	StatusCancelled    = 1
	StatusTimeout      = 2
	StatusUnsupported  = 3
	StatusError        = 4
	StatusHard         = 5
	StatusFatal        = 6
	StatusNotInstalled = 7
)

// Of returns the operations of one lrm_resource, in the order in which they happened.
func Of(e *cib.Element) []Operation {
	var out []Operation
	for _, c := range e.All("lrm_rsc_op") {
		op := Operation{
			ID: c.ID(), Task: c.Attr("operation"), Call: clause.Number(c.Attr("call-id"), -1),
			Interval: time.Duration(clause.Number(c.Attr("interval"), 0)) * time.Millisecond,
			Status:   clause.Number(c.Attr("op-status"), StatusDone), Code: clause.Number(c.Attr("rc-code"), 0),
			Last: strings.HasSuffix(c.ID(), "_last_failure_0"), Want: -1, Digest: c.Attr("op-digest"),
		}
		// The key is action:transition:expected code:source.
		if key := strings.Split(c.Attr("transition-key"), ":"); len(key) >= 4 {
			op.Transit, op.Want = clause.Number(key[1], 0), clause.Number(key[2], -1)
		}
		if s, err := strconv.ParseInt(c.Attr("last-rc-change"), 10, 64); err == nil && s > 0 {
			op.At, op.HasTime = time.Unix(s, 0).UTC(), true
		}
		out = append(out, op)
	}
	slices.SortStableFunc(out, later)
	return out
}

// later orders operations by when they happened.
func later(a, b Operation) int {
	switch {
	case a.Call == -1 && b.Call == -1:
		return cmp.Compare(a.Transit, b.Transit)
	case a.Call == -1:
		return 1
	case b.Call == -1:
		return -1
	case a.Call != b.Call:
		return cmp.Compare(a.Call, b.Call)
	case a.HasTime && b.HasTime:
		return a.At.Compare(b.At)
	}
	return 0
}
