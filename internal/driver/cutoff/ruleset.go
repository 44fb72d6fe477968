package cutoff

import (
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// TableName is the name of the tables, in the families inet and arp.
const TableName = "keelson"

const (
	// maxBatch is how many addresses one transaction of holds carries; the
	// kernel takes about 200 KB at once.
	maxBatch = 256
	// maxElements is how many elements one message carries, at most 64 KB.
	maxElements = 500

	// Priorities: before anything that rewrites addresses on the way in, after
	// it on the way out.
	prioFirst = -300
	prioLast  = 300

	arpOut = 1 // NF_ARP_OUT of linux/netfilter_arp.h
)

// hold is how long an address may pass.
type hold struct {
	addr netip.Addr
	left time.Duration
}

// pair is the two sets of one table and address family.
type pair struct {
	managed, held *nftables.Set
	six           bool
}

// ruleset is what the kernel is told. It is immutable.
type ruleset struct {
	inet, arp *nftables.Table
	four, six pair // in inet
	arpFour   pair
}

func newRuleset() ruleset {
	r := ruleset{
		inet: &nftables.Table{Name: TableName, Family: nftables.TableFamilyINet},
		arp:  &nftables.Table{Name: TableName, Family: nftables.TableFamilyARP},
	}
	id := uint32(0)
	set := func(t *nftables.Table, name string, kind nftables.SetDatatype, timeout bool) *nftables.Set {
		id++
		return &nftables.Set{Table: t, ID: id, Name: name, KeyType: kind, HasTimeout: timeout}
	}
	r.four = pair{set(r.inet, "managed4", nftables.TypeIPAddr, false), set(r.inet, "held4", nftables.TypeIPAddr, true), false}
	r.six = pair{set(r.inet, "managed6", nftables.TypeIP6Addr, false), set(r.inet, "held6", nftables.TypeIP6Addr, true), true}
	r.arpFour = pair{set(r.arp, "managed4", nftables.TypeIPAddr, false), set(r.arp, "held4", nftables.TypeIPAddr, true), false}
	return r
}

func (r ruleset) pairs() []pair { return []pair{r.four, r.six, r.arpFour} }

// install queues the tables with all rules and exactly these managed
// addresses. What is held stays.
func (r ruleset) install(c *nftables.Conn, managed []netip.Addr) error {
	c.AddTable(r.inet)
	c.AddTable(r.arp)
	for _, p := range r.pairs() {
		for _, s := range []*nftables.Set{p.managed, p.held} {
			if err := c.AddSet(s, nil); err != nil {
				return err
			}
		}
		c.FlushSet(p.managed)
		if err := p.add(c, p.managed, elements(p, managed)); err != nil {
			return err
		}
	}
	for _, ch := range r.chains() {
		c.AddChain(ch.chain)
		c.FlushChain(ch.chain)
		for _, rule := range ch.rules {
			c.AddRule(&nftables.Rule{Table: ch.chain.Table, Chain: ch.chain, Exprs: rule})
		}
	}
	return nil
}

// hold queues the holds. An element is added, deleted and added: deleting one
// that is not there would fail, and adding one that is there would leave its
// time as it was on kernels before 6.12.
func (r ruleset) hold(c *nftables.Conn, holds []hold) error {
	for _, p := range r.pairs() {
		var els []nftables.SetElement
		for _, h := range holds {
			if p.takes(h.addr) {
				els = append(els, nftables.SetElement{Key: h.addr.AsSlice(), Timeout: h.left})
			}
		}
		if err := p.add(c, p.held, els); err != nil {
			return err
		}
		if err := p.del(c, els); err != nil {
			return err
		}
		if err := p.add(c, p.held, els); err != nil {
			return err
		}
	}
	return nil
}

// drop queues the end of holds.
func (r ruleset) drop(c *nftables.Conn, addrs []netip.Addr) error {
	for _, p := range r.pairs() {
		els := elements(p, addrs)
		for i := range els {
			els[i].Timeout = MaxHold
		}
		if err := p.add(c, p.held, els); err != nil {
			return err
		}
		if err := p.del(c, els); err != nil {
			return err
		}
	}
	return nil
}

// remove queues the end of the tables. Adding comes first, since deleting what
// is not there would fail.
func (r ruleset) remove(c *nftables.Conn) error {
	for _, t := range []*nftables.Table{r.inet, r.arp} {
		c.AddTable(t)
		c.DelTable(t)
	}
	return nil
}

func (p pair) takes(a netip.Addr) bool { return a.Is6() == p.six }

func elements(p pair, addrs []netip.Addr) []nftables.SetElement {
	var out []nftables.SetElement
	for _, a := range addrs {
		if p.takes(a) {
			out = append(out, nftables.SetElement{Key: a.AsSlice()})
		}
	}
	return out
}

func (pair) add(c *nftables.Conn, s *nftables.Set, els []nftables.SetElement) error {
	for part := range slices.Chunk(els, maxElements) {
		if err := c.SetAddElements(s, part); err != nil {
			return err
		}
	}
	return nil
}

func (p pair) del(c *nftables.Conn, els []nftables.SetElement) error {
	for part := range slices.Chunk(els, maxElements) {
		if err := c.SetDeleteElements(p.held, part); err != nil {
			return err
		}
	}
	return nil
}

// chain is a chain with its rules.
type chain struct {
	chain *nftables.Chain
	rules [][]expr.Any
}

// Places of addresses in headers.
const (
	ip4Source, ip4Target = 12, 16
	ip6Source, ip6Target = 8, 24
	arpSender            = 14
	ndTarget             = 8 // after the IPv6 header
	typeSolicit          = 135
	typeAdvertise        = 136
)

// chains is every rule there is:
//
//   - prerouting: what comes for an address that is on this host, also where it
//     would be sent on to a container. What is only routed or bridged through
//     this host, on its way to the holder, passes.
//   - input: questions of neighbours for the address. Those of this host for the
//     address on another host pass, and so do the announcements of the holder.
//   - output, postrouting: what starts from the address, here or in a container
//     behind it, and what announces it.
//   - arp output: ARP that names the address as its sender, so answers and
//     announcements. Questions for it, with the host's own or no sender, pass.
func (r ruleset) chains() []chain {
	base := func(t *nftables.Table, name string, hook *nftables.ChainHook, prio nftables.ChainPriority) *nftables.Chain {
		accept := nftables.ChainPolicyAccept
		return &nftables.Chain{
			Name: name, Table: t, Type: nftables.ChainTypeFilter, Hooknum: hook,
			Priority: nftables.ChainPriorityRef(prio), Policy: &accept,
		}
	}
	return []chain{
		{base(r.inet, "prerouting", nftables.ChainHookPrerouting, prioFirst), [][]expr.Any{
			dropRule(family(unix.NFPROTO_IPV4), r.four.unheld(network(ip4Target, 4)), local(&expr.Fib{FlagDADDR: true})),
			dropRule(family(unix.NFPROTO_IPV6), r.six.unheld(network(ip6Target, 16)), local(&expr.Fib{FlagDADDR: true})),
		}},
		{base(r.inet, "input", nftables.ChainHookInput, prioFirst), [][]expr.Any{
			dropRule(family(unix.NFPROTO_IPV6), icmpv6(typeSolicit), r.six.unheld(transport(ndTarget, 16))),
		}},
		{base(r.inet, "output", nftables.ChainHookOutput, prioFirst), [][]expr.Any{
			dropRule(family(unix.NFPROTO_IPV4), r.four.unheld(network(ip4Source, 4))),
			dropRule(family(unix.NFPROTO_IPV6), r.six.unheld(network(ip6Source, 16))),
			dropRule(family(unix.NFPROTO_IPV6), icmpv6(typeAdvertise), r.six.unheld(transport(ndTarget, 16))),
		}},
		{base(r.inet, "postrouting", nftables.ChainHookPostrouting, prioLast), [][]expr.Any{
			dropRule(family(unix.NFPROTO_IPV4), r.four.unheld(network(ip4Source, 4)), local(&expr.Fib{FlagSADDR: true})),
			dropRule(family(unix.NFPROTO_IPV6), r.six.unheld(network(ip6Source, 16)), local(&expr.Fib{FlagSADDR: true})),
		}},
		{base(r.arp, "output", nftables.ChainHookRef(arpOut), prioFirst), [][]expr.Any{
			dropRule(r.arpFour.unheld(network(arpSender, 4))),
		}},
	}
}

// register is the only one the rules need.
const register = 1

func dropRule(matches ...[]expr.Any) []expr.Any {
	return append(slices.Concat(matches...), &expr.Verdict{Kind: expr.VerdictDrop})
}

// unheld matches if the address that load finds is managed and not held.
func (p pair) unheld(load expr.Any) []expr.Any {
	return []expr.Any{
		load,
		&expr.Lookup{SourceRegister: register, SetName: p.managed.Name, SetID: p.managed.ID},
		&expr.Lookup{SourceRegister: register, SetName: p.held.Name, SetID: p.held.ID, Invert: true},
	}
}

func network(offset, size uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size}
}

func transport(offset, size uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: size}
}

func equal(load expr.Any, data ...byte) []expr.Any {
	return []expr.Any{load, &expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: data}}
}

func family(f byte) []expr.Any {
	return equal(&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: register}, f)
}

func icmpv6(kind byte) []expr.Any {
	return append(
		equal(&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register}, unix.IPPROTO_ICMPV6),
		equal(transport(0, 1), kind)...)
}

// local matches if the address that the lookup looks at is one of this host.
func local(lookup *expr.Fib) []expr.Any {
	lookup.Register, lookup.ResultADDRTYPE = register, true
	return equal(lookup, binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)...)
}
