package health

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/model/record"
)

func TestWhatTheFileSays(t *testing.T) {
	tests := []struct {
		name, text string
		want       record.Health
		fails      bool
	}{
		{"green", "green\n", record.Health{}, false},
		{"green with a reason", "green again", record.Health{}, false},
		{"yellow", "yellow", record.Health{Score: Yellow}, false},
		{"red with a reason", "red  disk sda:\n 5 reallocated sectors\n", record.Health{Score: Red, Why: "disk sda: 5 reallocated sectors"}, false},
		{"a score", "-250 fan", record.Health{Score: -250, Why: "fan"}, false},
		{"a long reason", "red " + strings.Repeat("x", 500), record.Health{Score: Red, Why: strings.Repeat("x", maxWhy)}, false},
		{"nothing", "\n", record.Health{}, true},
		{"another word", "fine", record.Health{}, true},
		{"a score that is too low", "-1000001", record.Health{}, true},
		{"a score that is good", "5", record.Health{}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parse(tt.text)
			if got != tt.want || (err != nil) != tt.fails {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

// bubble is a clock within a synctest bubble.
type bubble struct{ clock.System }

func (bubble) Boot() time.Duration { return time.Duration(time.Now().UnixNano()) }

func TestTheFileIsReadAgainAndItsAbsenceIsGoodHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "health")
		f := New(path, bubble{})
		want := func(want record.Health, trouble string) {
			t.Helper()
			time.Sleep(every)
			if got, said := f.Look(); got != want || !strings.Contains(said, trouble) || trouble == "" && said != "" {
				t.Errorf("got %+v, %q", got, said)
			}
		}
		write := func(text string) {
			t.Helper()
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want(record.Health{}, "")
		write("yellow fan")
		want(record.Health{Score: Yellow, Why: "fan"}, "")
		write("purple")
		want(record.Health{}, "cannot be read")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		want(record.Health{}, "")
	})
}

func FuzzParse(f *testing.F) {
	f.Add("red disk")
	f.Fuzz(func(t *testing.T, text string) {
		if h, err := parse(text); err == nil && (h.Score > 0 || h.Score < Red || len(h.Why) > maxWhy) {
			t.Errorf("%q gives %+v", text, h)
		}
	})
}
