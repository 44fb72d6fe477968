package spec

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func pointer[T any](v T) *T { return &v }

func TestTextsAreReadAndWritten(t *testing.T) {
	type all struct {
		D Duration
		S Size
		T TTL
	}
	tests := []struct {
		name string
		json string
		want all
		back string // if it differs
	}{
		{"usual units", `{"D":"1.5s","S":"512MiB","T":"2s"}`, all{Duration(1500 * time.Millisecond), 512 << 20, TTL(2 * time.Second)}, ""},
		{"auto", `{"D":"0s","S":"0B","T":"auto"}`, all{}, ""},
		{"zeros at the end are dropped", `{"D":"10m0s","S":"1000kB","T":"1m0s"}`, all{Duration(10 * time.Minute), 1e6, TTL(time.Minute)}, `{"D":"10m","S":"1MB","T":"1m"}`},
		{"hours", `{"D":"1h","S":"1024KiB","T":"60s"}`, all{Duration(time.Hour), 1 << 20, TTL(time.Minute)}, `{"D":"1h","S":"1MiB","T":"1m"}`},
		{"fractions and spaces", `{"D":"1h30m5s","S":"1.5 GiB","T":"500ms"}`, all{Duration(5405 * time.Second), 3 << 29, TTL(500 * time.Millisecond)}, `{"D":"1h30m5s","S":"1536MiB","T":"500ms"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got all
			if err := json.Unmarshal([]byte(tt.json), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("read (-want +got):\n%s", diff)
			}
			back, err := json.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			want := tt.back
			if want == "" {
				want = tt.json
			}
			if string(back) != want {
				t.Errorf("written %s, want %s", back, want)
			}
		})
	}
}

func TestTextsWithoutUnitsAreRefused(t *testing.T) {
	for _, s := range []string{"", "10", "MiB", "10 M", "-1MiB", "1.MiB", "1.2.3MB", "99999999999TiB", "1e3MB", "10MiBs", "9223372036854775807kB", "+1MB"} {
		if v := Size(7); v.UnmarshalText([]byte(s)) == nil || v != 7 {
			t.Errorf("the size %q was read as %v", s, v)
		}
	}
	for _, s := range []string{"", "10", "ten", "10 s", "auto", "1y"} {
		if v := Duration(7); v.UnmarshalText([]byte(s)) == nil || v != 7 {
			t.Errorf("the duration %q was read as %v", s, v)
		}
	}
	for _, s := range []string{"", "0s", "5", "Auto"} {
		if v := TTL(7); v.UnmarshalText([]byte(s)) == nil || v != 7 {
			t.Errorf("the TTL %q was read as %v", s, v)
		}
	}
}

func TestSizesAndDurationsAreWrittenExactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := Size(rapid.Int64Range(0, 1<<50).Draw(t, "size"))
		var s Size
		if err := s.UnmarshalText([]byte(size.String())); err != nil || s != size {
			t.Fatalf("%d is written %v and read as %d (%v)", int64(size), size, int64(s), err)
		}
		duration := Duration(rapid.Int64().Draw(t, "duration"))
		var d Duration
		if err := d.UnmarshalText([]byte(duration.String())); err != nil || d != duration {
			t.Fatalf("%d is written %v and read as %d (%v)", int64(duration), duration, int64(d), err)
		}
	})
}

// shop is a valid service for tests to spoil.
func shop() Service {
	return Service{
		Name: "shop",
		Parts: []Part{
			{Address: &Address{Prefix: "10.77.0.100/24"}},
			{Exec: &Exec{Command: []string{"/usr/bin/shopd"}}},
		},
	}
}

func TestValidateFindsWhatIsWrong(t *testing.T) {
	type found struct {
		Path string
		Code Code
	}
	prefix := func(p string) func(*Service) { return func(s *Service) { s.Parts[0].Address.Prefix = p } }
	badPrefix := []found{{"parts[0].address.prefix", BadAddress}}
	tests := []struct {
		name  string
		spoil func(*Service)
		want  []found
	}{
		{"a good service has no problem", func(*Service) {}, nil},
		{"no name", func(s *Service) { s.Name = "" }, []found{{"name", BadName}}},
		{"a name that is a path", func(s *Service) { s.Name = "../x" }, []found{{"name", BadName}}},
		{"a name of 64 characters", func(s *Service) { s.Name = ServiceName(strings.Repeat("a", 64)) }, []found{{"name", BadName}}},
		{"no parts", func(s *Service) { s.Parts = nil }, []found{{"parts", NoParts}}},
		{"33 parts", func(s *Service) {
			s.Parts = nil
			for range 33 {
				s.Parts = append(s.Parts, shop().Parts[1])
			}
		}, []found{{"parts", TooMany}}},
		{"a part of no kind", func(s *Service) { s.Parts[0].Address = nil }, []found{{"parts[0]", BadKind}}},
		{"a part of two kinds", func(s *Service) { s.Parts[0].Exec = s.Parts[1].Exec }, []found{{"parts[0]", BadKind}}},
		{"two parts of one name", func(s *Service) { s.Parts[0].Name, s.Parts[1].Name = "x", "x" }, []found{{"parts[1].name", Clash}}},
		{"one address twice", func(s *Service) { s.Parts[1] = Part{Address: &Address{Prefix: "10.77.0.100/25"}} }, []found{{"parts[1].address.prefix", Clash}}},
		{"networks that overlap", func(s *Service) { s.Parts[1] = Part{Address: &Address{Prefix: "10.77.9.1/16"}} }, []found{{"parts[1].address.prefix", Clash}}},
		{"a host address beside a network is fine", func(s *Service) { s.Parts[1] = Part{Address: &Address{Prefix: "10.77.0.101/32"}} }, nil},
		{"an IPv6 address is fine", prefix("fd00::100/64"), nil},
		{"no prefix length", prefix("10.77.0.100"), badPrefix},
		{"prefix length 0", prefix("10.77.0.100/0"), badPrefix},
		{"prefix length 33", prefix("10.77.0.100/33"), badPrefix},
		{"the unspecified address", prefix("0.0.0.0/24"), badPrefix},
		{"a loopback address", prefix("127.1.2.3/8"), badPrefix},
		{"the IPv6 loopback address", prefix("::1/128"), badPrefix},
		{"a multicast address", prefix("224.0.0.18/24"), badPrefix},
		{"an IPv6 multicast address", prefix("ff02::1/64"), badPrefix},
		{"a reserved address", prefix("255.255.255.255/32"), badPrefix},
		{"an IPv4 address in IPv6 form", prefix("::ffff:10.77.0.100/120"), badPrefix},
		{"the network itself", prefix("10.77.0.0/24"), badPrefix},
		{"the broadcast address", prefix("10.77.0.255/24"), badPrefix},
		{"both addresses of a /31 are hosts", prefix("10.77.0.0/31"), nil},
		{"a link-local address needs an interface", prefix("fe80::1/64"), badPrefix},
		{"a link-local address with an interface", func(s *Service) { s.Parts[0].Address = &Address{"fe80::1/64", "eth0"} }, nil},
		{"an interface with a percent sign", func(s *Service) { s.Parts[0].Address.Interface = "a%b" }, []found{{"parts[0].address.interface", BadInterface}}},
		{"a relative command", func(s *Service) { s.Parts[1].Exec.Command[0] = "shopd" }, []found{{"parts[1].exec.command[0]", BadCommand}}},
		{"no command", func(s *Service) { s.Parts[1].Exec.Command = nil }, []found{{"parts[1].exec.command", BadCommand}}},
		{"an argument with a zero byte", func(s *Service) { s.Parts[1].Exec.Command = []string{"/bin/x", "a\x00"} }, []found{{"parts[1].exec.command[1]", BadCommand}}},
		{"arguments without end", func(s *Service) { s.Parts[1].Exec.Command = []string{"/bin/x", strings.Repeat("a", MaxArgBytes)} }, []found{{"parts[1].exec.command", TooLong}}},
		{"an unknown stop signal", func(s *Service) { s.Parts[1].Exec.StopSignal = "STOP" }, []found{{"parts[1].exec.stop_signal", BadSignal}}},
		{"a stop signal with its prefix", func(s *Service) { s.Parts[1].Exec.StopSignal = "SIGINT" }, nil},
		{"a user with a colon", func(s *Service) { s.Parts[1].Exec.User = "a:b" }, []found{{"parts[1].exec.user", BadUser}}},
		{"a group beyond the range", func(s *Service) { s.Parts[1].Exec.Group = "4294967295" }, []found{{"parts[1].exec.group", BadUser}}},
		{"a relative folder", func(s *Service) { s.Parts[1].Exec.Dir = "srv" }, []found{{"parts[1].exec.dir", BadPath}}},
		{"a variable of Keelson's own", func(s *Service) { s.Parts[1].Exec.Env = map[string]string{"KEELSON_EPOCH": "1", "1A": "", "B": "\xff"} }, []found{{"parts[1].exec.env.1A", BadEnv}, {"parts[1].exec.env.B", BadEnv}, {"parts[1].exec.env.KEELSON_EPOCH", BadEnv}}},
		{"limits out of range", func(s *Service) {
			s.Parts[1].Exec.Limits = Limits{Memory: 1, CPU: math.NaN(), Processes: -1, OpenFiles: 3}
		}, []found{{"parts[1].exec.limits.memory", OutOfRange}, {"parts[1].exec.limits.cpu", OutOfRange}, {"parts[1].exec.limits.processes", OutOfRange}, {"parts[1].exec.limits.open_files", OutOfRange}}},
		{"output out of range", func(s *Service) { s.Parts[1].Exec.OutputBytes = 1 << 40 }, []found{{"parts[1].exec.output", OutOfRange}}},
		{"a negative grace", func(s *Service) { s.Parts[1].Exec.Grace = pointer(Duration(-1)) }, []found{{"parts[1].exec.grace", OutOfRange}}},
		{"a stop timeout shorter than the grace", func(s *Service) { s.Parts[1].StopTimeout = Duration(time.Second) }, []found{{"parts[1].stop_timeout", Clash}}},
		{"timeouts out of range", func(s *Service) {
			s.Parts[0].StartTimeout, s.Parts[0].StopTimeout = Duration(time.Millisecond), Duration(2*time.Hour)
		}, []found{{"parts[0].start_timeout", OutOfRange}, {"parts[0].stop_timeout", OutOfRange}}},
		{"a check of no kind", func(s *Service) { s.Parts[1].Check = &Check{} }, []found{{"parts[1].check", BadCheck}}},
		{"a check of two kinds", func(s *Service) { s.Parts[1].Check = &Check{TCP: "a:1", Exec: []string{"/bin/x"}} }, []found{{"parts[1].check", BadCheck}}},
		{"check and checks", func(s *Service) {
			s.Parts[1].Check, s.Parts[1].Checks.Startup = &Check{TCP: "a:1"}, &Check{TCP: "[fd00::1]:1"}
		}, []found{{"parts[1].check", Clash}}},
		{"a URL without host", func(s *Service) { s.Parts[1].Check = &Check{HTTP: "http:///x"} }, []found{{"parts[1].check.http", BadURL}}},
		{"a URL of another scheme", func(s *Service) { s.Parts[1].Check = &Check{HTTP: "file:///etc/passwd"} }, []found{{"parts[1].check.http", BadURL}}},
		{"port 0", func(s *Service) { s.Parts[1].Checks.Liveness = &Check{TCP: "a:0"} }, []found{{"parts[1].checks.liveness.tcp", BadHostPort}}},
		{"check numbers out of range", func(s *Service) {
			s.Parts[1].Checks.Readiness = &Check{TCP: "a:1", Every: 1, Timeout: Duration(time.Hour), After: -1, Failures: 101, Successes: -1}
		}, []found{
			{"parts[1].checks.readiness.every", OutOfRange},
			{"parts[1].checks.readiness.timeout", OutOfRange},
			{"parts[1].checks.readiness.after", OutOfRange},
			{"parts[1].checks.readiness.failures", OutOfRange},
			{"parts[1].checks.readiness.successes", OutOfRange},
		}},
		{"a priority out of range", func(s *Service) { s.Priority = 1001 }, []found{{"priority", OutOfRange}}},
		{"apart from itself", func(s *Service) { s.Place.Apart = []ServiceName{"shop"} }, []found{{"place.apart[0]", SelfReference}}},
		{"together with itself", func(s *Service) { s.Place.Together = []ServiceName{"shop"} }, []found{{"place.together[0]", SelfReference}}},
		{"apart and together at once", func(s *Service) {
			s.Place.Apart, s.Place.Together = []ServiceName{"db"}, []ServiceName{"db"}
		}, []found{{"place.together[0]", Clash}}},
		{"a node allowed and forbidden", func(s *Service) { s.Place.On, s.Place.Never = []NodeName{"a.b", "c"}, []NodeName{"c"} }, []found{{"place.never[0]", Clash}}},
		{"a preference of neither", func(s *Service) { s.Place.Prefer = []Preference{{Score: 1}} }, []found{{"place.prefer[0]", BadPreference}}},
		{"a preference of both", func(s *Service) { s.Place.Prefer = []Preference{{Label: "a=b", Node: "a", Score: 1}} }, []found{{"place.prefer[0]", BadPreference}}},
		{"a preference of a label without value", func(s *Service) { s.Place.Prefer = []Preference{{Label: "a=", Score: MaxScore + 1}} }, []found{{"place.prefer[0].label", BadLabel}, {"place.prefer[0].score", OutOfRange}}},
		{"65 preferences", func(s *Service) {
			for range 65 {
				s.Place.Prefer = append(s.Place.Prefer, Preference{Node: "a", Score: 1})
			}
		}, []found{{"place.prefer", TooMany}}},
		{"a negative stickiness", func(s *Service) { s.Place.Stickiness = pointer(-1) }, []found{{"place.stickiness", OutOfRange}}},
		{"failover numbers out of range", func(s *Service) {
			s.Failover = Failover{TTL: 1, Restarts: pointer(-1), Within: 1, AgentLoss: pointer(Duration(2 * time.Hour))}
		}, []found{{"failover.ttl", OutOfRange}, {"failover.restarts", OutOfRange}, {"failover.within", OutOfRange}, {"failover.agent_loss", OutOfRange}}},
		{"a proof that this version cannot give", func(s *Service) { s.Failover.Proof = ProofFence }, []found{{"failover.proof", BadProof}}},
		{"an unknown proof", func(s *Service) { s.Failover.Proof = "hope" }, []found{{"failover.proof", BadProof}}},
		{"an exclusive service that is kept", func(s *Service) { s.Failover.OnQuorumLoss = QuorumLossKeep }, []found{{"failover.on_quorum_loss", Clash}}},
		{"a service said to be exclusive that is kept", func(s *Service) {
			s.Exclusive, s.Failover.OnQuorumLoss = pointer(true), QuorumLossKeep
		}, []found{{"failover.on_quorum_loss", Clash}}},
		{"an exclusive service that stops", func(s *Service) { s.Failover.OnQuorumLoss = QuorumLossStop }, nil},
		{"a service that is kept", func(s *Service) {
			s.Exclusive, s.Failover.OnQuorumLoss = pointer(false), QuorumLossKeep
		}, nil},
		{"copies of a service without an address", func(s *Service) { s.Parts, s.Copies = s.Parts[1:], &Copies{Count: 3} }, nil},
		{"copies that share an address", func(s *Service) { s.Copies = &Copies{Count: 3} }, []found{{"parts[0].address", Clash}}},
		{"a primary with an address of its own", func(s *Service) {
			s.Parts[0].Role, s.Copies = RolePrimary, &Copies{Count: 2, Primaries: 1}
			s.Parts[1].Exec.Promote, s.Parts[1].Exec.Demote = []string{"/bin/up"}, []string{"/bin/down", "now"}
		}, nil},
		{"a part for a role that there is not", func(s *Service) { s.Parts[0].Role = RolePrimary }, []found{{"parts[0].role", Clash}}},
		{"a part for replicas", func(s *Service) {
			s.Parts[0].Role, s.Parts[1].Role, s.Copies = RolePrimary, RoleReplica, &Copies{Primaries: 1}
		}, []found{{"parts[1].role", BadRole}}},
		{"a promotion without roles", func(s *Service) { s.Parts[1].Exec.Promote = []string{"/bin/up"} }, []found{{"parts[1].exec.promote", Clash}}},
		{"a demotion alone, and not of a program", func(s *Service) {
			s.Parts[0].Role, s.Copies = RolePrimary, &Copies{Primaries: 1}
			s.Parts[1].Exec.Demote = []string{"down"}
		}, []found{{"parts[1].exec.demote", Clash}, {"parts[1].exec.demote[0]", BadCommand}}},
		{"a promotion of what only the primary has", func(s *Service) {
			s.Parts[0].Role, s.Parts[1].Role, s.Copies = RolePrimary, RolePrimary, &Copies{Primaries: 1}
			s.Parts[1].Exec.Promote = []string{"/bin/up"}
		}, []found{{"parts[1].exec.promote", Clash}}},
		{"two primaries", func(s *Service) { s.Parts, s.Copies = s.Parts[1:], &Copies{Count: 3, Primaries: 2} }, nil},
		{"a primary that is not exclusive", func(s *Service) {
			s.Parts, s.Exclusive, s.Copies = s.Parts[1:], pointer(false), &Copies{Primaries: 1}
		}, []found{{"exclusive", Clash}}},
		{"copies of what is exclusive", func(s *Service) {
			s.Parts, s.Exclusive, s.Copies = s.Parts[1:], pointer(true), &Copies{Count: 2}
		}, []found{{"exclusive", Clash}}},
		{"copies with roles on one node", func(s *Service) {
			s.Parts, s.Copies = s.Parts[1:], &Copies{Primaries: 1, Unique: true, PerNode: 2}
		}, []found{{"copies.per_node", Clash}}},
		{"an order, a spread and a maintenance", func(s *Service) {
			s.After, s.Place.Spread, s.Maintenance = []After{{Service: "db", Role: RolePrimary}}, []string{"rack"}, true
		}, nil},
		{"a fence", func(s *Service) { s.Failover.StopFailure = StopFence }, nil},
		{"a fence for what may run twice", func(s *Service) {
			s.Failover.StopFailure, s.Exclusive = StopFence, pointer(false)
		}, []found{{"failover.stop_failure", Clash}}},
		{"a stop whose failure is ignored", func(s *Service) { s.Failover.StopFailure = "ignore" }, []found{{"failover.stop_failure", BadKind}}},
		{"two primaries with one address", func(s *Service) {
			s.Parts[0].Role, s.Copies = RolePrimary, &Copies{Count: 3, Primaries: 2}
		}, []found{{"parts[0].address", Clash}}},
		{"more primaries than there can be leases", func(s *Service) {
			s.Parts, s.Copies = s.Parts[1:], &Copies{Primaries: 9}
		}, []found{{"copies.primaries", OutOfRange}}},
		{"an unknown word for the loss of the quorum", func(s *Service) { s.Failover.OnQuorumLoss = "go" }, []found{{"failover.on_quorum_loss", BadQuorumLoss}}},
		{"a label with a line break", func(s *Service) { s.Labels = map[string]string{"a": "b\n"} }, []found{{"labels.a", BadLabel}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := shop()
			tt.spoil(&s)
			problems := s.Validate()
			var got []found
			for _, p := range problems {
				got = append(got, found{p.Path, p.Code})
				if p.Message == "" || p.Warning {
					t.Errorf("the problem %+v has no sentence or is a warning", p)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s\n%v", diff, problems)
			}
		})
	}
}

func TestProblemsAreBounded(t *testing.T) {
	s := shop()
	for range 500 {
		s.Place.Apart = append(s.Place.Apart, "BAD!")
		s.Place.Together = append(s.Place.Together, "BAD!")
	}
	if got := len(s.Validate()); got != MaxProblems {
		t.Errorf("%d problems, want %d", got, MaxProblems)
	}
}

func TestNormalizeNamesTheParts(t *testing.T) {
	exec := Part{Exec: &Exec{Command: []string{"/bin/x"}}}
	named := exec
	named.Name = "exec-2"
	got := Service{Name: "a", Parts: []Part{exec, exec, named, shop().Parts[0]}}.Normalize()
	var names []string
	for _, p := range got.Parts {
		names = append(names, p.Name)
	}
	if diff := cmp.Diff([]string{"exec", "exec-3", "exec-2", "address"}, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(got, got.Normalize()); diff != "" {
		t.Errorf("normalizing twice changes something:\n%s", diff)
	}
}

func TestNormalizeSharesNothing(t *testing.T) {
	s := shop()
	s.Parts[1].Exec.Env = map[string]string{"A": "1"}
	s.Parts[1].Check = &Check{Exec: []string{"/bin/x"}}
	n := s.Normalize()
	n.Parts[1].Exec.Env["A"], n.Parts[1].Exec.Command[0], n.Parts[1].Check.Exec[0], n.Parts[0].Address.Prefix = "2", "/y", "/y", ""
	want := shop()
	want.Parts[1].Exec.Env = map[string]string{"A": "1"}
	want.Parts[1].Check = &Check{Exec: []string{"/bin/x"}}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("the original changed (-want +got):\n%s", diff)
	}
}

func TestWhatIsNotSetHasItsDefault(t *testing.T) {
	var s Service
	var e Exec
	p := Part{Exec: &e}
	check, run := Check{TCP: "a:1"}, Check{Exec: []string{"/bin/x"}}
	got := []any{
		s.IsExclusive(), s.Failover.EffectiveTTL(), s.Failover.EffectiveProof(), s.Failover.EffectiveRestarts(), s.Failover.EffectiveWithin(),
		s.Failover.EffectiveAgentLoss(), s.Place.EffectiveStickiness(), p.Kind(), p.EffectiveStartTimeout(), p.EffectiveStopTimeout(),
		e.EffectiveDir(), e.EffectiveStopSignal(), e.EffectiveGrace(), e.EffectiveOutputBytes(), check.Kind(), check.EffectiveEvery(),
		check.EffectiveTimeout(), run.EffectiveTimeout(), check.EffectiveFailures(), check.EffectiveSuccesses(),
	}
	want := []any{
		true, time.Second, ProofLease, 3, 10 * time.Minute, 30 * time.Second, 100, "exec", 30 * time.Second, 10 * time.Second,
		"/", "TERM", 5 * time.Second, int64(10 << 20), "tcp", time.Second, 500 * time.Millisecond, 5 * time.Second, 3, 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

func TestALongGraceStretchesTheStop(t *testing.T) {
	p := Part{Exec: &Exec{Grace: pointer(Duration(time.Minute))}}
	if got, want := p.EffectiveStopTimeout(), 65*time.Second; got != want {
		t.Errorf("stop timeout %v, want %v", got, want)
	}
}

func TestConflictsSeeTheOtherServices(t *testing.T) {
	s := shop()
	s.Place.Apart = []ServiceName{"db", "cache"}
	other := Service{Name: "db", Parts: []Part{{Address: &Address{Prefix: "10.77.0.100/16"}}}}
	older := shop()
	var got []string
	for _, p := range Conflicts(s, []Service{older, other}) {
		got = append(got, fmt.Sprint(p.Path, " ", p.Code, " ", p.Warning))
	}
	want := []string{"parts[0].address.prefix address-taken false"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("conflicts (-want +got):\n%s", diff)
	}
}

func TestSignalsHaveTheirLinuxNumbers(t *testing.T) {
	got := make(map[string]int)
	for _, n := range []string{"TERM", "sigusr1", "SIGWINCH", "KILL"} {
		got[n], _ = SignalNumber(n)
	}
	if diff := cmp.Diff(map[string]int{"TERM": 15, "sigusr1": 10, "SIGWINCH": 28, "KILL": 9}, got); diff != "" {
		t.Errorf("numbers (-want +got):\n%s", diff)
	}
	if _, ok := SignalNumber("STOP"); ok {
		t.Error("STOP may be used to end a program")
	}
}

func FuzzSize(f *testing.F) {
	f.Add("1.5GiB")
	f.Fuzz(func(t *testing.T, s string) {
		var v Size
		if err := v.UnmarshalText([]byte(s)); err == nil && v < 0 {
			t.Errorf("%q was read as %d", s, int64(v))
		}
	})
}

func TestWhomAServiceShunsOnANode(t *testing.T) {
	tests := []struct {
		name   string
		place  Place
		labels map[string]string
		want   []ServiceName
	}{
		{"whom it is apart from", Place{Apart: []ServiceName{"a", "b"}}, nil, []ServiceName{"a", "b"}},
		{"whom a rule of near keeps away", Place{Apart: []ServiceName{"a"}, Near: []Near{{Service: "b", Score: -MaxScore}}}, nil, []ServiceName{"a", "b"}},
		{"no wish, and nobody it is drawn to", Place{Near: []Near{{Service: "a", Score: 1 - MaxScore}, {Service: "b", Score: MaxScore}}}, nil, nil},
		{"no role", Place{Near: []Near{{Service: "a", Score: -MaxScore, Role: RolePrimary}, {Service: "b", Score: -MaxScore, As: RoleReplica}}}, nil, nil},
		{"who is kept from the node's rack", Place{Near: []Near{{Service: "a", Score: -MaxScore, Same: "rack"}}}, map[string]string{"rack": "r1"}, []ServiceName{"a"}},
		{"unless it is in none", Place{Near: []Near{{Service: "a", Score: -MaxScore, Same: "rack"}}}, map[string]string{"room": "1"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, tt.place.Shunned(tt.labels)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
