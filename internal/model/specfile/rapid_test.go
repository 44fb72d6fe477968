package specfile

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/keelson/keelson/internal/model/spec"
)

// TestWhatIsWrittenReadsBackTheSame writes and reads services of all shapes.
func TestWhatIsWrittenReadsBackTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := service(t).Normalize()
		if ps := want.Validate(); len(ps) > 0 {
			t.Fatalf("the generator made a service that is not valid: %v", ps)
		}
		content := Marshal(want)
		got, err := Parse("f.yaml", content)
		if err != nil {
			t.Fatalf("%v\n%s", err, content)
		}
		if diff := cmp.Diff([]spec.Service{want}, got); diff != "" {
			t.Fatalf("services (-written +read):\n%s\n%s", diff, content)
		}
	})
}

// anyText is what an argument or variable may hold.
func anyText() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringMatching(`[ -~]{0,12}`),
		rapid.StringOf(rapid.RuneFrom([]rune("ab \t\n\r\v\x07\x1b'\"\\#:,[]{}&*!|>%@`~-?\u0085\u00a0\u2028\ufeff\U0001f600é"))),
		rapid.SampledFrom([]string{"", "true", "no", "~", "null", "012", "1e3", "0x1f", ".inf", "1_000", "---", "...", "- a", "a: b", " a", "a ", "\n", "<<", "="}),
	)
}

func name() *rapid.Generator[string] {
	return rapid.StringMatching(`[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?`)
}

func names[T ~string](t *rapid.T, label, prefix string) []T {
	found := rapid.SliceOfNDistinct(name(), 0, 3, rapid.ID[string]).Draw(t, label)
	var out []T
	for _, n := range found {
		out = append(out, T(prefix+n))
	}
	return out
}

func maybe[T any](t *rapid.T, label string, g *rapid.Generator[T]) T {
	var zero T
	if !rapid.Bool().Draw(t, label+"?") {
		return zero
	}
	return g.Draw(t, label)
}

func maybePointer[T any](t *rapid.T, label string, g *rapid.Generator[T]) *T {
	if !rapid.Bool().Draw(t, label+"?") {
		return nil
	}
	v := g.Draw(t, label)
	return &v
}

func between(lo, hi int64) *rapid.Generator[spec.Duration] {
	return rapid.Map(rapid.Int64Range(lo, hi), func(n int64) spec.Duration { return spec.Duration(n) })
}

const (
	millisecond = 1_000_000
	second      = 1000 * millisecond
	hour        = 3600 * second
)

func service(t *rapid.T) spec.Service {
	s := spec.Service{
		Name:      spec.ServiceName(name().Draw(t, "name")),
		Exclusive: maybePointer(t, "exclusive", rapid.Bool()),
		Stopped:   rapid.Bool().Draw(t, "stopped"),
		Priority:  rapid.IntRange(-spec.MaxPriority, spec.MaxPriority).Draw(t, "priority"),
		Labels:    rapid.MapOfN(rapid.StringMatching(`[a-zA-Z0-9_./-]{1,10}`), rapid.StringMatching(`[ -~]{0,12}`), 0, 3).Draw(t, "labels"),
		Place: spec.Place{
			On:         names[spec.NodeName](t, "on", "a"),
			Never:      names[spec.NodeName](t, "never", "b"),
			Apart:      names[spec.ServiceName](t, "apart", "other-a"),
			Together:   names[spec.ServiceName](t, "together", "other-b"),
			Stickiness: maybePointer(t, "stickiness", rapid.IntRange(0, spec.MaxScore)),
		},
		Failover: spec.Failover{
			TTL:          spec.TTL(maybe(t, "ttl", between(int64(spec.MinTTL), int64(spec.MaxTTL)))),
			Proof:        maybe(t, "proof", rapid.Just(spec.ProofLease)),
			Restarts:     maybePointer(t, "restarts", rapid.IntRange(0, spec.MaxRestarts)),
			Within:       maybe(t, "within", between(second, 168*hour)),
			AgentLoss:    maybePointer(t, "agent_loss", between(0, hour)),
			OnQuorumLoss: maybe(t, "on_quorum_loss", rapid.Just(spec.QuorumLossStop)),
		},
	}
	if !s.IsExclusive() && rapid.Bool().Draw(t, "kept") {
		s.Failover.OnQuorumLoss = spec.QuorumLossKeep
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "preferences") {
		p := spec.Preference{Score: rapid.IntRange(1, spec.MaxScore).Draw(t, "score")}
		if i == 0 {
			p.Label = name().Draw(t, "key") + "=" + rapid.StringMatching(`[ -~]{1,8}`).Draw(t, "value")
		} else {
			p.Node = spec.NodeName(name().Draw(t, "node"))
		}
		s.Place.Prefer = append(s.Place.Prefer, p)
	}
	for i := range rapid.IntRange(1, 4).Draw(t, "parts") {
		s.Parts = append(s.Parts, part(t, i))
	}
	return s
}

func part(t *rapid.T, i int) spec.Part {
	p := spec.Part{
		Name:         maybe(t, "part name", rapid.Just(fmt.Sprintf("part%d", i))),
		StartTimeout: maybe(t, "start_timeout", between(100*millisecond, hour)),
	}
	if rapid.Bool().Draw(t, "address part") {
		p.Address = &spec.Address{
			Prefix:    rapid.SampledFrom([]string{"10.77.%d.100/24", "fd00:77::1%d/64", "192.168.7.1%d/32"}).Draw(t, "prefix"),
			Interface: maybe(t, "interface", rapid.StringMatching(`[a-z]{2,5}[0-9.-]{0,3}`)),
		}
		p.Address.Prefix = fmt.Sprintf(p.Address.Prefix, i)
	} else {
		p.Exec = exec(t)
	}
	if rapid.Bool().Draw(t, "short check") {
		p.Check = check(t)
	} else {
		p.Checks = spec.Checks{Startup: check(t), Liveness: check(t), Readiness: check(t)}
	}
	return p
}

func exec(t *rapid.T) *spec.Exec {
	return &spec.Exec{
		Command:     append([]string{"/usr/bin/x"}, rapid.SliceOfN(anyText(), 0, 4).Draw(t, "arguments")...),
		User:        maybe(t, "user", rapid.SampledFrom([]string{"nobody", "65534", "www-data", "yes"})),
		Group:       maybe(t, "group", rapid.SampledFrom([]string{"nogroup", "0"})),
		Dir:         maybe(t, "dir", rapid.SampledFrom([]string{"/", "/srv/a b", "/é"})),
		Env:         rapid.MapOfN(rapid.StringMatching(`[A-Z_][A-Z0-9_]{0,5}`), anyText(), 0, 3).Draw(t, "env"),
		StopSignal:  maybe(t, "stop_signal", rapid.SampledFrom([]string{"TERM", "sigint", "HUP"})),
		Grace:       maybePointer(t, "grace", between(0, hour)),
		OutputBytes: maybe(t, "output", rapid.Map(rapid.Int64Range(int64(spec.MinOutput), int64(spec.MaxOutput)), func(n int64) spec.Size { return spec.Size(n) })),
		Limits: spec.Limits{
			Memory:    maybe(t, "memory", rapid.Map(rapid.Int64Range(int64(spec.MinMemory), int64(spec.MaxMemory)), func(n int64) spec.Size { return spec.Size(n) })),
			CPU:       maybe(t, "cpu", rapid.Float64Range(spec.MinCPU, spec.MaxCPU)),
			Processes: maybe(t, "processes", rapid.IntRange(1, spec.MaxProcesses)),
			OpenFiles: maybe(t, "open_files", rapid.IntRange(spec.MinOpenFiles, spec.MaxOpenFiles)),
		},
	}
}

func check(t *rapid.T) *spec.Check {
	c := &spec.Check{
		Every:     maybe(t, "every", between(50*millisecond, hour)),
		Timeout:   maybe(t, "timeout", between(10*millisecond, 600*second)),
		After:     maybe(t, "after", between(0, hour)),
		Failures:  rapid.IntRange(0, spec.MaxInARow).Draw(t, "failures"),
		Successes: rapid.IntRange(0, spec.MaxInARow).Draw(t, "successes"),
	}
	switch rapid.IntRange(0, 3).Draw(t, "check kind") {
	case 0:
		return nil
	case 1:
		c.HTTP = "http://10.77.0.100:8080/health?a=b&c=d"
	case 2:
		c.TCP = rapid.SampledFrom([]string{"10.77.0.100:80", "[fd00::1]:80", "host:1"}).Draw(t, "tcp")
	default:
		c.Exec = []string{"/bin/check", anyText().Draw(t, "argument")}
	}
	return c
}
