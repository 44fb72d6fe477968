package cli

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keelson/keelson/internal/front/cli/agentfile"
	"github.com/keelson/keelson/internal/front/cli/output"
	"github.com/keelson/keelson/internal/front/cli/screen"
	"github.com/keelson/keelson/internal/model/spec"
)

const nodeFlagsHelp = `    --name NAME          this node's name (default its host name)
    --address ADDRESS    IP address that the other nodes reach it by (default its
                         only one)
    --link ADDRESS       a further address for heartbeats, on another network;
                         may be given several times
    --label KEY=VALUE    a label for placing services; may be given several times
    --api-port N, --link-port N, --peer-port N, --client-port N
                         ports to use instead of 7480 (TCP), 7481 (UDP), 7482
                         and 7483 (TCP)
    --data DIR           where to keep state (default /var/lib/keelson)
    --run DIR            where to keep sockets (default /run/keelson)
    --config FILE        the agent's file; see ` + "`keelson agent --help`" + `
    --no-start           don't install and start the system service
`

// Where a node keeps its things, unless it is told otherwise.
const (
	defaultData = "/var/lib/keelson"
	defaultRun  = "/run/keelson"
)

// nodeFlags are the flags that init and join share.
type nodeFlags struct {
	node   NewNode
	name   string
	labels []string
	config string
}

func (f *nodeFlags) register(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.name, "name", "", "")
	flags.StringVar(&f.node.Address, "address", "", "")
	flags.StringArrayVar(&f.node.Links, "link", nil, "")
	flags.StringArrayVar(&f.labels, "label", nil, "")
	flags.IntVar(&f.node.Ports.API, "api-port", 0, "")
	flags.IntVar(&f.node.Ports.Link, "link-port", 0, "")
	flags.IntVar(&f.node.Ports.Peer, "peer-port", 0, "")
	flags.IntVar(&f.node.Ports.Client, "client-port", 0, "")
	flags.StringVar(&f.config, "config", "", "")
	flags.BoolVar(&f.node.NoStart, "no-start", false, "")
	f.node.Folders.register(c)
}

func (f *Folders) register(c *cobra.Command) {
	c.Flags().StringVar(&f.Data, "data", defaultData, "")
	c.Flags().StringVar(&f.Run, "run", defaultRun, "")
}

// agent is the command that runs the agent of these folders. It finds the agent's
// file by itself.
func (f Folders) agent() string {
	text := "keelson agent"
	if f.Data != defaultData {
		text += " --data " + output.Quote(f.Data)
	}
	if f.Run != defaultRun {
		text += " --run " + output.Quote(f.Run)
	}
	return text
}

// socket is what a command needs, after its own words, to call that agent.
func (f Folders) socket() string {
	if f.Run == defaultRun {
		return ""
	}
	return " --socket " + output.Quote(filepath.Join(f.Run, "api.sock"))
}

// settle checks the flags and fills in what they leave out.
func (f *nodeFlags) settle(s *shell) (NewNode, Config, error) {
	n := f.node
	n.Progress = s.sayProgress
	n.Name = spec.NodeName(f.name)
	if n.Name == "" {
		n.Name = spec.NodeName(hostname())
	}
	if !n.Name.Valid() {
		return n, Config{}, wrong("give one with --name, of a-z, 0-9 and -", "%q cannot be a node's name", string(n.Name))
	}
	for _, port := range []int{n.Ports.API, n.Ports.Link, n.Ports.Peer, n.Ports.Client} {
		if port < 0 || port > 65535 {
			return n, Config{}, wrong("ports are 1 to 65535", "%d is no port", port)
		}
	}
	labels, err := parseLabels(f.labels)
	if err != nil {
		return n, Config{}, err
	}
	n.Labels = labels

	own, err := s.addresses()
	if err != nil {
		return n, Config{}, err
	}
	if n.Address, err = chooseAddress(n.Address, own); err != nil {
		return n, Config{}, err
	}
	for _, l := range n.Links {
		if _, err := netip.ParseAddr(l); err != nil {
			return n, Config{}, wrong("give an IP address of this server", "--link %s is no IP address", l)
		}
	}
	config, err := agentfile.Read(f.config)
	if err == nil && f.config != "" {
		// The agent reads it again, from wherever it is started.
		f.config, err = filepath.Abs(f.config)
	}
	return n, config, err
}

// sayProgress shows what is being done, on a terminal only.
func (s *shell) sayProgress(sentence string) { s.tty.Progress(sentence) }

// addresses lists this machine's own IP addresses.
func (s *shell) addresses() ([]string, error) {
	if s.env.Actions.Addresses != nil {
		return s.env.Actions.Addresses()
	}
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list this server's addresses: %w", err)
	}
	var out []string
	for _, a := range list {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, prefix.Addr().String())
		}
	}
	return out, nil
}

// chooseAddress returns the address by which others reach this server: the one
// given, or the only one that can be meant.
func chooseAddress(given string, own []string) (string, error) {
	if given != "" {
		if ip, err := netip.ParseAddr(given); err != nil || ip.IsUnspecified() || ip.Zone() != "" {
			return "", wrong("give an IP address of this server, such as 10.0.0.1", "--address %s is no IP address", given)
		}
		return given, nil
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

// parseLabels reads "key=value" words; nil for none.
func parseLabels(words []string) (map[string]string, error) {
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
