package check

// Verdict is what repeated answers amount to.
type Verdict uint8

// The verdicts.
const (
	Unknown Verdict = iota // too few answers yet
	Passing
	Failing
)

// String returns the verdict as a word.
func (v Verdict) String() string {
	switch v {
	case Passing:
		return "passing"
	case Failing:
		return "failing"
	default:
		return "unknown"
	}
}

// Judge makes a verdict of answers: it changes only when enough answers in a
// row say so. It is a plain value; the zero Judge changes with every answer.
type Judge struct {
	// Failures and Successes are how many in a row make a verdict. Below 1
	// counts as 1.
	Failures, Successes int

	Verdict Verdict
	// Row is how many answers in a row were like the last one, Good what that
	// one was.
	Row  int
	Good bool
}

// Note returns the judge after one more answer, and whether the verdict changed.
func (j Judge) Note(good bool) (after Judge, changed bool) {
	if j.Row == 0 || good != j.Good {
		j.Row = 0
	}
	need, verdict := max(j.Failures, 1), Failing
	if good {
		need, verdict = max(j.Successes, 1), Passing
	}
	j.Good = good
	j.Row = min(j.Row+1, need) // more would say nothing new
	if j.Row < need || j.Verdict == verdict {
		return j, false
	}
	j.Verdict = verdict
	return j, true
}
