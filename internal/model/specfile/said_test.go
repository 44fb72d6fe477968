package specfile

import (
	"fmt"
	"strings"
	"testing"
)

func TestAnEmptyTextIsNotTakenForTheDefault(t *testing.T) {
	const exec = "kind: service\nname: web\nparts:\n  - exec: {command: [/bin/web], %s: ''}\n"
	const part = "kind: service\nname: web\nparts:\n  - exec: [/bin/web]\n    %s: ''\n"
	const address = "kind: service\nname: web\nparts:\n  - address: {prefix: 10.0.0.1/24, %s: ''}\n"
	const failover = "kind: service\nname: web\nparts: [{exec: [/bin/web]}]\nfailover: {%s: ''}\n"
	tests := []struct{ name, content, key string }{
		{"whom a program runs as", exec, "user"},
		{"its group", exec, "group"},
		{"its folder", exec, "dir"},
		{"its signal", exec, "stop_signal"},
		{"a part's name", part, "name"},
		{"a part's role", part, "role"},
		{"an interface", address, "interface"},
		{"a proof", failover, "proof"},
		{"what to do without a quorum", failover, "on_quorum_loss"},
		{"what to do when a stop fails", failover, "stop_failure"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("web.yaml", fmt.Appendf(nil, tt.content, tt.key))
			if err == nil || !strings.Contains(err.Error(), "."+tt.key+`: "" says nothing: give a value, or remove the key to have the default`) {
				t.Error(err)
			}
		})
	}
}

func TestTextThatMayBeEmptyIsKept(t *testing.T) {
	services, err := Parse("web.yaml", []byte("kind: service\nname: web\nparts:\n  - exec: {command: [/bin/web, ''], env: {A: ''}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if e := services[0].Parts[0].Exec; len(e.Command) != 2 || len(e.Env) != 1 {
		t.Errorf("got %+v", e)
	}
}

func TestTheLineThatIsNotTextIsNamed(t *testing.T) {
	_, err := Parse("web.yaml", []byte("kind: service\nname: web # caf\xe9\n"))
	if want := "web.yaml:2:1: the file is not UTF-8 text: save it as UTF-8"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
