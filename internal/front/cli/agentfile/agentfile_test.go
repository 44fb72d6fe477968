package agentfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	tests := []struct {
		name    string
		content string
		want    File
		fails   string
	}{
		{name: "nothing", content: " \n"},
		{name: "no store", content: "store:\n"},
		{
			name:    "a store with all that it can have",
			content: "store:\n  endpoints: [https://a:2379, http://b:2379]\n  ca: /ca\n  cert: /c\n  key: /k\n  prefix: /p/\n",
			want: File{Store: &ExternalStore{
				Endpoints: []string{"https://a:2379", "http://b:2379"}, CA: "/ca", Cert: "/c", Key: "/k", Prefix: "/p/",
			}},
		},
		{
			name: "a prefix of its own", content: "store:\n  endpoints: [https://a:2379]",
			want: File{Store: &ExternalStore{Endpoints: []string{"https://a:2379"}, Prefix: DefaultPrefix}},
		},
		{name: "a watchdog", content: "watchdog: /dev/watchdog", want: File{Watchdog: "/dev/watchdog"}},
		{name: "a watchdog that is no path", content: "watchdog: yes please", fails: "no path such as"},
		{name: "an unknown key", content: "store: {endpoint: [https://a:2379]}", fails: "endpoint"},
		{name: "no endpoints", content: "store: {ca: /ca}", fails: "store.endpoints is missing"},
		{name: "an endpoint without a scheme", content: "store: {endpoints: ['a:2379']}", fails: "https://"},
		{name: "half a certificate", content: "store: {endpoints: [https://a], cert: /c}", fails: "go together"},
		{name: "no YAML", content: "store: [", fails: "sequence"},
		{name: "too much", content: strings.Repeat("#", MaxBytes+1), fails: "more than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parse([]byte(tt.content))
			if (err == nil) != (tt.fails == "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
				t.Fatalf("%v, want %q", err, tt.fails)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestReadNamesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(path, []byte("sotre: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, path + "x"} {
		if _, err := Read(p); err == nil || !strings.HasPrefix(err.Error(), p+": ") {
			t.Errorf("%v", err)
		}
	}
	if f, err := Read(""); err != nil || f.Store != nil {
		t.Errorf("no file: %v, %v", f, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("store: {endpoints: [https://a:2379]}"))
	f.Add([]byte("store: &a {<<: *a}"))
	f.Fuzz(func(t *testing.T, content []byte) {
		file, err := parse(content)
		if err != nil && file.Store != nil {
			t.Error("an error and a file")
		}
		if err == nil && file.Store != nil && len(file.Store.Endpoints) == 0 {
			t.Error("a store without endpoints")
		}
	})
}
