package cli

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/keelson/keelson/internal/front/cli/agentfile"
	"github.com/keelson/keelson/internal/front/cli/newcomer"
	"github.com/keelson/keelson/internal/front/cli/output"
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
	flags.IntVar(&f.node.Ports.API, "api-port", newcomer.DefaultAPI, "")
	flags.IntVar(&f.node.Ports.Link, "link-port", newcomer.DefaultLink, "")
	flags.IntVar(&f.node.Ports.Peer, "peer-port", newcomer.DefaultPeer, "")
	flags.IntVar(&f.node.Ports.Client, "client-port", newcomer.DefaultClient, "")
	flags.Var((*newcomer.Path)(&f.config), "config", "")
	flags.BoolVar(&f.node.NoStart, "no-start", false, "")
	f.node.Folders.register(c)
}

func (f *Folders) register(c *cobra.Command) {
	f.Data, f.Run = defaultData, defaultRun
	c.Flags().Var((*newcomer.Path)(&f.Data), "data", "")
	c.Flags().Var((*newcomer.Path)(&f.Run), "run", "")
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
		return n, Config{}, wrong("give one with --name: 1 to 63 of a-z, 0-9, - and ., with a letter or digit first and last", "%q cannot be a node's name", string(n.Name))
	}
	if err := newcomer.Folders(n.Folders.Data, n.Folders.Run); err != nil {
		return n, Config{}, err
	}
	own, err := s.env.Actions.Addresses(n.Folders)
	if err != nil {
		return n, Config{}, err
	}
	if err := newcomer.Ports(n.Ports); err != nil {
		return n, Config{}, err
	}
	if n.Labels, err = newcomer.Labels(f.labels); err != nil {
		return n, Config{}, err
	}
	if n.Address, err = newcomer.Address(n.Address, own); err != nil {
		return n, Config{}, err
	}
	if err := newcomer.Links(n.Address, n.Links); err != nil {
		return n, Config{}, err
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
