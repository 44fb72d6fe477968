package reasons_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/front/cli/reasons"
	"github.com/keelson/keelson/internal/model/specfile"
)

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const web = "kind: service\nname: web\nparts:\n  - exec: [/bin/web]\n"

func TestWhatTheCellSaysOfSeveralFilesNamesThem(t *testing.T) {
	first := write(t, "o1.yaml", web)
	second := write(t, "o2.yaml", "# the same again\n"+web)
	file, err := reasons.Join([]string{first, second}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = specfile.Parse(file.Name, file.Content)
	if err == nil {
		t.Fatal("the same service twice is taken")
	}
	want := second + `:3:7: name: service "web" is in this file twice: the first is in line 2 of ` + first + "; remove or rename one\n       3 | name: web"
	if diff := cmp.Diff(want, file.Own(err.Error())); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsWrongInSeveralFilesIsToldAtOnce(t *testing.T) {
	first := write(t, "o1.yaml", strings.Replace(web, "exec", "exce", 1))
	second := write(t, "o2.yaml", strings.Replace(web, "kind", "kin", 1))
	_, err := reasons.Join([]string{first, second}, nil)
	if err == nil {
		t.Fatal("it is taken")
	}
	for _, want := range []string{first + ":4:", second + ":1:"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
}
