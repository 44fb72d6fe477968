package probe

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const ms = time.Millisecond

// asked makes results from a picture, one letter for each 10 ms: a and b are
// hosts that answer within 1 ms, x is no answer within 25 ms, a blank is no
// question.
func asked(picture string) []HTTPResult {
	var out []HTTPResult
	for i, c := range picture {
		r := HTTPResult{Seq: uint64(i), Sent: time.Duration(i) * 10 * ms}
		switch c {
		case ' ':
			continue
		case 'x':
			r.Done = r.Sent + 25*ms
		default:
			r.OK, r.Host, r.Epoch, r.Done = true, string(c), uint64(c-'a')+1, r.Sent+ms
		}
		out = append(out, r)
	}
	return out
}

func TestOutages(t *testing.T) {
	a, b := Holder{"a", 1}, Holder{"b", 2}
	for _, c := range []struct {
		name, picture string
		from          time.Duration
		want          []Outage
	}{
		{"all answers are none", "aaaa", 0, nil},
		{"a move without a failed question is none", "aaabbb", 0, nil},
		{"a pause of the asker is none", "aa    aa", 0, nil},
		{"it lasts from the last good question to the next answer", "aaaxxxxbb", 0, []Outage{
			{Start: 20 * ms, End: 71 * ms, Over: true, Failed: 4, Before: a, After: b},
		}},
		{"a single lost question is one", "aaxaa", 0, []Outage{
			{Start: 10 * ms, End: 31 * ms, Over: true, Failed: 1, Before: a, After: a},
		}},
		{"one that does not end lasts to the last question given up", "aaxx", 0, []Outage{
			{Start: 10 * ms, End: 55 * ms, Failed: 2, Before: a},
		}},
		{"one that began before the first answer starts with the first question", "xxa", 0, []Outage{
			{Start: 0, End: 21 * ms, Over: true, Failed: 2, After: a},
		}},
		{"those before the fault are left out", "axaaaxxa", 40 * ms, []Outage{
			{Start: 40 * ms, End: 71 * ms, Over: true, Failed: 2, Before: a, After: a},
		}},
		{"nothing asked is none", "", 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, Outages(asked(c.picture), c.from)); diff != "" {
				t.Errorf("%q (-want +got):\n%s", c.picture, diff)
			}
		})
	}
}

func TestOutagesDoNotDependOnTheOrderOfTheResults(t *testing.T) {
	in := asked("aaaxxxxbbxb")
	want := Outages(in, 0)
	for i := range in {
		j := (i * 7) % len(in)
		in[i], in[j] = in[j], in[i]
	}
	if diff := cmp.Diff(want, Outages(in, 0)); diff != "" {
		t.Errorf("(-sorted +shuffled):\n%s", diff)
	}
}

func TestWorst(t *testing.T) {
	got, ok := Worst(asked("axaxxxaxxa"), 0)
	if !ok || got.Duration() != 41*ms {
		t.Errorf("the worst outage is %+v, %v", got, ok)
	}
	if _, ok := Worst(asked("aaa"), 0); ok {
		t.Error("there is an outage where there is none")
	}
}

func TestTenures(t *testing.T) {
	want := []Tenure{
		{Holder{"a", 1}, 0, 11 * ms, 2},
		{Holder{"b", 2}, 40 * ms, 51 * ms, 2},
		{Holder{"a", 1}, 60 * ms, 61 * ms, 1},
	}
	if diff := cmp.Diff(want, Tenures(asked("aaxxbba"))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// seen makes sightings from rows of a picture, one row for each holder, one
// character for each question, 10 ms apart.
func seen(rows ...string) []Sighting {
	var out []Sighting
	for who, row := range rows {
		for i, c := range row {
			if c != ' ' {
				at := time.Duration(i) * 10 * ms
				out = append(out, Sighting{Who: string(rune('a' + who)), From: at, To: at, Question: uint64(i + 1)})
			}
		}
	}
	return out
}

func TestTwoHolders(t *testing.T) {
	for _, c := range []struct {
		name string
		seen []Sighting
		want time.Duration
	}{
		{"one holder is none", seen("xxxxxxxx"), 0},
		{"a move is none", seen("xxxx", "     xxxx"), 0},
		{"a move in the very next question is none", seen("xxxx", "    xxxx"), 0},
		{"a move there and back, with time between, is none", seen("xx           xx", "      xxx"), 0},
		{"a question that two answer counts one interval", seen("xxxx", "   xxxx"), 10 * ms},
		{"two that answer all the time count all of it", seen("xxxxxx", "xxxxxx"), 60 * ms},
		{"two that answer in turns overlap between", seen("x x x x", " x x x"), 40 * ms},
		{"a hold lasts over a lost answer", seen("xx xx xx", "  x  x"), 30 * ms},
		{"three at once count once", seen("xxxx", "xxxx", "xxxx"), 40 * ms},
		{"nobody is none", nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := TwoHolders(c.seen, 10*ms, 50*ms); got != c.want {
				t.Errorf("two held it for %s, want %s", got, c.want)
			}
		})
	}
}

func TestSlowAnswersAreNoProofOfTwoHolders(t *testing.T) {
	// a may have answered at once, and its last answer been late.
	got := TwoHolders([]Sighting{
		{Who: "a", From: 0, To: 1 * ms},
		{Who: "a", From: 10 * ms, To: 200 * ms},
		{Who: "b", From: 50 * ms, To: 51 * ms},
		{Who: "b", From: 60 * ms, To: 61 * ms},
	}, 10*ms, 50*ms)
	if got != 0 {
		t.Errorf("two held it for %s", got)
	}
}

func TestSightings(t *testing.T) {
	want := []Sighting{{Who: "m1", From: 3, To: 3, Question: 7}, {Who: "m2", From: 4, To: 4}}
	got := SeenByARP([]ARPAnswer{{Request: 7, Asked: 2, At: 3, MAC: "m1"}, {Request: 7, Asked: 2, At: 4, MAC: "m2", Announced: true}})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("by ARP (-want +got):\n%s", diff)
	}
	want = []Sighting{{Who: "a", From: 0, To: ms}}
	if diff := cmp.Diff(want, SeenByHTTP(asked("ax"))); diff != "" {
		t.Errorf("by HTTP (-want +got):\n%s", diff)
	}
}
