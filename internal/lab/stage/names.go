package stage

import (
	"fmt"
	"strings"

	"github.com/keelson/keelson/internal/lab/wire"
)

// hostsFile returns the text of /etc/hosts: every host by name on the first
// network, and as NAME.net2 and so on, on the others. Only IPv4: a name that
// gives two families makes every client try both.
func hostsFile(hosts []wire.Host) string {
	var b strings.Builder
	b.WriteString("127.0.0.1 localhost\n::1 localhost ip6-localhost\n")
	for _, h := range hosts {
		for i, l := range h.Links {
			for _, a := range l.Addresses {
				ip, _, _ := strings.Cut(a, "/")
				if strings.Contains(ip, ":") {
					continue
				}
				name := h.Name
				if i > 0 {
					name = fmt.Sprintf("%s.net%d", h.Name, i+1)
				}
				fmt.Fprintf(&b, "%s %s\n", ip, name)
			}
		}
	}
	return b.String()
}
