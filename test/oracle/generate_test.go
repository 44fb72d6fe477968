package oracle

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// maker writes one cluster by chance.
type maker struct {
	*rand.Rand
	strings.Builder
	with  string
	nodes []string
	ids   int
	prims []prim // all that can have a history
	tops  []top
}

type prim struct {
	name   string
	clone  bool
	roles  bool
	parent string
}

type top struct {
	name  string
	clone bool
	roles bool
}

func generate(seed uint64, with string) string {
	m := &maker{Rand: rand.New(rand.NewPCG(seed, 7)), with: with}
	m.line(`<cib validate-with="pacemaker-3.7" crm_feature_set="3.16.1" have-quorum="%d" dc-uuid="1" epoch="1" num_updates="1" admin_epoch="1">`, yesNo(!m.rarely()))
	m.line("<configuration>")
	m.config()
	m.nodeList()
	m.resourceList()
	m.constraints()
	m.line("</configuration>")
	m.status()
	m.line("</cib>")
	return m.String()
}

func yesNo(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (m *maker) line(format string, args ...any) { fmt.Fprintf(m, format+"\n", args...) }
func (m *maker) rarely() bool                    { return m.IntN(10) == 0 }
func (m *maker) half() bool                      { return m.IntN(2) == 0 }
func (m *maker) has(feature string) bool         { return m.with == "" || strings.Contains(m.with, feature) }

func (m *maker) id() string {
	m.ids++
	return "i" + strconv.Itoa(m.ids)
}

func (m *maker) pick(of ...string) string { return of[m.IntN(len(of))] }

func (m *maker) pair(name, value string) {
	m.line(`<nvpair id="%s" name="%s" value="%s"/>`, m.id(), name, value)
}

func (m *maker) config() {
	m.line("<crm_config>")
	m.line(`<cluster_property_set id="options">`)
	m.pair("stonith-enabled", strconv.FormatBool(m.has("fence") && m.IntN(3) == 0))
	m.pair("no-quorum-policy", m.pick("ignore", "ignore", "stop", "freeze"))
	if m.has("util") && m.IntN(3) == 0 {
		m.pair("placement-strategy", m.pick("utilization", "balanced", "minimal"))
	}
	if m.rarely() {
		m.pair("symmetric-cluster", "false")
	}
	if m.IntN(40) == 0 {
		m.pair("maintenance-mode", "true")
	}
	m.line("</cluster_property_set>")
	m.line("</crm_config>")
}

func (m *maker) nodeList() {
	m.line("<nodes>")
	for i := range 2 + m.IntN(4) {
		name := fmt.Sprintf("n%d", i+1)
		m.nodes = append(m.nodes, name)
		m.line(`<node id="%d" uname="%s">`, i+1, name)
		m.line(`<instance_attributes id="%s">`, m.id())
		if m.half() {
			m.pair("ssd", m.pick("1", "2"))
		}
		if m.rarely() {
			m.pair("standby", "on")
		}
		if m.IntN(30) == 0 {
			m.pair("maintenance", "true")
		}
		m.line("</instance_attributes>")
		if m.has("util") {
			m.line(`<utilization id="%s">`, m.id())
			m.pair("cpu", strconv.Itoa(2+m.IntN(5)))
			m.line("</utilization>")
		}
		m.line("</node>")
	}
	m.line("</nodes>")
}

func (m *maker) resourceList() {
	m.line("<resources>")
	if m.half() {
		m.line(`<primitive id="fencer" class="stonith" type="fence_xvm"><operations><op id="fop" name="monitor" interval="10s"/></operations></primitive>`)
		m.prims = append(m.prims, prim{name: "fencer"})
	}
	for i := range 1 + m.IntN(5) {
		name := string(rune('A' + i))
		switch k := m.IntN(6); {
		case k == 0 && m.has("group"):
			m.group(name, false, false)
			m.tops = append(m.tops, top{name: name})
		case k == 1 && m.has("clone"), k == 2 && m.has("role"):
			roles := k == 2
			m.line(`<clone id="%s">`, name)
			m.line(`<meta_attributes id="%s">`, m.id())
			if roles {
				m.pair("promotable", "true")
			}
			if m.half() {
				m.pair("interleave", "true")
			}
			if m.IntN(3) == 0 {
				m.pair("clone-max", strconv.Itoa(1+m.IntN(3)))
			}
			m.someMeta()
			m.line("</meta_attributes>")
			if m.has("group") && m.IntN(4) == 0 {
				m.group(name+"g", true, roles)
			} else {
				m.primitive(name+"p", name, true, roles)
			}
			m.line("</clone>")
			m.tops = append(m.tops, top{name, true, roles})
		default:
			m.primitive(name, "", false, false)
			m.tops = append(m.tops, top{name: name})
		}
	}
	m.line("</resources>")
}

func (m *maker) someMeta() {
	if m.IntN(4) == 0 {
		m.pair("priority", strconv.Itoa(m.IntN(3)*5))
	}
	if m.IntN(3) == 0 {
		m.pair("resource-stickiness", m.pick("1", "50", "100", "INFINITY"))
	}
	if m.rarely() {
		m.pair("target-role", "Stopped")
	}
	if m.has("unmanaged") && m.IntN(15) == 0 {
		m.pair("is-managed", "false")
	}
	if m.IntN(4) == 0 {
		m.pair("migration-threshold", m.pick("1", "2", "3"))
	}
}

func (m *maker) group(name string, clone, roles bool) {
	m.line(`<group id="%s">`, name)
	if m.half() {
		m.line(`<meta_attributes id="%s">`, m.id())
		m.someMeta()
		m.line("</meta_attributes>")
	}
	for k := range 2 + m.IntN(2) {
		m.primitive(fmt.Sprintf("%s%d", name, k+1), name, clone, roles)
	}
	m.line("</group>")
}

func (m *maker) primitive(name, parent string, clone, roles bool) {
	m.prims = append(m.prims, prim{name, clone, roles, parent})
	kind := "Dummy"
	if roles {
		kind = "Stateful"
	}
	m.line(`<primitive id="%s" class="ocf" provider="pacemaker" type="%s">`, name, kind)
	if m.IntN(3) == 0 {
		m.line(`<meta_attributes id="%s">`, m.id())
		m.someMeta()
		m.line("</meta_attributes>")
	}
	m.line("<operations>")
	fail := ""
	if m.has("onfail") && m.IntN(6) == 0 {
		fail = fmt.Sprintf(` on-fail="%s"`, m.pick("ignore", "block", "stop", "standby", "restart"))
	}
	m.line(`<op id="%s" name="monitor" interval="10s"%s/>`, m.id(), fail)
	if roles {
		m.line(`<op id="%s" name="monitor" interval="9s" role="Promoted"/>`, m.id())
	}
	m.line("</operations>")
	if m.has("util") && m.half() {
		m.line(`<utilization id="%s">`, m.id())
		m.pair("cpu", strconv.Itoa(1+m.IntN(3)))
		m.line("</utilization>")
	}
	m.line("</primitive>")
}

func (m *maker) value() string {
	return m.pick("10", "50", "100", "1000", "INFINITY", "INFINITY", "-10", "-100", "-INFINITY")
}

func (m *maker) constraints() {
	m.line("<constraints>")
	for range m.IntN(5) {
		about := m.tops[m.IntN(len(m.tops))]
		switch {
		case m.IntN(3) > 0:
			m.line(`<rsc_location id="%s" rsc="%s" node="%s" score="%s"/>`, m.id(), about.name, m.nodes[m.IntN(len(m.nodes))], m.value())
		case about.roles && m.half():
			m.line(`<rsc_location id="%s" rsc="%s"><rule id="%s" role="Promoted" score="%s"><expression id="%s" attribute="#uname" operation="eq" value="%s"/></rule></rsc_location>`,
				m.id(), about.name, m.id(), m.value(), m.id(), m.nodes[m.IntN(len(m.nodes))])
		default:
			m.line(`<rsc_location id="%s" rsc="%s"><rule id="%s" score="%s"><expression id="%s" attribute="ssd" operation="%s" value="1"/></rule></rsc_location>`,
				m.id(), about.name, m.id(), m.value(), m.id(), m.pick("eq", "ne", "gt", "lte"))
		}
	}
	if len(m.tops) < 2 {
		m.line("</constraints>")
		return
	}
	told := map[string]bool{}
	for range m.IntN(4) {
		a, b := m.two()
		if key := fmt.Sprintf("c%d,%d", a, b); told[key] {
			continue
		} else {
			told[key] = true
		}
		role := ""
		if m.tops[b].roles && m.half() {
			role = ` with-rsc-role="Promoted"`
		}
		if m.tops[a].roles && m.IntN(3) == 0 {
			role += ` rsc-role="Promoted"`
		}
		m.line(`<rsc_colocation id="%s" rsc="%s" with-rsc="%s" score="%s"%s/>`, m.id(), m.tops[a].name, m.tops[b].name, m.value(), role)
	}
	for range m.IntN(4) {
		a, b := m.two()
		if key := fmt.Sprintf("o%d,%d", a, b); told[key] {
			continue
		} else {
			told[key] = true
		}
		extra := ""
		if m.tops[a].roles && m.half() {
			extra = ` first-action="promote" then-action="start"`
		}
		if m.IntN(4) == 0 {
			extra += ` kind="Optional"`
		}
		if m.IntN(5) == 0 {
			extra += ` symmetrical="false"`
		}
		m.line(`<rsc_order id="%s" first="%s" then="%s"%s/>`, m.id(), m.tops[a].name, m.tops[b].name, extra)
	}
	m.line("</constraints>")
}

// two returns two different resources, the first before the second, so that no
// circle comes about.
func (m *maker) two() (int, int) {
	a := m.IntN(len(m.tops) - 1)
	return a, a + 1 + m.IntN(len(m.tops)-a-1)
}

func (m *maker) status() {
	at := map[string]string{}
	m.line("<status>")
	for i, node := range m.nodes {
		state := `in_ccm="true" crmd="online" join="member" expected="member"`
		gone := false
		switch m.IntN(12) {
		case 0:
			state, gone = `in_ccm="false" crmd="offline" join="down" expected="down"`, true
		case 1:
			if m.has("fence") {
				state = `in_ccm="false" crmd="offline" join="down" expected="member"`
			}
		}
		m.line(`<node_state id="%d" uname="%s" %s>`, i+1, node, state)
		m.line(`<transient_attributes id="%d">`, i+1)
		m.line(`<instance_attributes id="%s">`, m.id())
		for _, p := range m.prims {
			if p.roles && m.half() {
				m.pair("master-"+p.name, m.pick("5", "10", "100", "-5"))
			}
			if m.IntN(12) == 0 {
				m.pair("fail-count-"+p.name+"#monitor_10000", m.pick("1", "2", "INFINITY"))
			}
		}
		m.line("</instance_attributes>")
		m.line("</transient_attributes>")
		if !gone {
			m.history(i, node, at)
		}
		m.line("</node_state>")
	}
	m.line("</status>")
}

func (m *maker) history(i int, node string, at map[string]string) {
	m.line(`<lrm id="%d">`, i+1)
	m.line("<lrm_resources>")
	call := 1
	op := func(p prim, task string, interval, want, rc int) {
		call++
		key := fmt.Sprintf("%s_%s_%d", p.name, task, interval)
		id := key
		switch {
		case rc != want:
			id = p.name + "_last_failure_0"
		case interval == 0:
			id = p.name + "_last_0"
		}
		m.line(`<lrm_rsc_op id="%s" operation_key="%s" operation="%s" interval="%d" call-id="%d" rc-code="%d" op-status="0" transition-key="1:1:%d:aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa" transition-magic="0:%d;1:1:%d:aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa" op-digest="f2317cad3d54cec5d7d7aa7d0bf35cf8" crm_feature_set="3.16.1"/>`,
			id, key, task, interval, call, rc, want, rc, want)
	}
	for _, p := range m.prims {
		kind, class := "Dummy", `class="ocf" provider="pacemaker"`
		if p.roles {
			kind = "Stateful"
		}
		if p.name == "fencer" {
			kind, class = "fence_xvm", `class="stonith"`
		}
		m.line(`<lrm_resource id="%s" type="%s" %s>`, p.name, kind, class)
		key := p.parent
		if key == "" {
			key = p.name
		}
		runs := m.half()
		if !p.clone {
			if at[key] == "" && m.half() {
				at[key] = node
			}
			runs = at[key] == node
		}
		if !runs {
			op(p, "monitor", 0, 7, 7)
			m.line("</lrm_resource>")
			continue
		}
		if m.has("stopfail") && m.IntN(25) == 0 {
			op(p, "stop", 0, 0, 1)
			m.line("</lrm_resource>")
			continue
		}
		promoted := p.roles && m.IntN(3) == 0
		if promoted {
			op(p, "promote", 0, 0, 0)
		} else {
			op(p, "start", 0, 0, 0)
		}
		switch {
		case promoted:
			op(p, "monitor", 9000, 8, 8)
		case m.IntN(8) == 0:
			op(p, "monitor", 10000, 0, 1)
		default:
			op(p, "monitor", 10000, 0, 0)
		}
		m.line("</lrm_resource>")
	}
	m.line("</lrm_resources>")
	m.line("</lrm>")
}
