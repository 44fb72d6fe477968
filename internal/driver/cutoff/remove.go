package cutoff

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// RemoveAddress takes "prefix%interface" off this host. An address or an
// interface that is not there is no error.
func (f *Fence) RemoveAddress(handle string) error {
	prefix, name, err := parseHandle(handle)
	if err != nil {
		return err
	}
	if err := removeAddress(prefix, name); err != nil {
		return fmt.Errorf("remove address %s: %w", handle, err)
	}
	return nil
}

// parseHandle reads "prefix%interface".
func parseHandle(handle string) (netip.Prefix, string, error) {
	text, name, found := strings.Cut(handle, "%")
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, "", fmt.Errorf("address handle %q: %w", handle, err)
	}
	if !found || name == "" {
		return netip.Prefix{}, "", fmt.Errorf("address handle %q: it names no interface", handle)
	}
	return prefix, name, nil
}

func removeAddress(prefix netip.Prefix, name string) error {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open a netlink socket: %w", err)
	}
	defer handle.Close()
	if err := handle.SetSocketTimeout(kernelTimeout); err != nil {
		return fmt.Errorf("bound a netlink socket: %w", err)
	}
	var link netlink.Link
	for range tries {
		link, err = handle.LinkByName(name)
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find the interface: %w", err)
	}
	err = handle.AddrDel(link, &netlink.Addr{IPNet: &net.IPNet{
		IP:   prefix.Addr().AsSlice(),
		Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen()),
	}})
	if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}
