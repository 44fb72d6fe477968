package oracle

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keelson/keelson/internal/model/cib"
)

// onPurpose are the cases by hand in which Keelson differs, and why.
var onPurpose = map[string]string{
	"pending-stop": "the incumbent shows what is being stopped as Stopping; Keelson shows where it is, and decides alike",
}

// TestCasesByHand compares what both would do with clusters that were written for
// one feature each: the file's name says which. KEELSON_ORACLE_CASES is another
// folder of them.
func TestCasesByHand(t *testing.T) {
	needOracle(t)
	folder := os.Getenv("KEELSON_ORACLE_CASES")
	if folder == "" {
		folder = filepath.Join("testdata", "cases")
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.xml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases in %s: %v", folder, err)
	}
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".xml")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			root, err := cib.Read(strings.NewReader(string(text)))
			if err != nil {
				t.Fatal(err)
			}
			diff, err := compare(t.Context(), root)
			switch why := onPurpose[name]; {
			case errors.Is(err, errRefused), errors.Is(err, errContradicts):
				t.Skip(err)
			case err != nil:
				t.Fatal(err)
			case diff != "" && why == "":
				t.Error(diff)
			case diff == "" && why != "":
				t.Errorf("both agree by now; it was to differ: %s", why)
			}
		})
	}
}
