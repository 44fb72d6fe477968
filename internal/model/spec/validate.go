package spec

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Validate returns all that is wrong with s by itself, at most [MaxProblems],
// in the order of the fields. A service without problems is safe to act on.
// What is wrong with s beside other services, [Conflicts] knows.
func (s Service) Validate() []Problem {
	c := &checker{}
	c.serviceName("name", s.Name)
	c.number("priority", s.Priority, -MaxPriority, MaxPriority)
	c.parts(s.Parts)
	c.place(s.Name, s.Place)
	c.failover(s.Failover)
	c.quorumLoss(s)
	if s.Failover.StopFailure == StopFence && !s.IsExclusive() {
		c.add("failover.stop_failure", Clash, "only what is exclusive needs proof that it has stopped, and this may run on several nodes", "remove it")
	}
	c.labels(s.Labels)
	c.placing(s)
	return c.problems
}

func (c *checker) parts(parts []Part) {
	if len(parts) == 0 {
		c.add("parts", NoParts, "the service has no parts", "list at least one, such as an address or an exec")
	}
	parts = parts[:c.count("parts", "parts", len(parts), MaxParts)]
	for i, p := range parts {
		c.part(index("parts", i), p)
	}
	c.partNames(parts)
	c.partAddresses(parts)
}

// partNames reports two parts of one name. Names that are not set get their
// defaults first, since a default never clashes.
func (c *checker) partNames(parts []Part) {
	first := make(map[string]int, len(parts))
	for i, p := range parts {
		if p.Name == "" {
			continue
		}
		if j, ok := first[p.Name]; ok {
			c.add(index("parts", i)+".name", Clash,
				fmt.Sprintf("parts %d and %d are both named %s", j+1, i+1, quote(p.Name)), "give each part a name of its own")
			continue
		}
		first[p.Name] = i
	}
}

func (c *checker) place(self ServiceName, p Place) {
	on := p.On[:c.count("place.on", "nodes", len(p.On), MaxNodes)]
	never := p.Never[:c.count("place.never", "nodes", len(p.Never), MaxNodes)]
	for i, n := range on {
		c.nodeName(index("place.on", i), n)
	}
	for i, n := range never {
		path := index("place.never", i)
		c.nodeName(path, n)
		if slices.Contains(on, n) {
			c.add(path, Clash, fmt.Sprintf("node %s is in place.on and in place.never", quote(string(n))), "remove it from one of them")
		}
	}
	once(c, "place.on", on)
	once(c, "place.never", never)

	for i, pref := range p.Prefer[:c.count("place.prefer", "preferences", len(p.Prefer), MaxPrefer)] {
		c.preference(index("place.prefer", i), pref)
	}
	c.neighbors(self, p)
	if p.Stickiness != nil {
		c.number("place.stickiness", *p.Stickiness, 0, MaxScore)
	}
}

func (c *checker) preference(path string, p Preference) {
	switch {
	case p.Label == "" && p.Node == "":
		c.add(path, BadPreference, "the preference says neither label nor node", "give one of them")
	case p.Label != "" && p.Node != "":
		c.add(path, BadPreference, "the preference says both label and node", "make two preferences of it")
	case p.Node != "":
		c.nodeName(path+".node", p.Node)
	default:
		if _, _, ok := SplitLabel(p.Label); !ok {
			c.add(path+".label", BadLabel, fmt.Sprintf("%s is not a label with its value", quote(p.Label)), "write key=value, such as ssd=true")
		}
	}
	c.role(path+".role", p.Role)
	if !p.From.IsZero() && !p.Until.IsZero() && !p.From.Before(p.Until) {
		c.add(path+".until", Clash, "the preference ends before it begins", "let until be after from")
	}
	if p.Score == 0 {
		c.add(path+".score", BadPreference, "a score of 0 changes nothing", "give a score, or remove the preference")
		return
	}
	c.number(path+".score", p.Score, -MaxScore, MaxScore)
}

func (c *checker) neighbors(self ServiceName, p Place) {
	apart := p.Apart[:c.count("place.apart", "services", len(p.Apart), MaxNeighbors)]
	together := p.Together[:c.count("place.together", "services", len(p.Together), MaxNeighbors)]
	for _, list := range []struct {
		path     string
		services []ServiceName
	}{{"place.apart", apart}, {"place.together", together}} {
		for i, n := range list.services {
			c.serviceName(index(list.path, i), n)
			if n == self {
				c.add(index(list.path, i), SelfReference, "the service names itself", "name another service, or remove this")
			}
		}
		once(c, list.path, list.services)
	}
	for i, n := range together {
		if slices.Contains(apart, n) {
			c.add(index("place.together", i), Clash,
				fmt.Sprintf("service %s is to be apart and together at once", quote(string(n))), "remove it from one of them")
		}
	}
}

func (c *checker) failover(f Failover) {
	c.duration("failover.ttl", Duration(f.TTL), MinTTL, MaxTTL)
	switch f.Proof {
	case "", ProofLease:
	case ProofWatchdog, ProofFence:
		c.add("failover.proof", BadProof, fmt.Sprintf("this version cannot give the proof %s", quote(string(f.Proof))),
			"use lease, if losing the node's network is enough to keep it from doing harm")
	default:
		c.add("failover.proof", BadProof, fmt.Sprintf("%s is not a kind of proof", quote(string(f.Proof))), "use lease")
	}
	if f.Restarts != nil {
		c.number("failover.restarts", *f.Restarts, 0, MaxRestarts)
	}
	c.duration("failover.within", f.Within, MinWithin, MaxWithin)
	c.optional("failover.agent_loss", f.AgentLoss)
	switch f.StopFailure {
	case "", StopBlock, StopFence:
	default:
		c.add("failover.stop_failure", BadKind, fmt.Sprintf("%s is not what can be done when a part does not stop", quote(string(f.StopFailure))), "use block, or fence; to ignore it could run the service twice")
	}
}

func (c *checker) quorumLoss(s Service) {
	const path = "failover.on_quorum_loss"
	switch loss := s.Failover.OnQuorumLoss; loss {
	case "", QuorumLossStop:
	case QuorumLossKeep:
		if s.IsExclusive() {
			c.add(path, Clash, "an exclusive service cannot be kept without a quorum, since another node may run it by then",
				"write stop, or exclusive: false if it may run on two nodes at once")
		}
	default:
		c.add(path, BadQuorumLoss, fmt.Sprintf("%s does not say what to do when the quorum is lost", quote(string(loss))), "write stop or keep")
	}
}

// optional reports a duration that is set and not between 0 and [MaxWait].
func (c *checker) optional(path string, d *Duration) {
	if d != nil {
		c.wait(path, *d)
	}
}

// wait reports a duration that is not between 0 and [MaxWait].
func (c *checker) wait(path string, d Duration) {
	c.duration(path, d, time.Duration(0), MaxWait)
}

func (c *checker) labels(labels map[string]string) {
	keys := slices.Sorted(maps.Keys(labels))
	for _, k := range keys[:c.count("labels", "labels", len(keys), MaxLabels)] {
		if !ValidLabel(k, labels[k]) {
			c.add("labels."+clip(k), BadLabel, fmt.Sprintf("%s is not a label", quote(k+"="+labels[k])),
				"use a key of 1 to 63 letters, digits and '-', '_', '.', '/', and a printable value of at most "+strconv.Itoa(MaxValue)+" characters")
		}
	}
}

// path reports a file path that is not absolute and clean enough to use.
func (c *checker) path(path, value string) {
	if !strings.HasPrefix(value, "/") || len(value) > MaxPath || !isText(value) {
		c.add(path, BadPath, fmt.Sprintf("%s is not an absolute path", quote(value)), "begin it with /")
	}
}
