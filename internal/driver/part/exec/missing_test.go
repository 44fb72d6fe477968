package exec

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/spec"
)

func TestWhatAPersonMustBringIsNamedAsMissing(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		exec spec.Exec
		want string
	}{
		{"a program that is not there", spec.Exec{Command: []string{"/usr/bin/nosuch"}}, "the program /usr/bin/nosuch"},
		{"a file that is no program", spec.Exec{Command: []string{plain}}, "an executable program " + plain},
		{"a folder that is not there", spec.Exec{Command: []string{"/bin/true"}, Dir: "/nosuch"}, "the folder /nosuch"},
		{"a user that is not there", spec.Exec{Command: []string{"/bin/true"}, User: "nosuchuser"}, "the user nosuchuser"},
		{"a group that is not there", spec.Exec{Command: []string{"/bin/true"}, Group: "nosuchgroup"}, "the group nosuchgroup"},
		{"nothing", spec.Exec{Command: []string{"/bin/true"}}, ""},
		{"a spec that cannot be understood", spec.Exec{}, ""},
	}
	b := newBench(t, modes()[0])
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run := b.run
			run.Part.Exec = &tt.exec
			_, err := b.d.prepare(run)
			if diff := cmp.Diff(tt.want, instance.Missing(err)); diff != "" {
				t.Errorf("missing (-want +got):\n%s\n%v", diff, err)
			}
		})
	}
}
