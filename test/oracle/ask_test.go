package oracle

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/core/crm"
	"github.com/keelson/keelson/internal/model/cib"
)

// errRefused means that crm_simulate does not answer: the document is not valid,
// or it ended itself.
var errRefused = errors.New("crm_simulate refused the document")

// errContradicts means that what crm_simulate tells of the outcome is not what its
// own actions lead to.
var errContradicts = errors.New("crm_simulate contradicts itself")

// at is when all is decided that does not say so itself.
var at = time.Unix(1_700_000_000, 0).UTC()

// compare asks both, and says how they differ, if they do.
func compare(ctx context.Context, root *cib.Element) (string, error) {
	want, err := ask(ctx, root)
	if err != nil {
		return "", err
	}
	got := crm.Simulate(root, at)
	hide(root, got, want)
	if diff := cmp.Diff(want[0], sum(got.Before)); diff != "" {
		return "before (-theirs +ours): " + lines(want[0], sum(got.Before)), nil
	}
	if diff := cmp.Diff(want[1], sum(got.After)); diff != "" {
		return "after (-theirs +ours): " + lines(want[1], sum(got.After)), nil
	}
	return "", nil
}

// hide adds to what they tell the members of groups that are not managed and
// whose node is not online: their report leaves those out, wherever they are.
func hide(root *cib.Element, got crm.Outcome, theirs [2]map[string]int) {
	grouped := map[string]bool{}
	root.Walk(func(e *cib.Element) {
		if e.Name == "group" {
			for _, c := range e.All("primitive") {
				grouped[c.ID()] = true
			}
		}
	})
	for k, n := range sum(got.Before) {
		name, rest, _ := strings.Cut(k, " ")
		node, _, _ := strings.Cut(rest, " ")
		if state := got.Nodes[node]; theirs[0][k] == 0 && grouped[name] && (state == "offline" || state == "unclean") {
			theirs[0][k] = n
			if after := sum(got.After); theirs[1][k] == 0 && after[k] > 0 {
				theirs[1][k] = after[k]
			}
		}
	}
}

// lines are what only one of the two says.
func lines(theirs, ours map[string]int) string {
	var out []string
	for k, n := range theirs {
		if ours[k] < n {
			out = append(out, "- "+k)
		}
	}
	for k, n := range ours {
		if theirs[k] < n {
			out = append(out, "+ "+k)
		}
	}
	slices.SortFunc(out, func(a, b string) int { return strings.Compare(a[2:], b[2:]) })
	return strings.Join(out, ", ")
}

func sum(m map[string][]crm.Seat) map[string]int {
	out := map[string]int{}
	for name, seats := range m {
		for _, s := range seats {
			out[name+" "+s.Node+" "+s.Role] += s.Count
		}
	}
	return out
}

type told struct {
	Before     toldList `xml:"cluster_status"`
	Transition struct {
		Actions []struct {
			XMLName  xml.Name
			Resource string `xml:"resource,attr"`
			Op       string `xml:"op,attr"`
			Target   string `xml:"target,attr"`
			Node     string `xml:"node,attr"`
		} `xml:",any"`
	} `xml:"transition"`
	After toldList `xml:"revised_cluster_status"`
}

type toldList struct {
	Resources toldSet `xml:"resources"`
}

type toldSet struct {
	Resource []struct {
		ID     string `xml:"id,attr"`
		Role   string `xml:"role,attr"`
		Failed bool   `xml:"failed,attr"`
		Node   []struct {
			Name string `xml:"name,attr"`
		} `xml:"node"`
	} `xml:"resource"`
	Group []toldSet `xml:"group"`
	Clone []toldSet `xml:"clone"`
}

// sum adds up what was told. Of a replica that has failed the incumbent's
// summaries, by which its suite is judged, say no more than that it was started.
func (s toldSet) sum(out map[string]int) {
	for _, r := range s.Resource {
		role := r.Role
		if r.Failed && role == "Unpromoted" {
			role = "Started"
		}
		for _, n := range r.Node {
			out[r.ID+" "+n.Name+" "+role]++
		}
	}
	for _, g := range append(slices.Clone(s.Group), s.Clone...) {
		g.sum(out)
	}
}

// askTime bounds one question.
const askTime = 20 * time.Second

// ask returns what crm_simulate says of before and after. Checking against its
// schemas takes most of its time and is left out.
func ask(ctx context.Context, root *cib.Element) ([2]map[string]int, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	unchecked := *root
	unchecked.Attrs = map[string]string{}
	for k, v := range root.Attrs {
		unchecked.Attrs[k] = v
	}
	unchecked.Attrs["validate-with"] = "none"
	args := []string{"-S", "--output-as=xml", "-p"}
	if !root.Has("execution-date") {
		args = append(args, "-t", at.Format("2006-01-02 15:04:05Z"))
	}
	cmd := exec.CommandContext(ctx, "crm_simulate", args...)
	cmd.Stdin = strings.NewReader(text(&unchecked))
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	if err := cmd.Run(); err != nil {
		return [2]map[string]int{}, errors.Join(errRefused, err)
	}
	var all told
	if err := xml.Unmarshal(stdout.Bytes(), &all); err != nil {
		return [2]map[string]int{}, errors.Join(errRefused, err)
	}
	out := [2]map[string]int{{}, {}}
	all.Before.Resources.sum(out[0])
	all.After.Resources.sum(out[1])
	if !all.consistent(out[0], out[1]) {
		return out, errContradicts
	}
	return out, nil
}

// consistent reports whether the actions that were told lead from before to
// after. The simulation writes what it did into the history and reads it back,
// and does not always come to what its own plan says: it takes a cancelled check
// for a sign of life, for example. Then there is no telling what it wanted.
func (t *told) consistent(before, after map[string]int) bool {
	is := map[string]int{}
	for k, n := range before {
		name, role := cutRole(k)
		is[name+" "+role] += n
	}
	for _, a := range t.Transition.Actions {
		name, _, _ := strings.Cut(a.Resource, ":")
		at := name + " " + a.Node
		switch {
		case a.XMLName.Local == "fencing_action":
			for k := range is {
				if a.Op != "on" && strings.Contains(k, " "+a.Target+" ") {
					delete(is, k)
				}
			}
		case a.Op == "start":
			is[at+" runs"]++
		case a.Op == "stop":
			if is[at+" runs"] > 0 {
				is[at+" runs"]--
			} else {
				is[at+" Promoted"]--
			}
		case a.Op == "promote":
			is[at+" runs"]--
			is[at+" Promoted"]++
		case a.Op == "demote":
			is[at+" runs"]++
			is[at+" Promoted"]--
		}
	}
	for k, n := range after {
		name, role := cutRole(k)
		is[name+" "+role] -= n
	}
	for _, n := range is {
		if n != 0 {
			return false
		}
	}
	return true
}

// cutRole splits "a n1 Started" before the role, of which it tells apart only
// the primary one.
func cutRole(k string) (name, role string) {
	i := strings.LastIndexByte(k, ' ')
	name, node, _ := strings.Cut(k[:i], " ")
	name, _, _ = strings.Cut(name, ":")
	if k[i+1:] == "Promoted" {
		return name + " " + node, "Promoted"
	}
	return name + " " + node, "runs"
}
