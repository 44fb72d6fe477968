package rival

import (
	"fmt"
	"strings"
	"time"
)

// Totem is what of Corosync's timing is not left as it is. Zero means the
// default: of Token 3 s and 650 ms for each host from the third on, of Consensus
// 1.2 times that, of the pings a quarter and half of it. Source: corosync.conf(5).
type Totem struct {
	// Token is how long the token may be away before a host counts as lost. If
	// it is set, nothing is added for the number of hosts.
	Token time.Duration
	// Consensus is how long the others may then take to agree.
	Consensus time.Duration
	// PingInterval and PingTimeout are those of knet's own watch over its links.
	PingInterval, PingTimeout time.Duration
}

// text returns corosync.conf as `pcs cluster setup` writes it, with the timing
// added; but the log goes to a file alone, with exact times.
func (t Totem) text(hosts, addresses []string) string {
	var b strings.Builder
	b.WriteString("totem {\n    version: 2\n    cluster_name: lab\n    transport: knet\n" +
		"    crypto_cipher: aes256\n    crypto_hash: sha256\n")
	set := func(indent, key string, d time.Duration) {
		if d > 0 {
			fmt.Fprintf(&b, "%s%s: %d\n", indent, key, d.Milliseconds())
		}
	}
	set("    ", "token", t.Token)
	if t.Token > 0 {
		b.WriteString("    token_coefficient: 0\n")
	}
	set("    ", "consensus", t.Consensus)
	if t.PingInterval > 0 || t.PingTimeout > 0 {
		b.WriteString("    interface {\n        linknumber: 0\n")
		set("        ", "knet_ping_interval", t.PingInterval)
		set("        ", "knet_ping_timeout", t.PingTimeout)
		b.WriteString("    }\n")
	}
	b.WriteString("}\n\nnodelist {\n")
	for i, h := range hosts {
		fmt.Fprintf(&b, "    node {\n        ring0_addr: %s\n        name: %s\n        nodeid: %d\n    }\n", addresses[i], h, i+1)
	}
	b.WriteString("}\n\nquorum {\n    provider: corosync_votequorum\n}\n\nlogging {\n" +
		"    to_logfile: yes\n    logfile: " + corosyncLog + "\n    to_syslog: no\n    timestamp: hires\n}\n")
	return b.String()
}

const corosyncLog = "/var/log/corosync/corosync.log"

// memberships returns how many different memberships the logs tell of.
func memberships(logs ...string) int {
	seen := map[string]bool{}
	for _, text := range logs {
		for line := range strings.Lines(text) {
			_, rest, ok := strings.Cut(line, "A new membership (")
			id, _, closed := strings.Cut(rest, ")")
			if ok && closed {
				seen[id] = true
			}
		}
	}
	return len(seen)
}
