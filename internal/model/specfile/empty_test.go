package specfile

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEmptyDocumentsLoseNothing(t *testing.T) {
	one := func(name string) string { return "kind: service\nname: " + name + "\nparts: [{exec: [/bin/true]}]\n" }
	tests := []struct{ name, text string }{
		{"two heads in a row", one("a") + "---\n---\n" + one("b")},
		{"before the first", "---\n---\n" + one("a") + "---\n" + one("b")},
		{"with comments only", "# one\n---\n# two\n---\n" + one("a") + "---\n# three\n---\n---\n# four\n" + one("b")},
		{"at the end", one("a") + "---\n" + one("b") + "---\n---\n# nothing\n"},
		{"comments within", "---\n# x\nkind: service # y\nname: a\nparts: [{exec: [/bin/true]}]\n---\n# z\n" + one("b")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			services, err := Parse("x.yaml", []byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, s := range services {
				names = append(names, string(s.Name))
			}
			if diff := cmp.Diff("a b", strings.Join(names, " ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}
