package probe

import (
	"cmp"
	"slices"
	"time"
)

// Outage is a time in which a client that asked got no answer.
type Outage struct {
	// Start is when the last question before it that was answered was sent.
	// End is when the first answer to a later question was complete; if there
	// was none, it is when the last question was given up, and Over is false.
	Start, End time.Duration
	Over       bool
	Failed     int    // questions without an answer, between the two
	Before     Holder // who answered last before it; zero if nobody had
	After      Holder // who answered first after it
}

// Holder is who answered.
type Holder struct {
	Host  string
	Epoch uint64
}

// Duration is how long the outage was, as a client saw it: from the last
// question known to have been good to the next answer. It errs on the long
// side, by one interval between questions and one answer's time.
func (o Outage) Duration() time.Duration { return o.End - o.Start }

// Outages returns every time without an answer in which at least one question
// failed, in order of time, leaving out those that ended before from. A pause
// of the asker itself, in which nothing was asked, is none.
func Outages(results []HTTPResult, from time.Duration) []Outage {
	sorted := slices.SortedFunc(slices.Values(results), func(a, b HTTPResult) int {
		return cmp.Or(cmp.Compare(a.Sent, b.Sent), cmp.Compare(a.Seq, b.Seq))
	})
	var out []Outage
	var open *Outage
	var good HTTPResult // the last answered question
	for _, r := range sorted {
		switch {
		case !r.OK && open == nil:
			open = &Outage{Start: good.Sent, End: r.Done, Failed: 1, Before: Holder{good.Host, good.Epoch}}
			if !good.OK {
				open.Start = r.Sent
			}
		case !r.OK:
			open.Failed++
			open.End = max(open.End, r.Done)
		case open != nil:
			open.End, open.Over, open.After = r.Done, true, Holder{r.Host, r.Epoch}
			out = append(out, *open)
			open = nil
		}
		if r.OK {
			good = r
		}
	}
	if open != nil {
		out = append(out, *open)
	}
	return slices.DeleteFunc(out, func(o Outage) bool { return o.End < from })
}

// Worst returns the longest of the outages that ended at or after from, and
// false if there was none.
func Worst(results []HTTPResult, from time.Duration) (Outage, bool) {
	all := Outages(results, from)
	if len(all) == 0 {
		return Outage{}, false
	}
	return slices.MaxFunc(all, func(a, b Outage) int { return cmp.Compare(a.Duration(), b.Duration()) }), true
}

// Tenure is a time in which one holder gave all answers.
type Tenure struct {
	Holder
	From, To time.Duration // first question sent, last answer complete
	Answers  int
}

// Tenures returns who answered when, in order of time.
func Tenures(results []HTTPResult) []Tenure {
	sorted := slices.SortedFunc(slices.Values(results), func(a, b HTTPResult) int {
		return cmp.Or(cmp.Compare(a.Sent, b.Sent), cmp.Compare(a.Seq, b.Seq))
	})
	var out []Tenure
	for _, r := range sorted {
		if !r.OK {
			continue
		}
		who := Holder{r.Host, r.Epoch}
		if n := len(out); n == 0 || out[n-1].Holder != who {
			out = append(out, Tenure{Holder: who, From: r.Sent})
		}
		last := &out[len(out)-1]
		last.To = max(last.To, r.Done)
		last.Answers++
	}
	return out
}

// Sighting is proof that Who held the address at some moment from From to To,
// as told by the answer to question number Question.
type Sighting struct {
	Who      string
	From, To time.Duration
	Question uint64
}

// SeenByARP turns answers into sightings by hardware address.
func SeenByARP(answers []ARPAnswer) []Sighting {
	var out []Sighting
	for _, a := range answers {
		s := Sighting{Who: a.MAC, From: a.At, To: a.At}
		if !a.Announced {
			s.Question = a.Request
		}
		out = append(out, s)
	}
	return out
}

// SeenByHTTP turns answers into sightings by host.
func SeenByHTTP(results []HTTPResult) []Sighting {
	var out []Sighting
	for _, r := range results {
		if r.OK {
			out = append(out, Sighting{Who: r.Host, From: r.Sent, To: r.Done})
		}
	}
	return out
}

// TwoHolders returns for how long two held the address at once.
//
// A holder's sightings that follow each other within gap count as one hold:
// it certainly lasts from the end of the first (when the holder had answered)
// to the start of the last (when it had yet to). Two holders' holds that
// overlap are two holders at once, for as long as they overlap. So is one
// question that two answered, which counts as one interval at least.
//
// A hold that another interrupts without overlap (moved away and, after more
// than gap, back) is none. gap should be several intervals between questions,
// so that a lost answer does not end a hold, and below the shortest lease.
func TwoHolders(seen []Sighting, interval, gap time.Duration) time.Duration {
	byWho := map[string][]Sighting{}
	for _, s := range seen {
		byWho[s.Who] = append(byWho[s.Who], s)
	}
	var holds []hold
	for who, s := range byWho {
		holds = append(holds, holdsOf(who, s, gap)...)
	}
	var both []span
	for i, a := range holds {
		for _, b := range holds[:i] {
			if lo, hi := max(a.from, b.from), min(a.to, b.to); a.who != b.who && lo < hi {
				both = append(both, span{lo, hi})
			}
		}
	}
	return length(append(both, doubleAnswers(seen, interval)...))
}

type span struct{ from, to time.Duration }

type hold struct {
	who string
	span
}

// holdsOf joins one holder's sightings.
func holdsOf(who string, seen []Sighting, gap time.Duration) []hold {
	slices.SortFunc(seen, func(a, b Sighting) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	var out []hold
	var latest time.Duration // the latest end in the hold so far
	for _, s := range seen {
		if n := len(out); n > 0 && s.From-latest <= gap {
			out[n-1].from = min(out[n-1].from, s.To)
			out[n-1].to = max(out[n-1].to, s.From)
			latest = max(latest, s.To)
			continue
		}
		out = append(out, hold{who, span{s.To, s.From}})
		latest = s.To
	}
	return out
}

// doubleAnswers returns one interval for each question that two answered.
func doubleAnswers(seen []Sighting, interval time.Duration) []span {
	type answered struct {
		who string
		at  time.Duration
	}
	first := map[uint64]answered{}
	var out []span
	for _, s := range seen {
		if s.Question == 0 {
			continue
		}
		f, ok := first[s.Question]
		if !ok {
			first[s.Question] = answered{s.Who, s.From}
		} else if f.who != s.Who {
			out = append(out, span{f.at, f.at + interval})
		}
	}
	return out
}

// length returns the length of the union of the spans.
func length(spans []span) time.Duration {
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	var total, end time.Duration
	for i, s := range spans {
		if i == 0 || s.from > end {
			total += s.to - s.from
			end = s.to
		} else if s.to > end {
			total += s.to - end
			end = s.to
		}
	}
	return total
}
