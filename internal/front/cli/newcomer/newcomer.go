// Package newcomer checks what a new node is told of itself: its addresses, its
// ports and its labels; and whom a command is told to call.
//
// Its rule: what could not work is refused before anything is written or sent. It
// refuses addresses that no other server reaches, ports that a node could not
// open, and two ports that are one.
package newcomer

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/keelson/keelson/internal/front/cli/screen"
	"github.com/keelson/keelson/internal/model/record"
)

// Ports that a node uses unless it is told otherwise.
const (
	DefaultAPI    = 7480
	DefaultLink   = 7481
	DefaultPeer   = 7482
	DefaultClient = 7483
)

// Error is something that a node cannot be told, and what to do about it.
type Error struct{ Text, Hint string }

// Error implements error.
func (e *Error) Error() string { return e.Text }

func wrong(hint, format string, args ...any) error {
	return &Error{Text: fmt.Sprintf(format, args...), Hint: hint}
}

// Address returns the address by which others reach this server: the one given, or
// the only one among its own that can be meant. It returns an [*Error].
func Address(given string, own []string) (string, error) {
	if given != "" {
		return given, usable("--address", given)
	}
	var all, four []string
	for _, text := range own {
		ip, err := netip.ParseAddr(text)
		if err != nil || ip.IsLoopback() || ip.IsLinkLocalUnicast() || !ip.IsGlobalUnicast() {
			continue
		}
		all = append(all, text)
		if ip.Is4() {
			four = append(four, text)
		}
	}
	switch {
	case len(all) == 1:
		return all[0], nil
	case len(four) == 1:
		return four[0], nil
	case len(all) == 0:
		return "", wrong("connect it to a network, or give one with --address", "this server has no address that others could reach")
	}
	return "", wrong("choose the one that the other nodes reach it by: --address "+all[0],
		"this server has %d addresses: %s", len(all), strings.Join(all, ", "))
}

// usable refuses what is no address of a server.
func usable(flag, given string) error {
	ip, err := netip.ParseAddr(given)
	switch {
	case err != nil || ip.IsUnspecified() || ip.IsMulticast():
		return wrong("give an IP address of this server, such as 10.0.0.1", "%s %s is no IP address of a server", flag, given)
	case ip.Is6() && ip.IsLinkLocalUnicast() || ip.Zone() != "":
		return wrong("give an address that holds on more than one link, such as 10.0.0.1 or fd00::1",
			"%s %s means something only on one link of this server, so other nodes could not use it", flag, given)
	}
	return nil
}

// Loopback reports whether host is an address that a server has only for itself.
func Loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// Links checks the further addresses of a server that has that address. It
// returns an [*Error].
func Links(address string, links []string) error {
	seen := map[string]bool{address: true}
	for _, link := range links {
		if err := usable("--link", link); err != nil {
			return err
		}
		if Loopback(link) && !Loopback(address) {
			return wrong("give an address of another network that the nodes share", "--link %s is reached from this server alone", link)
		}
		if seen[link] {
			return wrong("leave it out", "--link %s is an address of this node already", link)
		}
		seen[link] = true
	}
	return nil
}

// Reaches refuses a node that is to join by way of server ("host:port"), but has an
// address that only it can reach. It returns an [*Error].
func Reaches(address, server string) error {
	if to, err := netip.ParseAddrPort(server); err == nil && Loopback(address) && !Loopback(to.Addr().String()) {
		return wrong("give the address by which the others reach this server with --address",
			"no other server reaches this one by %s; nothing was sent", address)
	}
	return nil
}

// Server returns "host:port" of a node that is to be called, given with or without
// a port. It returns an [*Error].
func Server(given string) (string, error) {
	if ip, err := netip.ParseAddr(strings.Trim(given, "[]")); err == nil {
		return netip.AddrPortFrom(ip, DefaultAPI).String(), nil
	}
	if _, bare, schemed := strings.Cut(given, "://"); schemed {
		return "", wrong("leave out what is before the host, and give "+cmp.Or(strings.TrimRight(bare, "/"), "10.0.0.1"), "%q is no address of a node", given)
	}
	host, port, err := net.SplitHostPort(given)
	if err != nil {
		host, port = given, strconv.Itoa(DefaultAPI)
	}
	_, named := netip.ParseAddr(host)
	if host == "" || named != nil && strings.ContainsAny(host, "[]:/ @?#,") || screen.Clean(host) != host {
		return "", wrong("give a node of the cell, such as 10.0.0.1 or 10.0.0.1:7480", "%q is no address of a node", given)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "", wrong("ports are 1 to 65535; without one it is 7480", "%s: %q is no port", given, port)
	}
	return net.JoinHostPort(host, port), nil
}

// maxRun bounds the path of the folder of sockets, in bytes: Linux takes 107 for a
// socket, and the longest name in that folder has ten.
const maxRun = 96

// Folders refuses folders that a node could not keep its things in: data is that of
// its state, run that of its sockets. It returns an [*Error].
func Folders(data, run string) error {
	switch {
	case data == "":
		return wrong("leave it out for the usual one, or name a folder", "--data names no folder")
	case run == "":
		return wrong("leave it out for the usual one, or name a folder", "--run names no folder")
	case len(run) > maxRun:
		return wrong(fmt.Sprintf("give one of %d bytes at most", maxRun), "--run is too long for the sockets in it: it has %d bytes", len(run))
	}
	return nil
}

// Ports refuses ports that a node could not open. It returns an [*Error].
func Ports(p record.Ports) error {
	all := []struct {
		flag   string
		number int
	}{{"--api-port", p.API}, {"--peer-port", p.Peer}, {"--client-port", p.Client}, {"--link-port", p.Link}}
	for _, port := range all {
		if port.number < 1 || port.number > 65535 {
			return wrong("ports are 1 to 65535", "%s: %d is no port", port.flag, port.number)
		}
	}
	// Heartbeats are UDP, and may have the number of a TCP port.
	tcp := all[:3]
	for i, a := range tcp {
		for _, b := range tcp[:i] {
			if a.number == b.number {
				return wrong("give each a port of its own; without these flags they are 7480, 7482 and 7483",
					"%s and %s are both %d, and only one of them could be opened", b.flag, a.flag, a.number)
			}
		}
	}
	return nil
}

// Labels reads "key=value" words; nil for none. It returns an [*Error].
func Labels(words []string) (map[string]string, error) {
	var labels map[string]string
	for _, w := range words {
		key, value, found := strings.Cut(w, "=")
		if !found || key == "" || value == "" || len(w) > 200 || screen.Clean(w) != w {
			return nil, wrong("write it as --label key=value", "%q is no label", w)
		}
		if labels == nil {
			labels = map[string]string{}
		}
		if _, twice := labels[key]; twice {
			return nil, wrong("give each label once", "label %s is given twice", key)
		}
		labels[key] = value
	}
	return labels, nil
}
