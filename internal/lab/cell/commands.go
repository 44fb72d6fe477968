package cell

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/keelson/keelson/internal/lab"
)

// Program is the keelson binary within the hosts.
const Program = lab.BinDir + "/keelson"

// The command lines of keelson that a cell is formed with.

func initLine(o Options, h *lab.Host) []string {
	line := []string{Program, "init", "--name", h.Name(), "--address", h.Address(1), "--no-start"}
	return slices.Concat(line, linkFlags(o, h), o.NodeFlags, o.InitFlags)
}

func tokenLine() []string { return []string{Program, "token", "create", "-o", "json"} }

func joinLine(o Options, h, via *lab.Host, witness bool) []string {
	line := []string{Program, "join", via.Address(1), "--name", h.Name(), "--address", h.Address(1), "--no-start"}
	if witness {
		line = append(line, "--witness")
	}
	return slices.Concat(line, linkFlags(o, h), o.NodeFlags)
}

// tokenVariable hands join its token without showing it in lists of processes.
func tokenVariable(token string) string { return "KEELSON_TOKEN=" + token }

func linkFlags(o Options, h *lab.Host) []string {
	var out []string
	for n := lab.Network(2); int(n) <= o.Networks; n++ {
		out = append(out, "--link", h.Address(n))
	}
	return out
}

func agentLine(o Options) []string {
	line := []string{Program, "agent"}
	if o.LogLevel != "" {
		line = append(line, "--log-level", o.LogLevel)
	}
	return line
}

func statusLine() []string { return []string{Program, "status", "-o", "json"} }

func applyLine() []string { return []string{Program, "apply", "-f", "-"} }

// Status is what `keelson status -o json` says, as far as a lab looks at it.
type Status struct {
	Quorate    bool      `json:"quorate"`
	Controller string    `json:"controller"`
	Nodes      []Node    `json:"nodes"`
	Services   []Service `json:"services"`
	Problems   []string  `json:"problems"`
	Stale      bool      `json:"stale"`
}

// Node is a node in a [Status].
type Node struct {
	Name     string `json:"name"`
	Address  string `json:"address"`
	Liveness string `json:"liveness"`
	Voter    bool   `json:"voter"`
	Witness  bool   `json:"witness"`
	GuardUp  bool   `json:"guard_up"`
}

// Service is a service in a [Status].
type Service struct {
	Name       string   `json:"name"`
	State      string   `json:"state"`
	Ready      bool     `json:"ready"`
	Node       string   `json:"node"`
	Epoch      uint64   `json:"epoch,string"`
	Successors []string `json:"successors"`
}

// String says the state in a line, for messages.
func (s Status) String() string {
	out := []string{"controller " + s.Controller}
	if !s.Quorate {
		out = append(out, "not quorate")
	}
	if s.Stale {
		out = append(out, "last known state")
	}
	for _, n := range s.Nodes {
		vote := ""
		if n.Voter {
			vote = " and votes"
		}
		out = append(out, n.Name+" is "+n.Liveness+vote)
	}
	for _, v := range s.Services {
		ready := "not ready"
		if v.Ready {
			ready = "ready"
		}
		out = append(out, fmt.Sprintf("%s is %s and %s on %q, next %q", v.Name, v.State, ready, v.Node, v.Successors))
	}
	return strings.Join(append(out, s.Problems...), "; ")
}

// Service returns the service of that name, or the zero value.
func (s Status) Service(name string) Service {
	for _, v := range s.Services {
		if v.Name == name {
			return v
		}
	}
	return Service{}
}

// Whole reports whether the cell is quorate, has a controller, and has exactly
// the named nodes, all alive.
func (s Status) Whole(nodes []string) bool {
	if !s.Quorate || s.Stale || s.Controller == "" || len(s.Nodes) != len(nodes) {
		return false
	}
	alive := map[string]bool{}
	for _, n := range s.Nodes {
		alive[n.Name] = n.Liveness == "alive"
	}
	for _, n := range nodes {
		if !alive[n] {
			return false
		}
	}
	return true
}

// WebService returns the spec of a service for demonstrations: an address, with
// prefix length, and a web program on port 80 of it that answers with its
// host's name and its epoch. The program is the lab's own binary, so whatever
// runs as the lab's caller must call [lab.MaybeRunInner].
func WebService(name, prefix, listen string) string {
	return fmt.Sprintf(`kind: service
name: %s
parts:
  - address: %s
  - exec:
      command: [%s, %s]
      env: {%s: %s}
`, name, strconv.Quote(prefix), lab.SelfPath, strconv.Quote(listen), lab.RoleVariable, lab.RoleWeb)
}

func parseToken(text []byte) (string, error) {
	var made struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(text, &made); err != nil {
		return "", fmt.Errorf("read the new token: %w", err)
	}
	if made.Token == "" {
		return "", fmt.Errorf("there is no token in %q", text)
	}
	return made.Token, nil
}

func parseStatus(text []byte) (Status, error) {
	var s Status
	if err := json.Unmarshal(text, &s); err != nil {
		return Status{}, fmt.Errorf("read the status: %w", err)
	}
	return s, nil
}
