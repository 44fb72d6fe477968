package truth

import (
	"strings"
	"testing"
	"time"

	"github.com/keelson/keelson/internal/core/quorum"
)

// torn is a cell of voters in which line i, column j of a matrix says whether i is
// heard by j.
func torn(matrix string) Cell {
	lines := strings.Fields(matrix)
	all := quorum.Set(1)<<len(lines) - 1
	c := Cell{Members: all, Config: quorum.Config{Version: 1, Voters: all}, Up: all, Awake: all, Voting: all}
	for i, line := range lines {
		for j, mark := range line {
			if mark == '0' {
				c.Parted[i] |= 1 << j
			}
		}
	}
	return c
}

func TestCoreIsTheLargestSetInTouch(t *testing.T) {
	tests := []struct {
		name   string
		cell   Cell
		change func(*Cell)
		want   quorum.Set
	}{
		{"whole", torn("111 111 111"), nil, 7},
		{"a link between two that both keep a majority", torn("101 011 111"), nil, 7},
		{"a node that nobody hears", torn("111 111 001"), nil, 3},
		{"a node that is heard by one and hears the other", torn("111 110 011"), nil, 3},
		{"five, two behind a broken link", torn("11100 11100 11100 00011 00011"), nil, 7},
		{"one of three sleeps", torn("111 111 111"), func(c *Cell) { c.Awake = 3 }, 3},
		{"two of three sleep", torn("111 111 111"), func(c *Cell) { c.Awake = 1 }, 0},
		{"one that votes again only later", torn("101 011 111"), func(c *Cell) { c.Voting = 3 }, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.change != nil {
				test.change(&test.cell)
			}
			var j Judge
			j.See(time.Second, test.cell)
			if got, _ := j.Core(); got != test.want {
				t.Errorf("the core is %b, want %b", got, test.want)
			}
		})
	}
}

func TestVerdictsAndMovesNeedACause(t *testing.T) {
	j := Judge{Longest: time.Second}
	cell := torn("111 111 111")
	j.See(time.Second, cell)
	if wrong := j.Won(2*time.Second, 0, 2) + j.Won(2*time.Second, 1, 2) + j.Verdict(2*time.Second, 0, 0); wrong != "" {
		t.Fatal(wrong)
	}
	for _, wrong := range []string{j.Verdict(3*time.Second, 0, 4), j.Won(3*time.Second, 0, 1), j.Ended(3*time.Second, 2)} {
		if wrong == "" {
			t.Error("a verdict, a move or an end without a cause passes")
		}
	}
	cell.Awake = 3
	j.See(4*time.Second, cell)
	if wrong := j.Verdict(5*time.Second, 1, 4) + j.Won(5*time.Second, 1, 0) + j.Ended(5*time.Second, 2); wrong != "" {
		t.Errorf("of a node that is away: %s", wrong)
	}
	if j.Opinion(0, 0) == "" || j.Opinion(0, 4) != "" {
		t.Error("who is away is not to be counted as lost")
	}
	cell.Awake, cell.Excused = 3, 4
	j.See(6*time.Second, cell)
	j.Verdict(6*time.Second, 0, 0)
	if j.Verdict(20*time.Second, 0, 4) == "" || j.Ended(20*time.Second, 2) != "" {
		t.Error("a stall that is to be borne makes a verdict right, or is no cause for a lease to end that is too short for it")
	}
	cell.Patient = 4
	j.See(21*time.Second, cell)
	if j.Ended(40*time.Second, 2) == "" {
		t.Error("a lease that is long enough may end")
	}
}
