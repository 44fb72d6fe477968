// Package logkey names the keys of structured log entries, so that one thing
// has one name in all of them.
package logkey

// The keys.
const (
	Node    = "node"
	Service = "service"
	Part    = "part"
	Epoch   = "epoch"
	Err     = "err"
	Took    = "took"
	Addr    = "addr"
	Pid     = "pid"
	Plan    = "plan"
	Path    = "path"
	Count   = "count"
	Slot    = "slot"
	Version = "version"
)
