package spec

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Role is what one copy of a service is beside the others.
type Role string

// The roles of copies.
const (
	RolePrimary Role = "primary"
	RoleReplica Role = "replica"
)

// Copies says that a service runs several times at once.
type Copies struct {
	// Count is how many; 0 means one on every node. Range 0 to 256.
	Count int `json:"count,omitempty"`
	// PerNode is how many may share a node, default 1 (0), range 1 to 64.
	PerNode int `json:"per_node,omitempty"`
	// Unique copies differ from each other; others are all alike.
	Unique bool `json:"unique,omitempty"`
	// Primaries is how many are primary, the others being replicas; 0 means that
	// copies have no roles. Range 0 to 8. Each primary has a lease of its own.
	Primaries int `json:"primaries,omitempty"`
}

// Near draws a service to another, or keeps it away. This service heeds the
// other, which goes first and heeds it in the measure of the score.
type Near struct {
	Service ServiceName `json:"service"`
	// Score is how much it counts; negative keeps away. From MaxScore on, and to
	// its negative, it is a rule and no preference. Not 0.
	Score int `json:"score"`
	// Role is the role that the other's copy must have, As the one of this
	// service's copy; empty: any.
	Role Role `json:"role,omitempty"`
	As   Role `json:"as,omitempty"`
	// Same is a label: nodes with the same value of it count as one place. Empty:
	// each node is a place of its own.
	Same string `json:"same,omitempty"`
}

// Shunned are the services with which one of this place must not be on a node that
// has these labels, whatever the scores: those of Apart, and those of Near with the
// score -[MaxScore]. Same holds where the node has that label: both would be at one
// place then. What else is at that place, on other nodes, is not told here; nor does a
// rule with Role or As count, since a role comes and goes while the service runs. The
// result may name the service itself, which is never shunned, and a name twice; it is
// not to be changed.
func (p *Place) Shunned(labels map[string]string) []ServiceName {
	out := slices.Clip(p.Apart)
	for _, n := range p.Near {
		_, at := labels[n.Same]
		if n.Score <= -MaxScore && n.Role == "" && n.As == "" && (n.Same == "" || at) {
			out = append(out, n.Service)
		}
	}
	return out
}

// After says that a service starts after another, and stops before it.
type After struct {
	Service ServiceName `json:"service"`
	// Role is the role that one of the other's copies must have reached.
	Role Role `json:"role,omitempty"`
	// Optional: it only says what comes first if both happen at once. Else the
	// service cannot run without the other.
	Optional bool `json:"optional,omitempty"`
	// OneWay: it holds for the start, and not for the stop.
	OneWay bool `json:"one_way,omitempty"`
}

// CapacityLabel begins the labels that say how much a node has of a unit:
// "capacity/cpu=16". A node without the label has none of that unit if any node
// has the label, and as much as is asked for if none has.
const CapacityLabel = "capacity"

// StopFailure is what is done when a part would not stop.
type StopFailure string

// What can be done then. Block is the default: the service stays where it is
// until a person has looked. Fence: the guard cuts it off, and the watchdog ends the
// host if that cannot be proved; then another node runs it.
const (
	StopBlock StopFailure = "block"
	StopFence StopFailure = "fence"
)

// Holds reports whether the preference counts at t.
func (p Preference) Holds(t time.Time) bool {
	return (p.From.IsZero() || !t.Before(p.From)) && (p.Until.IsZero() || t.Before(p.Until))
}

// placing checks what a service says of copies, order, needs and neighbors.
func (c *checker) placing(s Service) {
	if k := s.Copies; k != nil {
		c.number("copies.count", k.Count, 0, MaxCopies)
		c.positive("copies.per_node", k.PerNode, MaxPerNode)
		c.number("copies.primaries", k.Primaries, 0, MaxPrimaries)
		if k.Count > 0 && k.Primaries > k.Count {
			c.add("copies.primaries", Clash, fmt.Sprintf("%d primaries of %d copies", k.Primaries, k.Count), "have at least as many copies as primaries")
		}
		if !k.Unique && k.PerNode > 1 {
			c.add("copies.per_node", Clash, "copies that are all alike cannot share a node", "set unique: true, or leave per_node out")
		}
		c.copies(s, *k)
	}
	c.roles(s)
	after := s.After[:c.count("after", "services", len(s.After), MaxNeighbors)]
	for i, a := range after {
		path := index("after", i)
		c.otherService(path+".service", s.Name, a.Service)
		c.role(path+".role", a.Role)
	}
	keys := slices.Sorted(maps.Keys(s.Needs))
	for _, k := range keys[:c.count("needs", "units", len(keys), MaxUnits)] {
		if !ValidLabel(CapacityLabel+"/"+k, "1") || strings.Contains(k, "/") {
			c.add("needs."+clip(k), BadLabel, fmt.Sprintf("%s is not the name of a unit", quote(k)), "use letters, digits and '-', such as cpu")
			continue
		}
		c.number("needs."+k, s.Needs[k], 1, MaxNeed)
	}
	near := s.Place.Near[:c.count("place.near", "services", len(s.Place.Near), MaxNeighbors)]
	for i, n := range near {
		c.near(index("place.near", i), s, n)
	}
	spread := s.Place.Spread[:c.count("place.spread", "labels", len(s.Place.Spread), MaxLabels)]
	once(c, "place.spread", spread)
	for i, label := range spread {
		c.labelKey(index("place.spread", i), label)
	}
}

// copies checks that the service can run several times at once.
func (c *checker) copies(s Service, k Copies) {
	if s.Exclusive != nil && *s.Exclusive && k.Primaries == 0 && k.Count != 1 {
		c.add("exclusive", Clash, "an exclusive service runs on one node at most, and this one has copies", "remove it, or remove copies")
	}
	if s.Exclusive != nil && !*s.Exclusive && k.Primaries > 0 {
		c.add("exclusive", Clash, "the role of the primary is exclusive, or there would be two of them", "remove it, or have no primaries")
	}
	if k.Primaries > 0 && k.PerNode > 1 {
		c.add("copies.per_node", Clash, "copies with roles cannot share a node", "leave per_node out")
	}
	for i, p := range s.Parts {
		if p.Address == nil || p.Role == RolePrimary && k.Primaries <= 1 {
			continue
		}
		hint := "make a service of its own of the address, and place it near this one"
		if k.Primaries == 1 {
			hint = "write role: primary beside it, so that only the primary has it"
		}
		c.add(index("parts", i)+".address", Clash, "an address can be on one node only, and the copies run on several", hint)
	}
}

// roles checks what parts say of roles.
func (c *checker) roles(s Service) {
	for i, p := range s.Parts {
		path := index("parts", i)
		if p.Role != "" && p.Role != RolePrimary {
			c.add(path+".role", BadRole, fmt.Sprintf("%s is not a role that a part can be bound to", quote(string(p.Role))), "use primary, or remove it")
		}
		if p.Role != "" && !s.HasRoles() {
			c.add(path+".role", Clash, "the service has no roles", "give it copies with primaries, or remove this")
		}
		if p.Exec == nil || len(p.Exec.Promote)+len(p.Exec.Demote) == 0 {
			continue
		}
		if len(p.Exec.Promote) > 0 {
			c.command(path+".exec.promote", p.Exec.Promote)
		} else {
			c.add(path+".exec.demote", Clash, "the program can be demoted and not promoted", "give promote as well, or remove demote")
		}
		if len(p.Exec.Demote) > 0 {
			c.command(path+".exec.demote", p.Exec.Demote)
		}
		switch {
		case !s.HasRoles():
			c.add(path+".exec.promote", Clash, "the service has no roles", "give it copies with primaries, or remove this")
		case p.Role != "":
			c.add(path+".exec.promote", Clash, "a part that only the primary has needs no promotion", "remove promote and demote, or role")
		}
	}
}

func (c *checker) near(path string, s Service, n Near) {
	c.otherService(path+".service", s.Name, n.Service)
	c.role(path+".role", n.Role)
	c.role(path+".as", n.As)
	if n.As != "" && (s.Copies == nil || s.Copies.Primaries == 0) {
		c.add(path+".as", Clash, "the service has no roles", "give it copies with primaries, or remove this")
	}
	if n.Same != "" {
		c.labelKey(path+".same", n.Same)
	}
	if n.Score == 0 {
		c.add(path+".score", BadPreference, "a score of 0 changes nothing", "give a score, or remove this")
		return
	}
	c.number(path+".score", n.Score, -MaxScore, MaxScore)
	if n.Score >= MaxScore && n.Same == "" && n.Role == "" && n.As == "" && slices.Contains(s.Place.Apart, n.Service) {
		c.add(path, Clash, fmt.Sprintf("service %s is to be apart and near at once", quote(string(n.Service))), "remove it from one of them")
	}
	if n.Score <= -MaxScore && n.Same == "" && n.Role == "" && n.As == "" && slices.Contains(s.Place.Together, n.Service) {
		c.add(path, Clash, fmt.Sprintf("service %s is to be together and away at once", quote(string(n.Service))), "remove it from one of them")
	}
}

func (c *checker) otherService(path string, self, other ServiceName) {
	c.serviceName(path, other)
	if other == self {
		c.add(path, SelfReference, "the service names itself", "name another service, or remove this")
	}
}

func (c *checker) role(path string, r Role) {
	switch r {
	case "", RolePrimary, RoleReplica:
	default:
		c.add(path, BadRole, fmt.Sprintf("%s is not a role", quote(string(r))), "use primary or replica")
	}
}

func (c *checker) labelKey(path, key string) {
	if !ValidLabel(key, "x") {
		c.add(path, BadLabel, fmt.Sprintf("%s is not a label's key", quote(key)), "write the key alone, such as rack")
	}
}
