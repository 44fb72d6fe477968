package reasons

import (
	"fmt"
	"strings"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/front/cli/screen"
	"github.com/keelson/keelson/internal/model/reason"
)

// shortID is how much of a plan's id is shown: enough to tell one from another.
const shortID = 8

// ShortPlan is the beginning of a plan's id, which names it as well.
func ShortPlan(id string) string { return id[:min(len(id), shortID)] }

// page is a text for people, a paragraph after the other.
type page struct {
	strings.Builder
	width int
	color bool
}

// say writes a sentence.
func (p *page) say(format string, args ...any) {
	for _, line := range screen.Wrap(screen.Clean(fmt.Sprintf(format, args...)), p.width) {
		p.WriteString(line + "\n")
	}
}

// item writes a sentence below another.
func (p *page) item(text string) {
	mark := "  "
	for _, line := range screen.Wrap(screen.Clean(text), p.width-4) {
		p.WriteString(mark + line + "\n")
		mark = "    "
	}
}

// head writes the heading of a paragraph.
func (p *page) head(text string) {
	if p.Len() > 0 {
		p.WriteString("\n")
	}
	if p.color {
		text = screen.Paint(text, screen.Strong)
	}
	p.WriteString(text + "\n")
}

// table writes a table whose last column is wrapped.
func (p *page) table(t screen.Table) {
	t.Wrap = true
	p.WriteString(t.Render(p.width, p.color))
}

// told writes a table with a sentence below each row.
func (p *page) told(t screen.Table, below []string) {
	for i, line := range strings.Split(strings.TrimRight(t.Render(p.width, p.color), "\n"), "\n") {
		p.WriteString(line + "\n")
		if i > 0 && below[i-1] != "" {
			p.item(below[i-1])
		}
	}
}

func joined[T ~string](names []T) string {
	words := make([]string, len(names))
	for i, n := range names {
		words[i] = string(n)
	}
	return strings.Join(words, ", ")
}

func places(seats []reason.Seat) string {
	words := make([]string, len(seats))
	for i, s := range seats {
		words[i] = string(s.Node)
		if s.Role != "" {
			words[i] += " (" + string(s.Role) + ")"
		}
	}
	return strings.Join(words, ", ")
}

// Why is where a service is and why.
func Why(w client.Why, width int, color bool) string {
	p := &page{width: width, color: color}
	now, belongs := places(w.Now), places(w.Belongs)
	switch {
	case w.Hold != "" && now == "":
		p.say("%s runs nowhere.", w.Service)
	case w.Hold != "":
		p.say("%s is on %s.", w.Service, now)
	case now == "" && belongs == "":
		p.say("%s runs nowhere and has no home.", w.Service)
	case now == "":
		p.say("%s runs nowhere, and belongs on %s.", w.Service, belongs)
	case now == belongs:
		p.say("%s is on %s, where it belongs.", w.Service, now)
	case belongs == "":
		p.say("%s is on %s, and has no home.", w.Service, now)
	default:
		p.say("%s is on %s, and belongs on %s.", w.Service, now, belongs)
	}
	for _, b := range w.Because {
		p.item(b)
	}
	if w.Plan != "" {
		p.item(fmt.Sprintf("decided at %s: `keelson replay %s --show` takes that decision again", screen.Moment(w.Placed), ShortPlan(w.Plan)))
	}
	if len(w.Nodes) > 0 {
		p.head("Nodes")
		p.table(verdicts(w.Nodes))
	}
	if len(w.Shifts) > 0 {
		p.head("What would move it")
		t := screen.Table{Head: []string{"IT GOES TO", "IF"}}
		for _, s := range w.Shifts {
			to := screen.Strong.Of(places(s.To))
			if len(s.To) == 0 {
				to = screen.Bad.Of("nowhere")
			}
			text := s.If
			if s.Then != "" {
				text += ", " + s.Then
			}
			t.Rows = append(t.Rows, []screen.Field{to, screen.Text(text)})
		}
		p.table(t)
	}
	return p.String()
}

func verdicts(list []reason.Verdict) screen.Table {
	t := screen.Table{Head: []string{"NODE", "STANDS", "SCORE", "WHY"}}
	next := 0
	for _, v := range list {
		stand, score := screen.Field{}, ""
		if v.By != reason.ByRule {
			score = fmt.Sprint(v.Score)
		}
		switch v.Stand {
		case reason.Home:
			// The sentence about it is said above.
			stand, v.Why = screen.Good.Of("home"), parts(v)
		case reason.Next:
			next++
			stand = screen.Text(fmt.Sprintf("takes over (%d)", next))
		case reason.Never:
			stand = screen.Doubtful.Of("may not")
		}
		t.Rows = append(t.Rows, []screen.Field{screen.Strong.Of(string(v.Node)), stand, screen.Text(score), screen.Text(v.Why)})
	}
	return t
}

// parts is what the score of a home is made of.
func parts(v reason.Verdict) string {
	if len(v.Scores) == 0 {
		return "it belongs here"
	}
	words := make([]string, len(v.Scores))
	for i, s := range v.Scores {
		words[i] = fmt.Sprintf("%s %+d", s.Rule, s.Score)
	}
	return strings.Join(words, ", ")
}

// Outlook is what would happen; calm is what is said if nothing would.
func Outlook(o client.Outlook, calm string, width int, color bool) string {
	p := &page{width: width, color: color}
	if o.Hold != "" {
		p.say("%s", o.Hold)
	}
	for _, n := range o.Notes {
		p.say("note: %s", n)
	}
	happens, follows := split(o.Changes)
	if len(happens) == 0 {
		p.say("%s", calm)
	} else {
		p.head("Services")
		t, why := changes(happens)
		p.told(t, why)
	}
	if len(follows) > 0 {
		p.head("Stays, and others take over than now")
		p.table(followers(follows))
	}
	if len(o.Stays) > 0 {
		p.head(fmt.Sprintf("Stays as it is (%d)", len(o.Stays)))
		p.item(joined(o.Stays))
	}
	if len(o.Alone) > 0 {
		p.head("Nobody would take over")
		t, why := alone(o.Alone)
		p.told(t, why)
	}
	if len(o.Steps) > 0 {
		p.head("Steps")
		p.table(steps(o.Steps))
	}
	if len(o.Room) > 0 {
		p.head("Capacity")
		p.table(room(o.Room))
	}
	return p.String()
}

// split parts what happens to services from who takes them over.
func split(list []reason.Change) (happens, follows []reason.Change) {
	for _, c := range list {
		if c.Kind == reason.Follows {
			follows = append(follows, c)
			continue
		}
		happens = append(happens, c)
	}
	return happens, follows
}

func followers(list []reason.Change) screen.Table {
	t := screen.Table{Head: []string{"SERVICE", "ON", "THEN"}}
	for _, c := range list {
		next := joined(c.Next)
		if next == "" {
			next = "nobody"
		}
		t.Rows = append(t.Rows, []screen.Field{screen.Strong.Of(string(c.Service)), screen.Text(places(c.To)), screen.Text(next)})
	}
	return t
}

func changes(list []reason.Change) (t screen.Table, why []string) {
	t.Head = []string{"SERVICE", "WHAT", "FROM", "TO", "THEN"}
	for _, c := range list {
		what := screen.Text(string(c.Kind))
		switch c.Kind {
		case reason.Loses:
			what = screen.Bad.Of("loses its home")
		case reason.Homeless:
			what = screen.Bad.Of("has no home")
		case reason.Moves, reason.Restarts, reason.Stops, reason.Copies:
			what.Tone = screen.Doubtful
		case reason.Adjusts, reason.Follows:
		case reason.Starts:
			what.Tone = screen.Good
		}
		t.Rows = append(t.Rows, []screen.Field{
			screen.Strong.Of(string(c.Service)), what, screen.Text(places(c.From)), screen.Text(places(c.To)), screen.Text(joined(c.Next)),
		})
		why = append(why, because(c))
	}
	return t, why
}

// because is why something happens to a service, in a few sentences.
func because(c reason.Change) string {
	if c.Kind == reason.Loses || c.Kind == reason.Homeless {
		if len(c.Against) > 0 {
			return against(c.Against)
		}
	}
	return strings.Join(c.Why, "; ")
}

// against says what forbids each node.
func against(list []reason.Verdict) string {
	words := make([]string, 0, len(list))
	for _, v := range list {
		if strings.HasPrefix(v.Why, string(v.Node)+" ") {
			words = append(words, v.Why)
			continue
		}
		words = append(words, fmt.Sprintf("%s: %s", v.Node, v.Why))
	}
	return strings.Join(words, "; ")
}

func alone(list []reason.Alone) (t screen.Table, why []string) {
	t.Head = []string{"SERVICE", "ON", "NEW"}
	for _, a := range list {
		isNew := ""
		if a.New {
			isNew = "yes"
		}
		t.Rows = append(t.Rows, []screen.Field{
			screen.Strong.Of(string(a.Service)), screen.Text(string(a.Node)), screen.Doubtful.Of(isNew),
		})
		why = append(why, against(a.Against))
	}
	return t, why
}

func steps(list []reason.Step) screen.Table {
	t := screen.Table{Head: []string{"STEP", "DO", "SERVICE", "ON", "AFTER STEP"}}
	for _, s := range list {
		words := make([]string, len(s.After))
		for i, n := range s.After {
			words[i] = fmt.Sprint(n)
		}
		t.Rows = append(t.Rows, []screen.Field{
			screen.Text(fmt.Sprint(s.Number)), screen.Text(s.Verb), screen.Strong.Of(string(s.Service)), screen.Text(string(s.Node)), screen.Text(strings.Join(words, ", ")),
		})
	}
	return t
}

func room(list []reason.Room) screen.Table {
	t := screen.Table{Head: []string{"NODE", "UNIT", "HAS", "USED", "LEFT"}}
	for _, r := range list {
		left := screen.Text(fmt.Sprint(r.Left))
		if r.Left <= 0 {
			left.Tone = screen.Doubtful
		}
		t.Rows = append(t.Rows, []screen.Field{
			screen.Strong.Of(string(r.Node)), screen.Text(r.Unit), screen.Text(fmt.Sprint(r.Has)), screen.Text(fmt.Sprint(r.Used)), left,
		})
	}
	return t
}

// Decisions is the table of recorded decisions.
func Decisions(list []client.Decision, width int, color bool) string {
	if len(list) == 0 {
		return "no decision is recorded\n"
	}
	t := screen.Table{Head: []string{"PLAN", "TIME", "BY", "BYTES", "SERVICES"}, Wrap: true}
	for _, d := range list {
		size := fmt.Sprint(d.Bytes)
		if d.Bytes == 0 {
			size = "too large"
		}
		t.Rows = append(t.Rows, []screen.Field{
			screen.Strong.Of(d.Plan), screen.Faint.Of(screen.Moment(d.At)), screen.Text(string(d.Node)), screen.Text(size), screen.Text(joined(d.Services)),
		})
	}
	return t.Render(width, color)
}

// Replayed is what came of taking a decision again; with why, what it says of
// each service.
func Replayed(r client.Replayed, why bool, width int, color bool) string {
	p := &page{width: width, color: color}
	by := ""
	if r.Decision.Node != "" {
		by = " by " + string(r.Decision.Node)
	}
	verdict := "decided now; there is nothing to compare with"
	switch {
	case r.Same:
		verdict = "the same to the byte"
	case r.Compared:
		verdict = "NOT the same: " + r.Difference
	}
	p.say("decision %s of %s%s: %s", r.Decision.Plan, screen.Moment(r.Decision.At), by, verdict)
	if r.Hold != "" {
		p.say("nothing was decided: %s", r.Hold)
	}
	if !why && r.Compared {
		return p.String()
	}
	for _, one := range r.Places {
		where := places(one.Seats)
		if where == "" {
			where = "nowhere"
		}
		if len(one.Next) > 0 {
			where += ", then " + joined(one.Next)
		}
		if one.Changed {
			where += "  (changed)"
		}
		p.head(fmt.Sprintf("%s: %s", one.Service, where))
		for _, w := range one.Why {
			p.item(w)
		}
	}
	return p.String()
}
