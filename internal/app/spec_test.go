package app

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAFileWithAMistakeIsRefusedAsAWhole(t *testing.T) {
	t.Parallel()
	h, _ := cellOf(t, "a")
	file := filepath.Join(h.folder, "shop.yaml")
	apply := func(content string) (int, string) {
		must(t, os.WriteFile(file, []byte(content), 0o600))
		return h.keelson("apply", "-f", file)
	}
	// It is stopped, so nothing of it runs here.
	const shop = "kind: service\nname: shop\nstopped: true\nparts:\n  - address: 192.0.2.10/24\n  - exec: [/bin/true]\n"
	status, printed := apply(shop)
	done(t, status, printed)
	type service struct {
		Name       string
		Generation string
	}
	services := func() (all []service) {
		status, printed := h.keelson("get", "services", "-o", "json")
		done(t, status, printed)
		must(t, json.Unmarshal([]byte(printed), &all))
		return all
	}
	before := []service{{"shop", "1"}}

	const good = "---\nkind: service\nname: good\nparts:\n  - exec: [/bin/true]\n"
	tests := []struct {
		name    string
		content string
		words   []string
	}{
		{"an unknown key", strings.Replace(shop, "exec:", "exce:", 1) + good, []string{"shop.yaml:6:", "exce", `did you mean "exec"`}},
		{"an unknown key of the service", shop + "failver: {}\n" + good, []string{"shop.yaml:7:1", "failver", "failover"}},
		{"a wrong unit", shop + "failover: {within: 10 minutes}\n" + good, []string{"shop.yaml:7:", "failover.within", "10 minutes"}},
		{"no unit", shop + "failover: {within: 10}\n", []string{"shop.yaml:7:", "failover.within"}},
		{"an unknown part", shop + "  - adress: 192.0.2.11/24\n", []string{"shop.yaml:7:", "adress", "address"}},
		{"two parts that clash", shop + "  - address: 192.0.2.10/24\n", []string{"shop.yaml:7:", "192.0.2.10"}},
		{"an address that another service has", good + "---\nkind: service\nname: other\nparts:\n  - address: 192.0.2.10/24\n", []string{"192.0.2.10", "shop"}},
		{"an absurd number", shop + "failover: {restarts: 99999999999999999999}\n", []string{"shop.yaml:7:", "failover.restarts"}},
		{"a number far too large", shop + "failover: {restarts: 2000000000}\n", []string{"shop.yaml:7:", "failover.restarts"}},
		{"a file of 10 MB", shop + strings.Repeat("# 9 bytes\n", 1<<20), []string{"shop.yaml", "MiB"}},
		{"no YAML", "kind: [", []string{"shop.yaml:1:"}},
		{"no text", "\x00\x01\xff", []string{"shop.yaml"}},
		{"nothing", "", []string{"shop.yaml"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, printed := apply(tt.content)
			t.Logf("[%d] %s", status, printed)
			if status != 1 {
				t.Errorf("ended with %d", status)
			}
			for _, w := range tt.words {
				if !strings.Contains(printed, w) {
					t.Errorf("it does not say %q", w)
				}
			}
			if diff := cmp.Diff(before, services()); diff != "" {
				t.Errorf("the services changed:\n%s", diff)
			}
		})
	}
}
