package agentfile

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/model/request"
)

func TestWhatIsWrongWithAFileNamesItAndSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "agent.yaml")
	if err := os.WriteFile(path, []byte("watchdog: /dev/watchdog\nsotre: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const shown = "`keelson agent --help`"
	tests := []struct {
		name, path, code, text, hint string
	}{
		{
			"a key that there is not", path, "config-invalid", path + `:2:1: sotre: unknown key "sotre": did you mean "store"?` + "\n       2 | sotre: {}",
			"see " + shown + " for what the agent's file may say",
		},
		{
			"no file", path + "x", "config-missing", "there is no agent's file " + path + "x",
			"put it back, or name the one to use with --config; " + shown + " shows what it may say",
		},
		{
			"a folder", dir, "config-unreadable", dir + " is a folder, not the agent's file",
			"give the agent's file with --config, or leave that out: none is needed",
		},
		{
			"a path through a file", path + "/x", "config-unreadable", "the agent's file " + path + "/x cannot be read: not a directory",
			"give the agent's file with --config, or leave that out: none is needed",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Read(tt.path)
			var known *request.Error
			if !errors.As(err, &known) {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{tt.code, tt.text, tt.hint}, []string{known.Code, known.Text, known.Hint}); diff != "" {
				t.Error(diff)
			}
		})
	}
	if f, err := Read(""); err != nil || f.Store != nil {
		t.Errorf("no file: %v, %v", f, err)
	}
}
