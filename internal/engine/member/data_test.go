package member

import (
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

func TestData(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "choose":
				return words(ChooseVoters(candidatesOf(t, d.Input), namesOf(d, "current"))) + "\n"
			case "exchange":
				var story []string
				voters := namesOf(d, "current")
				for range 6 { // each round is one exchange; a row of them ends
					for _, note := range crowded(candidatesOf(t, d.Input), voters) {
						story = append(story, "* "+note)
					}
					after, in := Exchange(candidatesOf(t, d.Input), voters)
					if in == "" {
						return strings.Join(append(story, words(after)), "\n") + "\n"
					}
					story = append(story, fmt.Sprintf("%s: %s comes in", words(after), in))
					voters = after
				}
				t.Error("it never ends")
				return strings.Join(story, "\n") + "\n"
			case "change":
				c := NextChange(seatsOf(t, d.Input), namesOf(d, "wanted"))
				if c.Verb == Nothing {
					return "nothing\n"
				}
				who := string(c.Seat.Node)
				if who == "" && c.Verb == Expel {
					who = c.Seat.Member
				}
				return strings.TrimSpace(string(c.Verb)+" "+who) + "\n"
			case "lease":
				next, changed := NextLease(leaseOf(t, d), setOf(t, d, "wanted"), setOf(t, d, "lost"), d.HasArg("settled"))
				if !changed {
					return "nothing\n"
				}
				return leaseText(next) + "\n"
			case "adopted":
				return fmt.Sprintln(Adopted(leaseOf(t, d), reportedOf(t, d)))
			}
			t.Fatalf("unknown command %s", d.Cmd)
			return ""
		})
	})
}

func words(names []spec.NodeName) string {
	if len(names) == 0 {
		return "nobody"
	}
	var all []string
	for _, n := range names {
		all = append(all, string(n))
	}
	return strings.Join(all, " ")
}

func values(d *datadriven.TestData, key string) []string {
	for _, arg := range d.CmdArgs {
		if arg.Key == key {
			return strings.Split(strings.Join(arg.Vals, ","), ",")
		}
	}
	return nil
}

func namesOf(d *datadriven.TestData, key string) []spec.NodeName {
	var names []spec.NodeName
	for _, v := range values(d, key) {
		names = append(names, spec.NodeName(v))
	}
	return names
}

func number(t *testing.T, text string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func setOf(t *testing.T, d *datadriven.TestData, key string) uint32 {
	t.Helper()
	var set uint32
	for _, v := range values(d, key) {
		set |= 1 << number(t, v)
	}
	return set
}

func leaseOf(t *testing.T, d *datadriven.TestData) record.Lease {
	t.Helper()
	return record.Lease{
		Version: number(t, values(d, "version")[0]), Voters: setOf(t, d, "voters"), Prior: setOf(t, d, "prior"),
	}
}

func reportedOf(t *testing.T, d *datadriven.TestData) map[uint8]uint64 {
	t.Helper()
	reported := make(map[uint8]uint64)
	for _, v := range values(d, "reported") {
		slot, version, _ := strings.Cut(v, ":")
		reported[uint8(number(t, slot))] = number(t, version)
	}
	return reported
}

func leaseText(l record.Lease) string {
	text := fmt.Sprintf("version=%d voters=%s", l.Version, slotText(l.Voters))
	if l.Prior != 0 {
		text += " prior=" + slotText(l.Prior)
	}
	return text
}

func slotText(set uint32) string {
	var slots []string
	for ; set != 0; set &= set - 1 {
		slots = append(slots, strconv.Itoa(bits.TrailingZeros32(set)))
	}
	return strings.Join(slots, ",")
}

// lines splits input into a name and its words, line by line.
func lines(input string) [][]string {
	var all [][]string
	for line := range strings.Lines(input) {
		all = append(all, strings.Fields(line))
	}
	return all
}

func candidatesOf(t *testing.T, input string) []Candidate {
	t.Helper()
	var all []Candidate
	for _, line := range lines(input) {
		c := Candidate{Name: spec.NodeName(line[0]), Labels: map[string]string{}}
		for _, word := range line[1:] {
			switch key, value, label := strings.Cut(word, "="); {
			case label:
				c.Labels[key] = value
			case word == "alive":
				c.Alive = true
			case word == "witness":
				c.Witness = true
			case word == "leaving":
				c.Leaving = true
			case word == "expired":
				c.Expired = true
			case word == "lost":
			default:
				t.Fatalf("unknown word %s", word)
			}
		}
		all = append(all, c)
	}
	// The order of the input must not matter.
	slices.Reverse(all)
	return all
}

func seatsOf(t *testing.T, input string) []Seat {
	t.Helper()
	var all []Seat
	for _, line := range lines(input) {
		s := Seat{Node: spec.NodeName(strings.TrimPrefix(line[0], "-"))}
		for _, word := range line[1:] {
			switch key, value, _ := strings.Cut(word, "="); key {
			case "wished":
				s.Wished = true
			case "lost":
				s.Lost = true
			case "leaving":
				s.Leaving = true
			case "member":
				s.Member = value
			case "learner":
				s.Member, s.Learner = value, true
			default:
				t.Fatalf("unknown word %s", word)
			}
		}
		all = append(all, s)
	}
	slices.Reverse(all)
	return all
}
