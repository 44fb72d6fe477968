package rival

import (
	"encoding/xml"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// configuration returns the cluster's configuration: the service as a group of
// the address, by the agent of resource-agents, and the program, by ours.
// Fencing is off, since the lab has no power control that a host could ask.
func (p Pacemaker) configuration(address netip.Prefix) string {
	monitor := p.Monitor
	if monitor == 0 {
		monitor = 10 * time.Second
	}
	properties := nvpair("cluster", "stonith-enabled", "false") + nvpair("cluster", "cluster-name", "lab")
	if p.DCDeadtime > 0 {
		properties += nvpair("cluster", "dc-deadtime", millis(p.DCDeadtime))
	}
	ip := nvpair("address", "ip", address.Addr().String()) + nvpair("address", "cidr_netmask", fmt.Sprint(address.Bits()))
	listen := nvpair("program", "listen", address.Addr().String()+":"+port)
	var b strings.Builder
	fmt.Fprintf(&b, `<configuration><crm_config><cluster_property_set id="cib-bootstrap-options">%s</cluster_property_set></crm_config>`, properties)
	fmt.Fprintf(&b, `<nodes/><resources><group id="%s">%s%s</group></resources><constraints/>`, group,
		primitive("address", "heartbeat", "IPaddr2", ip+operations("address", monitor)),
		primitive("program", "lab", "web", listen+operations("program", monitor)))
	fmt.Fprintf(&b, `<rsc_defaults><meta_attributes id="defaults">%s</meta_attributes></rsc_defaults></configuration>`,
		nvpair("defaults", "resource-stickiness", "1"))
	return b.String()
}

func nvpair(of, name, value string) string {
	return fmt.Sprintf(`<nvpair id="%s-%s" name="%s" value="%s"/>`, of, name, name, value)
}

// primitive wants its attributes before its operations.
func primitive(id, provider, kind, inner string) string {
	attributes, operations, _ := strings.Cut(inner, "<operations>")
	return fmt.Sprintf(`<primitive id="%s" class="ocf" provider="%s" type="%s"><instance_attributes id="%s-attributes">%s</instance_attributes><operations>%s</primitive>`,
		id, provider, kind, id, attributes, operations)
}

func operations(of string, monitor time.Duration) string {
	var b strings.Builder
	b.WriteString("<operations>")
	for _, o := range []struct {
		name  string
		every time.Duration
	}{{"monitor", monitor}, {"start", 0}, {"stop", 0}} {
		fmt.Fprintf(&b, `<op id="%s-%s" name="%s" interval="%s" timeout="20s"/>`, of, o.name, o.name, millis(o.every))
	}
	return b.String() + "</operations>"
}

func millis(d time.Duration) string { return fmt.Sprintf("%dms", d.Milliseconds()) }

// view is what `crm_mon --output-as=xml` says, as far as we look at it.
type view struct {
	Coordinator struct {
		Present bool   `xml:"present,attr"`
		Name    string `xml:"name,attr"`
	} `xml:"summary>current_dc"`
	Nodes []struct {
		Name    string `xml:"name,attr"`
		Online  bool   `xml:"online,attr"`
		Unclean bool   `xml:"unclean,attr"`
		Pending bool   `xml:"pending,attr"`
	} `xml:"nodes>node"`
	Groups []struct {
		Resources []resource `xml:"resource"`
	} `xml:"resources>group"`
}

type resource struct {
	ID     string `xml:"id,attr"`
	Role   string `xml:"role,attr"`
	Failed bool   `xml:"failed,attr"`
	Nodes  []struct {
		Name string `xml:"name,attr"`
	} `xml:"node"`
}

func parseView(text []byte) (view, error) {
	var v view
	if err := xml.Unmarshal(text, &v); err != nil {
		return view{}, fmt.Errorf("read what crm_mon says: %w", err)
	}
	return v, nil
}

// online returns the hosts that are members in full, in order of their names.
func (v view) online() []string {
	var out []string
	for _, n := range v.Nodes {
		if n.Online && !n.Unclean && !n.Pending {
			out = append(out, n.Name)
		}
	}
	slices.Sort(out)
	return out
}

// holders returns the hosts on which every part of the service runs.
func (v view) holders() []string {
	parts := map[string]int{}
	total := 0
	for _, g := range v.Groups {
		for _, r := range g.Resources {
			total++
			for _, n := range r.Nodes {
				if r.Role == "Started" && !r.Failed {
					parts[n.Name]++
				}
			}
		}
	}
	var out []string
	for host, n := range parts {
		if n == total {
			out = append(out, host)
		}
	}
	slices.Sort(out)
	return out
}
