package specfile

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/model/spec"
)

// TestFiles reads each input of testdata as a file and prints what it means, or
// what is wrong with it. The commands: "parse", and "against" for a file beside
// the services that the last "cell" defined.
func TestFiles(t *testing.T) {
	datadriven.Walk(t, "testdata/files", func(t *testing.T, path string) {
		var cell []spec.Service
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			input := strings.ReplaceAll(d.Input, "\\t", "\t")
			switch d.Cmd {
			case "cell":
				services, err := Parse("cell.yaml", []byte(input))
				if err != nil {
					t.Fatal(err)
				}
				cell = services
				return ""
			case "against":
				f, err := Read("f.yaml", []byte(input))
				if err != nil {
					return err.Error()
				}
				warnings, err := f.CheckAgainst(cell)
				if err != nil {
					return err.Error()
				}
				unknown, err := f.CheckNames(cell, []spec.NodeName{"alpha", "bravo"})
				if err != nil {
					return err.Error()
				}
				return append(warnings, unknown...).Error()
			case "parse":
				services, err := Parse("f.yaml", []byte(input))
				if err != nil {
					return err.Error()
				}
				return string(Marshal(services...))
			}
			t.Fatalf("unknown command %q", d.Cmd)
			return ""
		})
	})
}

func TestTheExampleOfTheDesignIsReadWhole(t *testing.T) {
	content, err := os.ReadFile("testdata/shop.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse("shop.yaml", content)
	if err != nil {
		t.Fatal(err)
	}
	restarts, loss := 3, spec.Duration(30*time.Second)
	want := []spec.Service{{
		Name: "shop",
		Parts: []spec.Part{
			{Name: "address", Address: &spec.Address{Prefix: "10.77.0.100/24"}},
			{
				Name: "exec",
				Exec: &spec.Exec{Command: []string{"/usr/bin/shopd", "--data", "/srv/shop", "--port", "8080"}},
				Check: &spec.Check{
					HTTP:    "http://10.77.0.100/healthz",
					Every:   spec.Duration(time.Second),
					Timeout: spec.Duration(500 * time.Millisecond),
					After:   spec.Duration(5 * time.Second),
				},
			},
		},
		Place: spec.Place{
			Prefer: []spec.Preference{{Label: "ssd=true", Score: 100}},
			Apart:  []spec.ServiceName{"shop-report"},
		},
		Failover: spec.Failover{Proof: spec.ProofLease, Restarts: &restarts, Within: spec.Duration(10 * time.Minute), AgentLoss: &loss},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
}

func TestProblemsAreTyped(t *testing.T) {
	_, err := Parse("shop.yaml", []byte("kind: service\nname: shop\nparts:\n  - exec:\n      comand: [/bin/true]\n"))
	var got Problems
	if !errors.As(err, &got) {
		t.Fatalf("error is %T, not Problems", err)
	}
	want := Problems{{
		File: "shop.yaml", Line: 5, Column: 7, Path: "parts[0].exec.comand", Code: UnknownKey,
		Message: `unknown key "comand"`, Hint: `did you mean "command"?`, Excerpt: "      comand: [/bin/true]",
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestHostileFilesAreRefusedAtOnce(t *testing.T) {
	const valid = "kind: service\nname: a\nparts:\n  - address: 10.77.0.100/24\n"
	tests := []struct {
		name    string
		content string
		want    spec.Code
	}{
		{"a file of 10 MB is refused before it is parsed", strings.Repeat("a: b\n", 2<<20), TooLarge},
		{"more values than any service needs", strings.Repeat("abcdef: b\n", 1<<16), TooLarge},
		{"brackets nested deep", strings.Repeat("[", 20_000), TooDeep},
		{"braces nested deep", strings.Repeat("{", 20_000), TooDeep},
		{"list items nested on one line", strings.Repeat("- ", 20_000), TooDeep},
		{"keys nested on one line", strings.Repeat("a: ", 20_000), TooDeep},
		{"complex keys nested on one line", strings.Repeat("? ", 20_000), TooDeep},
		{"anchors in a row", strings.Repeat("&a ", 20_000), Unsupported},
		{"tags in a row", strings.Repeat("!a ", 20_000), Unsupported},
		{"an alias bomb", "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", Unsupported},
		{"more documents than allowed", strings.Repeat(valid+"---\n", 300), TooManyDocuments},
		{"half a character", valid + "labels: {a: \"\xc3\"}", NotText},
		{"a zero byte", valid + "labels: {a: \x00}", NotText},
		{"nothing", "", Empty},
		{"only a comment", "# shop\n", Empty},
		{"only separators", strings.Repeat("---\n", 10), Empty},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("f.yaml", []byte(tt.content))
			var got Problems
			if !errors.As(err, &got) || len(got) != 1 || got[0].Code != tt.want {
				t.Fatalf("got %v, want one problem with code %s", err, tt.want)
			}
			if len(err.Error()) > 1000 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

func TestAtMostTwentyProblemsArePrinted(t *testing.T) {
	var b strings.Builder
	b.WriteString("kind: service\nname: a\nparts: [{address: 10.77.0.100/24}]\n")
	for i := range 30 {
		b.WriteString("unknown" + string(rune('a'+i%26)) + strings.Repeat("x", i/26) + ": 1\n")
	}
	_, err := Parse("f.yaml", []byte(b.String()))
	lines := strings.Split(err.Error(), "\n")
	if got, want := lines[len(lines)-1], "and 10 more"; got != want {
		t.Errorf("the last line is %q, want %q", got, want)
	}
	if got := strings.Count(err.Error(), "f.yaml:"); got != MaxProblems {
		t.Errorf("%d problems are printed, want %d", got, MaxProblems)
	}
}

func TestSchemaKnowsTheKeysThatAreRead(t *testing.T) {
	var root struct {
		Defs map[string]struct {
			Properties map[string]json.RawMessage `json:"properties"`
		} `json:"$defs"`
	}
	if err := json.Unmarshal(Schema(), &root); err != nil {
		t.Fatal(err)
	}
	d := &decoder{}
	tables := []struct {
		def  string
		keys []key
		from any
	}{
		{"service", d.serviceKeys(&spec.Service{}), spec.Service{}},
		{"part", d.partKeys(&spec.Part{}), spec.Part{}},
		{"address", d.addressKeys(&spec.Address{}), spec.Address{}},
		{"exec", d.execKeys(&spec.Exec{}), spec.Exec{}},
		{"limits", d.limitsKeys(&spec.Limits{}), spec.Limits{}},
		{"checks", d.checksKeys(&spec.Checks{}), spec.Checks{}},
		{"check", d.checkKeys(&spec.Check{}), spec.Check{}},
		{"place", d.placeKeys(&spec.Place{}), spec.Place{}},
		{"preference", d.preferenceKeys(&spec.Preference{}), spec.Preference{}},
		{"failover", d.failoverKeys(&spec.Failover{}), spec.Failover{}},
	}
	for _, tt := range tables {
		t.Run(tt.def, func(t *testing.T) {
			var read, known, fields []string
			for _, k := range tt.keys {
				read = append(read, k.name)
			}
			for k := range root.Defs[tt.def].Properties {
				known = append(known, k)
			}
			typ := reflect.TypeOf(tt.from)
			for i := range typ.NumField() {
				name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
				fields = append(fields, name)
			}
			if tt.def == "service" {
				fields = append(fields, "kind")
			}
			slices.Sort(read)
			slices.Sort(known)
			slices.Sort(fields)
			if diff := cmp.Diff(read, known); diff != "" {
				t.Errorf("keys that are read and keys of the schema (-read +schema):\n%s", diff)
			}
			if diff := cmp.Diff(read, fields); diff != "" {
				t.Errorf("keys that are read and fields of the spec (-read +spec):\n%s", diff)
			}
		})
	}
}

func TestSchemaListsTheStopSignals(t *testing.T) {
	var root struct {
		Defs struct {
			Exec struct {
				Properties struct {
					Signal struct {
						Enum []string `json:"enum"`
					} `json:"stop_signal"`
				} `json:"properties"`
			} `json:"exec"`
		} `json:"$defs"`
	}
	if err := json.Unmarshal(Schema(), &root); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(spec.StopSignals(), root.Defs.Exec.Properties.Signal.Enum); diff != "" {
		t.Errorf("stop signals (-spec +schema):\n%s", diff)
	}
}

func TestDistanceCountsEdits(t *testing.T) {
	tests := []struct {
		name string
		a, b string
		want int
	}{
		{"equal words have none", "every", "every", 0},
		{"a missing letter is one", "comand", "command", 1},
		{"a swap of neighbors is one", "exce", "exec", 1},
		{"a wrong letter is one", "evary", "every", 1},
		{"an empty word needs all letters", "", "ttl", 3},
		{"characters count, not bytes", "naïve", "naive", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := distance(tt.a, tt.b); got != tt.want {
				t.Errorf("distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
			}
			if got := distance(tt.b, tt.a); got != tt.want {
				t.Errorf("distance(%q, %q) = %d, want %d", tt.b, tt.a, got, tt.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	content, err := os.ReadFile("testdata/shop.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(content)
	f.Add([]byte("kind: service\nname: a\nparts:\n- exec: {command: [/bin/x, \"a\\nb\"], env: {A: 1}, limits: {cpu: .5, memory: 1MiB}}\n  checks: {startup: {tcp: 'h:1'}}\n"))
	f.Add([]byte("a: &x [1, *x]\n<<: !!str 1\n"))
	f.Add([]byte("? [a]\n: |+\n  x\n...\n--- >-\n y\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		services, err := Parse("f.yaml", content)
		if err != nil {
			var ps Problems
			if !errors.As(err, &ps) || len(ps) == 0 || services != nil {
				t.Fatalf("an error without problems, or with services: %v", err)
			}
			_ = err.Error()
			return
		}
		again, err := Parse("f.yaml", Marshal(services...))
		if err != nil {
			t.Fatalf("what was read is written so that it cannot be read: %v\n%s", err, Marshal(services...))
		}
		if diff := cmp.Diff(services, again); diff != "" {
			t.Fatalf("what was read changes when written (-read +again):\n%s", diff)
		}
	})
}

func TestWhoNamesAServiceThatIsDeletedIsSaid(t *testing.T) {
	all := []spec.Service{
		{Name: "web", Place: spec.Place{Near: []spec.Near{{Service: "db", Score: 1}}, Apart: []spec.ServiceName{"db"}}},
		{Name: "app", After: []spec.After{{Service: "db"}}},
		{Name: "db", Place: spec.Place{On: []spec.NodeName{"db"}}},
	}
	want := [][]string{{
		"app names it in after[0], where that counts no more",
		"web names it in place.apart[0] and place.near[0], where that counts no more",
	}, nil}
	if diff := cmp.Diff(want, [][]string{NamedBy("db", all), NamedBy("app", all)}); diff != "" {
		t.Error(diff)
	}
}
