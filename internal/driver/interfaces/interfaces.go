// Package interfaces lists the names of this host's network interfaces, so that
// the cell can say which of them a service may name.
//
// Its main rule is to be cheap: the kernel is asked seldom, however often the
// list is. It leaves out loopback and, as [spec.Passing] says, what containers come
// and go with.
package interfaces

import (
	"net"
	"slices"
	"sync"
	"time"

	"github.com/keelson/keelson/internal/model/spec"
)

// Limits of a list.
const (
	// Most is how many names a list has at most: more are not for people to
	// choose from.
	Most = 64
	// Fresh is how long a list is given out again.
	Fresh = 10 * time.Second
)

// Lister lists interfaces. It is safe for concurrent use.
type Lister struct {
	boot func() time.Duration

	mu    sync.Mutex
	names []string
	at    time.Duration // when the kernel was asked; 0: never
}

// New returns a lister. boot is a clock that never goes back.
func New(boot func() time.Duration) *Lister { return &Lister{boot: boot} }

// Names returns the names, sorted, at most [Most] of them and not older than
// [Fresh]. It is nil where the kernel does not tell.
func (l *Lister) Names() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.boot()
	if l.at != 0 && now-l.at < Fresh {
		return slices.Clone(l.names)
	}
	l.at, l.names = now, nil
	list, err := net.Interfaces()
	if err != nil {
		return nil
	}
	for _, one := range list {
		if one.Flags&net.FlagLoopback == 0 && !spec.Passing(one.Name) {
			l.names = append(l.names, one.Name)
		}
	}
	slices.Sort(l.names)
	l.names = l.names[:min(len(l.names), Most)]
	return slices.Clone(l.names)
}
