package specfile

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheAgentsOwnFile(t *testing.T) {
	tests := []struct {
		name    string
		content string
		want    Agent
		fails   string // the first line of the error
	}{
		{name: "nothing", content: " \n"},
		{name: "a remark", content: "# nothing yet\n"},
		{name: "no store", content: "store:\n"},
		{
			name:    "a store with all that it can have",
			content: "store:\n  endpoints: [https://a:2379, http://b:2379]\n  ca: /ca\n  cert: /c\n  key: /k\n  prefix: /p/\n",
			want: Agent{Store: &ExternalStore{
				Endpoints: []string{"https://a:2379", "http://b:2379"}, CA: "/ca", Cert: "/c", Key: "/k", Prefix: "/p/",
			}},
		},
		{
			name: "the usual prefix", content: "store:\n  endpoints: [https://a:2379]",
			want: Agent{Store: &ExternalStore{Endpoints: []string{"https://a:2379"}, Prefix: DefaultPrefix}},
		},
		{name: "a watchdog", content: "watchdog: /dev/watchdog", want: Agent{Watchdog: "/dev/watchdog"}},
		{name: "a watchdog that is a time", content: "watchdog: 5s", fails: `f:1:11: watchdog: "5s" is no path such as /dev/watchdog: name the file, with its folder`},
		{name: "a certificate beside the agent", content: "store: {endpoints: [https://a], ca: tls/ca.pem}", fails: `f:1:37: store.ca: "tls/ca.pem" is no path such as /etc/keelson/etcd-ca.pem: name the file, with its folder`},
		{name: "a watchdog that is a list", content: "watchdog: [a]", fails: `f:1:1: watchdog: expected text, found a list`},
		{name: "a key with a typo", content: "watchdog: /w\nsotre: {}", fails: `f:2:1: sotre: unknown key "sotre": did you mean "store"?`},
		{name: "a key of a service", content: "kind: service", fails: `f:1:1: kind: unknown key "kind": known here: watchdog, store`},
		{name: "a key with a typo inside", content: "store: {endpoint: [https://a:2379]}", fails: `f:1:9: store.endpoint: unknown key "endpoint": did you mean "endpoints"?`},
		{name: "a key that is there twice", content: "watchdog: /a\nwatchdog: /b", fails: `f:2:1: watchdog: the key "watchdog" is here twice: the first is in line 1; remove one of them`},
		{name: "a number for a store", content: "store: 5", fails: `f:1:8: store: expected a mapping that begins with endpoints:, found "5"`},
		{name: "no endpoints", content: "store: {ca: /ca}", fails: "f:1:1: store: store.endpoints is missing: list the etcd servers, such as https://10.0.0.9:2379"},
		{name: "one endpoint that is no list", content: "store:\n  endpoints: http://a:1", fails: `f:2:14: store.endpoints: expected a list such as [https://10.0.0.9:2379], found "http://a:1"`},
		{name: "an endpoint without a scheme", content: "store: {endpoints: ['a:2379']}", fails: `f:1:21: store.endpoints[0]: "a:2379" is not where an etcd server is: write it with https:// or http://, such as https://10.0.0.9:2379`},
		{name: "an endpoint without a host", content: "store: {endpoints: ['http://']}", fails: `f:1:21: store.endpoints[0]: "http://" is not where`},
		{name: "half a certificate", content: "store: {endpoints: [https://a], cert: /c}", fails: "f:1:1: store: store.cert and store.key go together: give both or neither"},
		{name: "no YAML", content: "store: [", fails: "f:1:8: the file is not valid YAML"},
		{name: "a tab", content: "store:\n\tca: /ca", fails: "f:2:1: the file is not valid YAML: a tab indents this line: indent with spaces"},
		{name: "a list", content: "- x", fails: "f:1:1: expected a mapping such as watchdog: /dev/watchdog, found a list"},
		{name: "two documents", content: "watchdog: /a\n---\nwatchdog: /b", fails: "f:3:1: the file has a second document: write all of it in one, without ---"},
		{name: "an anchor", content: "store: &a {<<: *a}", fails: "f:1:8: anchors"},
		{name: "too much", content: strings.Repeat("#", MaxAgentBytes+1), fails: "f: the file has more than 64KiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ReadAgent("f", []byte(tt.content))
			var problems Problems
			if (err == nil) != (tt.fails == "") || err != nil && (!errors.As(err, &problems) || !strings.HasPrefix(err.Error(), tt.fails)) {
				t.Fatalf("%v\nwant %q", err, tt.fails)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzReadAgent(f *testing.F) {
	f.Add([]byte("store: {endpoints: [https://a:2379]}"))
	f.Add([]byte("store: &a {<<: *a}"))
	f.Add([]byte("a: b\n---\n- c"))
	f.Fuzz(func(t *testing.T, content []byte) {
		file, err := ReadAgent("f", content)
		if err != nil && (file.Store != nil || file.Watchdog != "") {
			t.Error("an error and a file")
		}
		if err == nil && file.Store != nil && len(file.Store.Endpoints) == 0 {
			t.Error("a store without endpoints")
		}
	})
}
