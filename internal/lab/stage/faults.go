package stage

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/lab/wire"
)

// port is the switch's end of a host's link.
type port struct{ name, bridge string }

// pair is a direction through the switch.
type pair struct{ from, to string }

func (p pair) touches(port string) bool { return p.from == port || p.to == port }

// faults is all that is wrong with the network, by port name.
type faults struct {
	cut      map[string]bool
	isolated map[string]bool
	blocked  map[pair]bool
	loss     map[string]float64 // percent
	between  map[pair]float64   // percent
}

func newFaults() faults {
	return faults{
		cut: map[string]bool{}, isolated: map[string]bool{},
		blocked: map[pair]bool{}, loss: map[string]float64{}, between: map[pair]float64{},
	}
}

func (f faults) clone() faults {
	return faults{
		cut: maps.Clone(f.cut), isolated: maps.Clone(f.isolated),
		blocked: maps.Clone(f.blocked), loss: maps.Clone(f.loss), between: maps.Clone(f.between),
	}
}

// change works the fault in for the ports of its hosts A and B.
func (f faults) change(what wire.NetFault, a, b []port) {
	switch what.Kind {
	case wire.Cut:
		for _, p := range a {
			f.cut[p.name] = true
		}
	case wire.Isolate:
		for _, p := range a {
			f.isolated[p.name] = true
		}
	case wire.OneWay:
		for _, way := range ways(a, b) {
			f.blocked[way] = true
		}
	case wire.Between:
		for _, way := range ways(a, a) {
			delete(f.between, way)
			if what.Percent > 0 {
				f.between[way] = what.Percent
			}
		}
	case wire.Loss:
		for _, p := range a {
			delete(f.loss, p.name)
			if what.Percent > 0 {
				f.loss[p.name] = what.Percent
			}
		}
	case wire.Heal:
		f.heal(what, a)
	}
}

// ways are the directions from a port of a to one of b through the same switch.
func ways(a, b []port) []pair {
	var out []pair
	for _, p := range a {
		for _, q := range b {
			if p.bridge == q.bridge && p != q {
				out = append(out, pair{p.name, q.name})
			}
		}
	}
	return out
}

func (f faults) heal(what wire.NetFault, a []port) {
	if len(what.A) == 0 {
		clear(f.cut)
		clear(f.isolated)
		clear(f.blocked)
		clear(f.loss)
		clear(f.between)
	}
	for _, p := range a {
		delete(f.cut, p.name)
		delete(f.isolated, p.name)
		delete(f.loss, p.name)
		maps.DeleteFunc(f.blocked, func(way pair, _ bool) bool { return way.touches(p.name) })
		maps.DeleteFunc(f.between, func(way pair, _ float64) bool { return way.touches(p.name) })
	}
}

// rule drops frames that pass from one port to another; an empty name is any.
type rule struct {
	from, to string
	permille uint32 // how many of 1000 are dropped
}

// rules returns what the switches have to drop, in a fixed order. Ports tell
// the hosts apart, not MACs: broadcast and multicast frames are covered.
func (f faults) rules() []rule {
	var out []rule
	for p := range f.isolated {
		out = append(out, rule{p, "", 1000}, rule{"", p, 1000})
	}
	for way := range f.blocked {
		out = append(out, rule{way.from, way.to, 1000})
	}
	for p, percent := range f.loss {
		permille := uint32(percent * 10)
		out = append(out, rule{p, "", permille}, rule{"", p, permille})
	}
	for way, percent := range f.between {
		out = append(out, rule{way.from, way.to, uint32(percent * 10)})
	}
	slices.SortFunc(out, func(a, b rule) int {
		return cmp.Or(cmp.Compare(b.permille, a.permille), cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to))
	})
	return out
}

// applyRules replaces all rules of the switches in one transaction.
func applyRules(rules []rule) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyBridge, Name: "lab"})
	accept := nftables.ChainPolicyAccept
	chain := c.AddChain(&nftables.Chain{
		Name: "faults", Table: table, Type: nftables.ChainTypeFilter, Policy: &accept,
		Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter,
	})
	c.FlushChain(chain)
	for _, r := range rules {
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: r.expressions()})
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("set %d nftables rules of the switches: %w", len(rules), err)
	}
	return nil
}

func (r rule) expressions() []expr.Any {
	var out []expr.Any
	match := func(key expr.MetaKey, name string) {
		if name == "" {
			return
		}
		padded := make([]byte, unix.IFNAMSIZ)
		copy(padded, name)
		out = append(out, &expr.Meta{Key: key, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: padded})
	}
	match(expr.MetaKeyIIFNAME, r.from)
	match(expr.MetaKeyOIFNAME, r.to)
	if r.permille < 1000 {
		out = append(out,
			&expr.Numgen{Register: 1, Modulus: 1000, Type: unix.NFT_NG_RANDOM},
			&expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 4, Size: 4},
			&expr.Cmp{Op: expr.CmpOpLt, Register: 1, Data: binaryutil.BigEndian.PutUint32(r.permille)})
	}
	return append(out, &expr.Verdict{Kind: expr.VerdictDrop})
}
