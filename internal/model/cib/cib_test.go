package cib

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadTakesOnlyWhatIsSafe(t *testing.T) {
	deep := "<cib>" + strings.Repeat("<a>", MaxDepth+1) + strings.Repeat("</a>", MaxDepth+1) + "</cib>"
	tests := []struct {
		name string
		text string
		want error
	}{
		{"a small document passes", `<cib have-quorum="1"><configuration/></cib>`, nil},
		{"an entity bomb is refused", `<!DOCTYPE x [<!ENTITY a "b"><!ENTITY c "&a;&a;">]><cib>&c;</cib>`, ErrUnsafe},
		{"an outside entity is refused", `<!DOCTYPE x SYSTEM "file:///etc/passwd"><cib/>`, ErrUnsafe},
		{"an unknown entity is refused", `<cib><configuration x="&b;"/></cib>`, ErrBroken},
		{"a deep document is refused", deep, ErrTooLarge},
		{"a cut document is refused", `<cib><configuration>`, ErrBroken},
		{"crossed elements are refused", `<cib><a></cib></a>`, ErrBroken},
		{"two roots are refused", `<cib><configuration/></cib><cib/>`, ErrBroken},
		{"nothing is refused", ``, ErrBroken},
		{"another document is refused", `<html/>`, ErrNotCIB},
		{"noise is refused", "\x00\xff\x13", ErrBroken},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Read(strings.NewReader(tt.text)); !errors.Is(err, tt.want) {
				t.Errorf("the error is %v, want %v", err, tt.want)
			}
		})
	}
}

// zeros is a reader without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestReadEndsEvenIfTheDocumentDoesNot(t *testing.T) {
	if _, err := Read(zeros{}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("the error is %v", err)
	}
}

func TestTheTreeKeepsOrderAndAttributes(t *testing.T) {
	root, err := Read(strings.NewReader(`<?xml version="1.0"?><cib a="1"><configuration><x id="1"/><y/><x id="2"/></configuration></cib>`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range root.Child("configuration").All("x") {
		got = append(got, e.ID())
	}
	if diff := cmp.Diff([]string{"1", "2"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if root.Child("none").Attr("a") != "" || root.Child("none").All("x") != nil {
		t.Error("nothing has something")
	}
}

func FuzzRead(f *testing.F) {
	f.Add(`<cib have-quorum="1"><configuration><nodes/></configuration></cib>`)
	f.Add(`<!DOCTYPE a><cib/>`)
	f.Fuzz(func(t *testing.T, text string) {
		root, err := Read(strings.NewReader(text))
		if (root == nil) == (err == nil) {
			t.Fatalf("root %v, error %v", root, err)
		}
	})
}
