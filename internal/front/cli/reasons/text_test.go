package reasons_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/front/cli/reasons"
	"github.com/keelson/keelson/internal/model/reason"
	"github.com/keelson/keelson/internal/model/spec"
)

var rewrite = flag.Bool("rewrite", false, "write what is got as what is wanted")

func why() client.Why {
	return client.Why{
		Service: "db", Now: []reason.Seat{{Node: "h1"}}, Belongs: []reason.Seat{{Node: "h1"}}, By: reason.ByStickiness,
		Because: []string{"db belongs on h1: h1 scores 151 (place.prefer rack=r1 +50, place.stickiness +100, place.near of cache +1), h3 0"},
		Nodes: []reason.Verdict{
			{Node: "h1", Stand: reason.Home, Score: 151, Scores: []reason.Score{{Rule: "place.prefer rack=r1", Score: 50}, {Rule: "place.stickiness", Score: 100}}, Why: "x"},
			{Node: "h3", Stand: reason.Next, Why: "h1 scores 151 (place.prefer rack=r1 +50, place.stickiness +100, place.near of cache +1), h3 0\x1b[2J"},
			{Node: "h2", Stand: reason.Never, By: reason.ByRule, Why: "web belongs there, and db is to be apart from it"},
		},
		Shifts: []reason.Shift{
			{If: "h1 were lost", To: []reason.Seat{{Node: "h3"}}},
			{If: "h1 and all else were lost"},
			{If: "an operator asked for it: `keelson move db h3`", To: []reason.Seat{{Node: "h3"}}, Then: "and would return to h1 after that"},
		},
		Plan: "29f5cd9b3b6f6c02", Placed: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC),
	}
}

func outlook() client.Outlook {
	lost := []reason.Verdict{{Node: "h1", Why: "it needs 2 of cpu, and 0 are free there"}, {Node: "h2", Why: "h2 is lost"}, {Node: "h3", Why: "place.never names h3"}}
	return client.Outlook{
		Notes: []string{"2 of 3 votes are left: the loss of one more voter would stop the cell's services"},
		Changes: []reason.Change{
			{Service: "cache", Kind: reason.Follows, From: []reason.Seat{{Node: "h1"}}, To: []reason.Seat{{Node: "h1"}}},
			{Service: "db", Kind: reason.Copies, From: []reason.Seat{{Node: "h1", Role: spec.RoleReplica}, {Node: "h2", Role: spec.RolePrimary}}, To: []reason.Seat{{Node: "h1", Role: spec.RolePrimary}}, Why: []string{"db runs 1 of 2 copies"}},
			{Service: "mail", Kind: reason.Homeless, Against: lost},
			{Service: "off", Kind: reason.Stops, From: []reason.Seat{{Node: "h1"}}, Why: []string{"off is stopped by its spec"}},
			{Service: "report", Kind: reason.Loses, From: []reason.Seat{{Node: "h2"}}, Against: lost},
			{Service: "web", Kind: reason.Moves, From: []reason.Seat{{Node: "h2"}}, To: []reason.Seat{{Node: "h1"}}, Next: []spec.NodeName{"h3"}, Why: []string{"h1 is the first in the succession list that is left, and takes over by itself"}},
		},
		Stays: []spec.ServiceName{"a", "b"},
		Alone: []reason.Alone{{Service: "cache", Node: "h1", New: true, Against: lost[1:]}},
		Steps: []reason.Step{{Number: 1, Verb: "stop", Service: "off", Node: "h1"}, {Number: 2, Verb: "promote", Service: "db", Node: "h1", After: []int{1}}},
		Room:  []reason.Room{{Node: "h1", Unit: "cpu", Has: 4, Used: 4}, {Node: "h3", Unit: "cpu", Has: 4, Left: 4}},
	}
}

func TestGolden(t *testing.T) {
	t.Setenv("TZ", "UTC")
	replayed := client.Replayed{
		Decision: client.Decision{Plan: "29f5cd9b3b6f6c02", At: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), Node: "h1"}, Compared: true, Difference: "db: it was h1 and is h3 now",
		Places: []reason.Placed{{Service: "db", Changed: true, Why: []string{"db has no place: no node may run it"}}},
	}
	tests := map[string]string{
		"why_80":        reasons.Why(why(), 80, false),
		"why_color":     reasons.Why(why(), 120, true),
		"why_held":      reasons.Why(client.Why{Service: "db", Now: []reason.Seat{{Node: "h1"}}, Because: []string{"nothing is decided about db now"}, Hold: "x"}, 80, false),
		"why_nowhere":   reasons.Why(client.Why{Service: "db", Because: []string{"db has no home: a rule forbids each node"}}, 80, false),
		"why_to_move":   reasons.Why(client.Why{Service: "db", Now: []reason.Seat{{Node: "h1"}}, Belongs: []reason.Seat{{Node: "h2"}}}, 80, false),
		"outlook_80":    reasons.Outlook(outlook(), "nothing would move", 80, false),
		"outlook_120":   reasons.Outlook(outlook(), "nothing would move", 120, false),
		"outlook_calm":  reasons.Outlook(client.Outlook{}, "nothing would move", 80, false),
		"outlook_held":  reasons.Outlook(client.Outlook{Hold: "1 of 3 votes are left, which is no majority"}, "nothing would move", 80, false),
		"replayed":      reasons.Replayed(replayed, true, 80, false),
		"decisions":     reasons.Decisions(nil, 80, false),
		"decisions_few": reasons.Decisions([]client.Decision{{Plan: "29f5cd9b3b6f6c02", Node: "h1", Bytes: 799, Services: []spec.ServiceName{"cache", "database-of-the-shop", "report", "web"}}}, 80, false),
	}
	for name, got := range tests {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join("testdata", name+".txt")
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
			for line := range strings.Lines(got) {
				if strings.HasSuffix(name, "_80") && utf8.RuneCountInString(line) > 81 {
					t.Errorf("a line of %d characters: %q", utf8.RuneCountInString(line), line)
				}
			}
		})
	}
}
