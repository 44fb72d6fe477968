package picture

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/lab/probe"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

const ms = time.Millisecond

// failover is h1 answering until the fault at 10 s, and h2 from gap later on.
func failover(gap time.Duration) []probe.HTTPResult {
	var out []probe.HTTPResult
	for at := 9 * time.Second; at < 12*time.Second; at += 5 * ms {
		r := probe.HTTPResult{Seq: uint64(len(out)), Sent: at, Done: at + ms, OK: true, Host: "h1", Epoch: 3}
		switch {
		case at >= 10*time.Second+gap:
			r.Host, r.Epoch = "h2", 4
		case at >= 10*time.Second:
			r.OK, r.Host, r.Done = false, "", at+250*ms
		}
		out = append(out, r)
	}
	return out
}

func flaky() []probe.HTTPResult {
	all := failover(0)
	for i := range all {
		if all[i].Sent > 10*time.Second && all[i].Sent < 10100*ms && i%3 == 0 {
			all[i].OK = false
		}
	}
	return all
}

func TestPictures(t *testing.T) {
	for _, c := range []struct {
		name string
		draw string
	}{
		{"failover_in_half_a_second", Outage{Results: failover(480 * ms), Fault: 10 * time.Second, Hosts: []string{"h1", "h2", "h3"}}.Draw()},
		{"failover_in_ascii_on_a_narrow_terminal", Outage{Results: failover(480 * ms), Fault: 10 * time.Second, Hosts: []string{"h1", "h2"}, Width: 12, ASCII: true}.Draw()},
		{"failover_too_fast_for_a_wide_terminal", Outage{Results: failover(20 * ms), Fault: 10 * time.Second, Width: 500}.Draw()},
		{"outage_that_does_not_end", Outage{Results: failover(time.Hour), Fault: 10 * time.Second, Hosts: []string{"a-host-with-a-long-name", "h1"}}.Draw()},
		{"no_outage", Outage{Results: failover(0), Fault: 10 * time.Second, Width: 60}.Draw()},
		{"some_questions_fail", Outage{Results: flaky(), Fault: 10 * time.Second, Width: 60}.Draw()},
		{"nothing_was_asked", Outage{Fault: 10 * time.Second}.Draw()},
		{"timeline", Timeline(10*time.Second, []Stage{
			{Name: "first answer", By: "client", At: 10480 * ms, Seen: true},
			{Name: "fault", By: "h1 killed", At: 10 * time.Second, Seen: true},
			{Name: "declared dead", By: "h3", At: 10160*ms + 400*time.Microsecond, Seen: true},
			{Name: "lease free"},
			{Name: "address up", By: "h2", At: 10470 * ms, Seen: true},
		})},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join("testdata", c.name+".txt")
			if *rewrite {
				if err := os.WriteFile(path, []byte(c.draw), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), c.draw); diff != "" {
				t.Errorf("run with -rewrite if this is right (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzPicturesFitTheirWidth(f *testing.F) {
	f.Add(80, int64(480), true)
	f.Add(0, int64(0), false)
	f.Add(-1, int64(-5), false)
	f.Fuzz(func(t *testing.T, width int, gap int64, ascii bool) {
		o := Outage{Results: failover(time.Duration(gap) * ms), Fault: 10 * time.Second, Width: width, ASCII: ascii}
		limit := min(max(width, MinWidth), MaxWidth)
		if width == 0 {
			limit = 80
		}
		for line := range strings.Lines(o.Draw()) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > limit {
				t.Errorf("a line has %d columns of %d: %q", n, limit, line)
			}
		}
	})
}
