package report_test

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/test/bench/journal"
	"github.com/keelson/keelson/test/bench/report"
)

func contestants() []report.Contestant {
	return []report.Contestant{
		{Name: "keelson", Title: "Keelson, exclusive", Ours: true},
		{Name: "pacemaker", Title: "Pacemaker"},
		{Name: "absent", Title: "Absent"},
	}
}

func trial(contestant, fault string, round int, ms float64) journal.Entry {
	return journal.Entry{Trial: &journal.Trial{Contestant: contestant, Fault: fault, Round: round, OutageMS: ms}}
}

func entries() []journal.Entry {
	frozen := trial("keelson", "freeze", 1, 480)
	frozen.Trial.Frozen = &journal.Frozen{TwoThawedMS: 3, OldMS: 12, OldAnswers: 2}
	lost := trial("pacemaker", "kill", 2, 90_000)
	lost.Trial.Lost = true
	failed := trial("pacemaker", "kill", 3, 0)
	failed.Trial.Error = "it did not settle"
	return []journal.Entry{
		{Setup: &journal.Setup{Keelson: "keelson 1", Cores: 2, StartMS: 8, CPU: "X", Versions: map[string]string{"pacemaker": "2"}}},
		trial("keelson", "kill", 2, 460), trial("keelson", "kill", 1, 440), trial("keelson", "kill", 1, 9999),
		trial("pacemaker", "kill", 1, 8000), lost, failed, frozen,
		{Steady: &journal.Steady{Contestant: "keelson", Condition: "loss10", Seconds: 180, Changes: 1, UnservedS: 0.5}},
		{Steady: &journal.Steady{Contestant: "pacemaker", Condition: "loss10", Seconds: 180, UnservedS: 130, LostAtS: 50}},
		{Scale: &journal.Scale{Nodes: 32, Seconds: 180, OutageMS: 490, FailedOver: true}},
		{Scale: &journal.Scale{Nodes: 3, Seconds: 180, OutageMS: 470, FailedOver: true}},
	}
}

func TestTrialsBecomeMedians(t *testing.T) {
	r := report.Of(entries(), contestants())
	var got []report.Values
	for _, f := range r.Faults {
		got = append(got, f.Outage)
	}
	want := []report.Values{
		{Median: 450, Least: 440, Most: 460, Each: []float64{440, 460}},
		{Median: 49_000, Least: 8000, Most: 90_000, Each: []float64{8000, 90_000}},
		{Median: 480, Least: 480, Most: 480, Each: []float64{480}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outages (-want +got):\n%s", diff)
	}
	if r.Faults[1].Lost != 1 || r.Failed != 1 {
		t.Errorf("%d lost, %d failed", r.Faults[1].Lost, r.Failed)
	}
	if r.Scale[0].Nodes != 3 {
		t.Errorf("the sizes are not in order: %+v", r.Scale)
	}
}

func TestAimsAreHeldAgainstTheSameRun(t *testing.T) {
	r := report.Of(entries(), contestants())
	got := map[string]bool{}
	for _, a := range r.Aims {
		got[a.What] = a.Reached
	}
	want := map[string]bool{
		"host killed, exclusive: median outage":                              true,
		"host killed, exclusive: at most 0.06 of Pacemaker":                  true,
		"frozen and thawed, exclusive: the old holder answers, longest":      false,
		"frozen and thawed, exclusive: two holders on the wire, longest":     false,
		"10 % random loss between the hosts, keelson: nodes declared lost":   true,
		"10 % random loss between the hosts, keelson: changes of the holder": false,
		"10 % random loss between the hosts, keelson: time without service":  false,
		"3 nodes: declared lost in 180 s":                                    true,
		"3 nodes: changes of the holder":                                     true,
		"3 nodes: time without service":                                      true,
		"3 nodes: a host that serves is killed, and nobody takes over":       true,
		"32 nodes: declared lost in 180 s":                                   true,
		"32 nodes: changes of the holder":                                    true,
		"32 nodes: time without service":                                     true,
		"32 nodes: a host that serves is killed, and nobody takes over":      true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("aims (-want +got):\n%s", diff)
	}
}

func TestOutagesAreHeldAgainstTheBoundThatWasShown(t *testing.T) {
	told := func(round int, outage, bound float64) journal.Entry {
		e := trial("keelson", "cut", round, outage)
		e.Trial.BoundMS = bound
		return e
	}
	r := report.Of([]journal.Entry{told(1, 400, 450), told(2, 454, 450), told(3, 456, 450), told(4, 900, 0)}, contestants())
	want := report.Aim{What: "cable cut, keelson: outages longer than status had said", Found: 1}
	if !slices.Contains(r.Aims, want) {
		t.Errorf("no %+v in %+v", want, r.Aims)
	}
	if text := r.Text(); !strings.Contains(text, "450 (450 to 450)") || !strings.Contains(text, "1 of 3") {
		t.Errorf("the text does not say so:\n%s", text)
	}
}

func TestTextHasTheFiguresAndWhatIsAmiss(t *testing.T) {
	e := append(entries(), journal.Entry{Setup: &journal.Setup{Keelson: "keelson 2"}})
	text := report.Of(e, contestants()).Text()
	for _, want := range []string{
		"450 (440 to 460) of 2", "49000 (8000 to 90000) of 2, 1 lost", "more than one Keelson", "1 tries could not be measured",
		"at 50 s", "MISSED", "reached",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "Absent") {
		t.Error("it tells of one of whom nothing is known")
	}
}

func TestPictureIsWellFormedWhateverIsKnown(t *testing.T) {
	for _, c := range []struct {
		name    string
		entries []journal.Entry
	}{
		{"everything", entries()},
		{"nothing", nil},
		{"an outage of nothing", []journal.Entry{trial("keelson", "service", 1, 0)}},
		{"only loss", entries()[8:10]},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := report.Of(c.entries, contestants()).Picture()
			if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
				t.Error("it has what is no number")
			}
			d := xml.NewDecoder(strings.NewReader(text))
			for {
				if _, err := d.Token(); errors.Is(err, io.EOF) {
					return
				} else if err != nil {
					t.Fatalf("%v in\n%s", err, text)
				}
			}
		})
	}
}

func TestSaveWritesBothFiles(t *testing.T) {
	dir := t.TempDir()
	if err := report.Of(entries(), contestants()).Save(dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"benchmarks/failover.json", "images/failover.svg"} {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
