package specfile

import (
	"strings"
	"testing"
)

func TestALimitOfZeroIsRefused(t *testing.T) {
	for _, limit := range []string{"processes: 0", "cpu: 0", "open_files: 0", "memory: 0MiB"} {
		content := "kind: service\nname: web\nparts:\n  - exec:\n      command: [/bin/web]\n      limits: {" + limit + "}\n"
		_, err := Parse("web.yaml", []byte(content))
		if err == nil || !strings.Contains(err.Error(), "web.yaml:6:") || !strings.Contains(err.Error(), "or remove the key to have no limit") {
			t.Errorf("%s: %v", limit, err)
		}
	}
}

func TestATabInTheIndentationIsNamed(t *testing.T) {
	for _, content := range []string{"kind: service\nname: web\nparts:\n\t- exec: [/bin/web]\n", "kind: service\nname: web\nplace:\n  on:\n\t- a\n"} {
		_, err := Parse("web.yaml", []byte(content))
		if err == nil || !strings.Contains(err.Error(), "a tab indents this line") || !strings.Contains(err.Error(), "indent with spaces") {
			t.Error(err)
		}
	}
}
