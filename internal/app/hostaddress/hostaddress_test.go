package hostaddress

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// take writes down that a service has taken an address, as its part does.
func take(t *testing.T, run, service, text string) {
	t.Helper()
	dir := filepath.Join(run, "parts", service, "address")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "address.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAnAddressOfAServiceIsNotTheHosts(t *testing.T) {
	run, other := t.TempDir(), t.TempDir()
	before, err := Own(run, other)
	if err != nil || !slices.Contains(before, "127.0.0.1") {
		t.Fatalf("%v, %v", before, err)
	}
	take(t, other, "shop", `{"prefix":"127.0.0.1/8","interface":"lo"}`)
	take(t, other, "mail", `{"prefix":"192.0.2.7/24","interface":"eth0"}`)
	take(t, run, "damaged", `{`)
	after, err := Own(run, other)
	if err != nil {
		t.Fatal(err)
	}
	want := slices.DeleteFunc(slices.Clone(before), func(a string) bool { return a == "127.0.0.1" })
	if diff := cmp.Diff(want, after); diff != "" {
		t.Error(diff)
	}
	moving := Moving(run, other, filepath.Join(run, "missing"))
	if diff := cmp.Diff([]string{"192.0.2.7", "127.0.0.1"}, texts(moving)); diff != "" {
		t.Error(diff)
	}
}

func texts(all []netip.Addr) []string {
	var out []string
	for _, a := range all {
		out = append(out, a.String())
	}
	return out
}
