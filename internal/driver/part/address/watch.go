package address

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/model/instance"
)

// Wait blocks while the part's address is in place. It returns [ErrGone] or
// [ErrLinkDown] with what happened, [ErrGivenBack] after a [Driver.Stop], or
// ctx's error; never nil. It learns of changes from the kernel at once; it does
// not poll.
func (d *Driver) Wait(ctx context.Context, run instance.Run) error {
	c, known, err := loadClaim(run.RunDir)
	if err != nil {
		return err
	}
	if !known {
		return fmt.Errorf("%w: %s was not started here", ErrGone, run.Key())
	}
	changes, err := nl.Subscribe(unix.NETLINK_ROUTE,
		unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
	if err != nil {
		return fmt.Errorf("subscribe to changes of addresses: %w", err)
	}
	defer changes.Close()
	stop := context.AfterFunc(ctx, changes.Close)
	defer stop()

	index, err := d.lookAgain(run, c)
	for err == nil {
		if err = nextChange(changes, change{index: index, addr: c.Prefix.Addr()}); err == nil {
			index, err = d.lookAgain(run, c)
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// lookAgain returns the index of the link that has the address, or what became
// of it.
func (d *Driver) lookAgain(run instance.Run, c claim) (int, error) {
	host, err := openNetwork()
	if err != nil {
		return 0, err
	}
	defer host.close()

	d.giving.RLock()
	defer d.giving.RUnlock()
	now, known, err := loadClaim(run.RunDir)
	if err != nil {
		return 0, err
	}
	if !known || now.Prefix != c.Prefix || now.Interface != c.Interface {
		return 0, fmt.Errorf("%s: %w", c.Prefix, ErrGivenBack)
	}
	if err := host.check(c); err != nil {
		return 0, err
	}
	d.remember(run.Key(), c)
	l, err := host.linkNamed(c.Interface)
	return l.index, err
}

// nextChange blocks until the kernel reports something about the link or the
// address, or that it had to leave reports out.
func nextChange(changes *nl.NetlinkSocket, about change) error {
	for {
		messages, from, err := changes.Receive()
		switch {
		case errors.Is(err, unix.ENOBUFS):
			return nil
		case err != nil:
			return fmt.Errorf("wait for changes of addresses: %w", err)
		case from.Pid != nl.PidKernel:
			continue
		}
		for _, m := range messages {
			if about.concerns(m) {
				return nil
			}
		}
	}
}

// change picks the reports that matter.
type change struct {
	index int
	addr  netip.Addr
}

// concerns says whether a report may be about the link or the address. It errs
// on the side of yes: the answer only means "look again".
func (c change) concerns(m syscall.NetlinkMessage) bool {
	const indexAt, ifaAddressAt = 4, 8 // in struct ifinfomsg and struct ifaddrmsg
	if len(m.Data) < ifaAddressAt {
		return true
	}
	if int(binary.NativeEndian.Uint32(m.Data[indexAt:])) != c.index {
		return false
	}
	switch m.Header.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		return true
	case unix.RTM_DELADDR:
		// The attributes hold the address as it is: searching is enough.
		return bytes.Contains(m.Data[ifaAddressAt:], c.addr.AsSlice())
	}
	return false
}
