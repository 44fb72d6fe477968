package app

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/keelson/keelson/internal/app/sentence"
	"github.com/keelson/keelson/internal/driver/cutoff"
	"github.com/keelson/keelson/internal/front/cli"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
)

// LeaveOffline deletes what this server has of a cell while no agent runs on it,
// and asks nobody. It returns the node's name, empty if that cannot be read any
// more. A guard that runs here is ended first, and with it what it keeps.
func (a *App) LeaveOffline(ctx context.Context, o cli.LeaveOptions) (spec.NodeName, error) {
	f := folders{data: o.Folders.Data, run: o.Folders.Run}
	l, err := readLocal(f)
	var known *request.Error
	if errors.As(err, &known) && known.Code == "not-a-member" && !f.begun() {
		return "", err
	}
	unlock, err := lock(f.agentLock())
	if err != nil {
		return "", err
	}
	if unlock == nil {
		return "", refused("already-running", "leave without --offline; or stop the agent first, and then leave with it", "an agent runs on %s", f.data)
	}
	defer unlock()
	n := &node{app: &app{App: a, folders: f, local: l, log: a.logger(cli.Logging{Level: "error"})}}
	o.Progress("ending the guard")
	if !n.dismiss(ctx) {
		return "", refused("guard-not-ended", "restart this server, then try again before the agent starts", "the guard on this server could not be ended; nothing was deleted")
	}
	filter := cutoff.New(cutoff.Options{Clock: a.clock, Log: n.log})
	if err := errors.Join(filter.Remove(), filter.Close()); err != nil && !errors.Is(err, cutoff.ErrUnsupported) {
		return "", refused("filter-not-removed", "run this as root", "the packet filter of the services could not be removed (%s); nothing was deleted", sentence.Innermost(err))
	}
	return l.Node, sentence.Disk(f.data, errors.Join(f.eraseRun(), f.erase()))
}

// begun reports whether an init or a join was cut short here, or the file that
// says who this node is was lost.
func (f folders) begun() bool {
	for _, path := range []string{f.founding(), f.pki(), f.etcd()} {
		if _, err := os.Lstat(path); err == nil {
			return true
		}
	}
	return false
}

// eraseRun deletes what was kept about services that ran here.
func (f folders) eraseRun() error {
	var all error
	for _, path := range []string{f.parts(), f.journal(), f.health()} {
		all = errors.Join(all, os.RemoveAll(path))
	}
	return all
}

func (f folders) agentLock() string { return filepath.Join(f.data, "agent.lock") }
