// Package hostaddress tells a server's own addresses from those that Keelson has put
// on it for a service.
//
// Its rule: an address that a part has written down as taken here is the
// service's, wherever it came from, since it goes away with the service. It
// changes nothing.
package hostaddress

import (
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/keelson/keelson/internal/driver/part/address"
)

// Moving returns the addresses of services that are on this server, by what the
// parts of agents with these run folders have written down. What cannot be read is
// left out.
func Moving(runs ...string) []netip.Addr {
	var out []netip.Addr
	for _, run := range runs {
		// The callback returns nothing but nil and SkipDir.
		_ = filepath.WalkDir(filepath.Join(run, "parts"), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return nil
			}
			if ip, taken := address.TakenBy(path); taken && !slices.Contains(out, ip) {
				out = append(out, ip)
			}
			return nil
		})
	}
	return out
}

// Own lists this server's addresses without those of services.
func Own(runs ...string) ([]string, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list this server's addresses: %w", err)
	}
	moving := Moving(runs...)
	var out []string
	for _, a := range list {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && !slices.Contains(moving, prefix.Addr().Unmap()) {
			out = append(out, prefix.Addr().String())
		}
	}
	return out, nil
}
