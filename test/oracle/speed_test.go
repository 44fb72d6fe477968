package oracle

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keelson/keelson/internal/core/crm"
	"github.com/keelson/keelson/internal/core/decide"
	"github.com/keelson/keelson/internal/model/cib"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// cell is a cell that has been placed and then loses its first node: the case of
// the benchmarks in core/decide.
func cell(nodes, services int) fact.Snapshot {
	s := fact.Snapshot{Now: at, Quorate: true}
	for i := range nodes {
		s.Nodes = append(s.Nodes, fact.Node{
			Name: spec.NodeName(fmt.Sprintf("n%02d", i)), Liveness: fact.Alive,
			Labels: map[string]string{"rack": fmt.Sprintf("r%d", i/8), "capacity/cpu": "64", "ssd": fmt.Sprint(i%2 == 0)},
		})
	}
	for i := range services {
		svc := fact.Service{Spec: spec.Service{Name: serviceName(i), Needs: map[string]int{"cpu": 1}}, Generation: 1}
		switch i % 5 {
		case 1:
			svc.Spec.Place.Apart = []spec.ServiceName{serviceName(i - 1)}
		case 2:
			svc.Spec.Place.Prefer = []spec.Preference{{Label: "ssd=true", Score: 50}}
		case 3:
			svc.Spec.Place.Near = []spec.Near{{Service: serviceName(i - 1), Score: 20}}
		}
		s.Services = append(s.Services, svc)
	}
	for _, p := range decide.Decide(s).Placements {
		for i := range s.Services {
			if s.Services[i].Spec.Name == p.Service && len(p.Order) > 0 {
				s.Services[i].Order, s.Services[i].Holder = p.Order, p.Order[0]
				n := &s.Nodes[index(s.Nodes, p.Order[0])]
				n.Instances = append(n.Instances, fact.Instance{Service: p.Service, Phase: fact.Running, Generation: 1})
			}
		}
	}
	s.Nodes[0].Liveness = fact.Lost
	return s
}

func serviceName(i int) spec.ServiceName { return spec.ServiceName(fmt.Sprintf("s%04d", i)) }

func index(nodes []fact.Node, name spec.NodeName) int {
	for i := range nodes {
		if nodes[i].Name == name {
			return i
		}
	}
	return -1
}

// sameCluster writes a cell as the other's document.
func sameCluster(s fact.Snapshot) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line(`<cib validate-with="pacemaker-3.7" crm_feature_set="3.16.1" have-quorum="1" dc-uuid="2" epoch="1" num_updates="1" admin_epoch="1"><configuration>`)
	line(`<crm_config><cluster_property_set id="o"><nvpair id="o1" name="stonith-enabled" value="false"/><nvpair id="o2" name="placement-strategy" value="balanced"/></cluster_property_set></crm_config><nodes>`)
	for i, n := range s.Nodes {
		line(`<node id="%d" uname="%s"><instance_attributes id="a%d"><nvpair id="b%d" name="ssd" value="%s"/></instance_attributes><utilization id="u%d"><nvpair id="v%d" name="cpu" value="64"/></utilization></node>`, i+1, n.Name, i, i, n.Labels["ssd"], i, i)
	}
	line("</nodes><resources>")
	for _, v := range s.Services {
		line(`<primitive id="%s" class="ocf" provider="pacemaker" type="Dummy"><meta_attributes id="%s-m"><nvpair id="%s-s" name="resource-stickiness" value="100"/></meta_attributes><operations><op id="%s-o" name="monitor" interval="10s"/></operations><utilization id="%s-u"><nvpair id="%s-v" name="cpu" value="1"/></utilization></primitive>`,
			v.Spec.Name, v.Spec.Name, v.Spec.Name, v.Spec.Name, v.Spec.Name, v.Spec.Name)
	}
	line("</resources><constraints>")
	for _, v := range s.Services {
		for _, o := range v.Spec.Place.Apart {
			line(`<rsc_colocation id="c%s" rsc="%s" with-rsc="%s" score="-INFINITY"/>`, v.Spec.Name, v.Spec.Name, o)
		}
		for range v.Spec.Place.Prefer {
			line(`<rsc_location id="l%s" rsc="%s"><rule id="r%s" score="50"><expression id="e%s" attribute="ssd" operation="eq" value="true"/></rule></rsc_location>`, v.Spec.Name, v.Spec.Name, v.Spec.Name, v.Spec.Name)
		}
		for _, o := range v.Spec.Place.Near {
			line(`<rsc_colocation id="c%s" rsc="%s" with-rsc="%s" score="20"/>`, v.Spec.Name, v.Spec.Name, o.Service)
		}
	}
	line("</constraints></configuration><status>")
	for i, n := range s.Nodes {
		state := `in_ccm="true" crmd="online" join="member" expected="member"`
		if n.Liveness == fact.Lost {
			state = `in_ccm="false" crmd="offline" join="down" expected="down"`
		}
		line(`<node_state id="%d" uname="%s" %s><lrm id="%d"><lrm_resources>`, i+1, n.Name, state, i+1)
		for _, v := range s.Services {
			task, rc, interval := "monitor", 7, 0
			if v.Holder == n.Name {
				task, rc = "start", 0
			}
			line(`<lrm_resource id="%s" class="ocf" provider="pacemaker" type="Dummy"><lrm_rsc_op id="%s_last_0" operation_key="%s_%s_0" operation="%s" interval="%d" call-id="2" rc-code="%d" op-status="0" transition-key="1:1:%d:aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa" transition-magic="0:%d;1:1:%d:aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa"/></lrm_resource>`,
				v.Spec.Name, v.Spec.Name, v.Spec.Name, task, task, interval, rc, rc, rc, rc)
		}
		line("</lrm_resources></lrm></node_state>")
	}
	line("</status></cib>")
	return b.String()
}

// spent is the shortest of several runs, by processor and by clock.
type spent struct{ cpu, wall time.Duration }

func (s *spent) add(cpu, wall time.Duration) {
	if s.cpu == 0 || cpu < s.cpu {
		s.cpu = cpu
	}
	if s.wall == 0 || wall < s.wall {
		s.wall = wall
	}
}

// own measures what this process spends.
func (s *spent) own(do func()) {
	var a, b syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &a)
	begin := time.Now()
	do()
	wall := time.Since(begin)
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &b)
	s.add(time.Duration(b.Utime.Nano()-a.Utime.Nano()+b.Stime.Nano()-a.Stime.Nano()), wall)
}

// TestSpeedBesideTheIncumbent decides on the same cells with both, one after the
// other, and prints what each spent. The incumbent reads the document, schedules
// and writes its graph; Keelson does the same as an import, and by itself decides on
// a snapshot, with all succession lists and reasons.
func TestSpeedBesideTheIncumbent(t *testing.T) {
	rounds := number("KEELSON_BENCH_DECIDE", 0)
	if rounds == 0 {
		t.Skip("set KEELSON_BENCH_DECIDE to a number of rounds, such as 7, to measure")
	}
	needOracle(t)
	t.Log("| cell | Keelson, all lists and reasons: processor, clock | Keelson, the same document | crm_simulate, the same document | ratio of the last two by processor |")
	for _, services := range []int{100, 1000} {
		s := cell(32, services)
		document := sameCluster(s)
		path := filepath.Join(t.TempDir(), "cib.xml")
		if err := os.WriteFile(path, []byte(document), 0o600); err != nil {
			t.Fatal(err)
		}
		var whole, imported, theirs spent
		for range rounds {
			whole.own(func() { decide.Decide(s) })
			imported.own(func() {
				root, err := cib.Read(strings.NewReader(document))
				if err != nil {
					t.Fatal(err)
				}
				crm.Simulate(root, at)
			})
			begin := time.Now()
			cmd := exec.CommandContext(t.Context(), "crm_simulate", "-x", path, "-Q", "-G", filepath.Join(t.TempDir(), "graph.xml"))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("crm_simulate: %v\n%.500s", err, out)
			}
			theirs.add(cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime(), time.Since(begin))
		}
		show := func(s spent) string {
			return fmt.Sprintf("%.1f ms, %.1f ms", float64(s.cpu.Microseconds())/1000, float64(s.wall.Microseconds())/1000)
		}
		t.Logf("| 32 x %d | %s | %s | %s | %.1f |", services, show(whole), show(imported), show(theirs), float64(theirs.cpu)/float64(imported.cpu))
	}
}
