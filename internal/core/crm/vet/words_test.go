package vet

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/model/cib"
)

// everything is a document with each word of the language.
func everything(t *testing.T) *cib.Element {
	t.Helper()
	file, err := os.Open(filepath.Join("..", "testdata", "everything.xml"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	root, err := cib.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// TestEverythingHasTheWholeLanguage keeps the document by which the import is judged
// as large as the language.
func TestEverythingHasTheWholeLanguage(t *testing.T) {
	root := everything(t)
	missing := map[string]bool{}
	for name, w := range words() {
		missing[name] = true
		for _, k := range slices.Concat(w.attributes, w.children) {
			missing[name+" "+k] = true
		}
		// Any element may have them, and they mean nothing more.
		delete(missing, name+" id")
		delete(missing, name+" description")
		delete(missing, name+" ...")
	}
	root.Walk(func(e *cib.Element) {
		delete(missing, e.Name)
		for k := range e.Attrs {
			delete(missing, e.Name+" "+k)
		}
		for _, c := range e.Children {
			delete(missing, e.Name+" "+c.Name)
		}
	})
	for _, k := range slices.Sorted(maps.Keys(missing)) {
		t.Errorf("%s is nowhere in it", k)
	}
}

func TestWhatIsNoWordIsNoted(t *testing.T) {
	tests := []struct {
		name, resources, constraints string
		want                         []string
	}{
		{
			name: "an attribute of tomorrow", resources: `<primitive id="r" shape="round"/>`,
			want: []string{"primitive r: its attribute shape is not understood"},
		},
		{
			name: "an element of tomorrow", constraints: `<rsc_moon id="m"/>`,
			want: []string{`constraints "": rsc_moon m in it is not understood`},
		},
		{
			name: "an element where none of its kind is read", resources: `<primitive id="r"><rsc_location id="l" rsc="r" node="a" score="1"/></primitive>`,
			want: []string{"primitive r: rsc_location l in it is not understood"},
		},
		{
			name: "a second one where one is read", resources: `<clone id="c"><primitive id="r"/><primitive id="s"/></clone>`,
			want: []string{"clone c: primitive s is one too many in it, and not read"},
		},
		{
			name: "a reference to nothing", resources: `<primitive id="r"><operations id-ref="none"/></primitive>`,
			want: []string{`operations "": there is no operations none that it could refer to, so it says nothing`},
		},
		{
			name: "what is not read beside a set", constraints: `<rsc_colocation id="c" rsc="a" with-rsc="b"><resource_set id="s"/></rsc_colocation>`,
			want: []string{"rsc_colocation c: its attribute rsc is not read beside its resource_set", "rsc_colocation c: its attribute with-rsc is not read beside its resource_set"},
		},
		{
			name: "one name twice", resources: `<primitive id="r"><meta_attributes id="m"><nvpair id="a" name="priority" value="1"/><nvpair id="b" name="priority" value="2"/></meta_attributes></primitive>`,
			want: []string{"meta_attributes m: priority is there twice in it, and the first one counts"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Check(read(t, "", tt.resources, tt.constraints))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("notes (-want +got):\n%s", diff)
			}
		})
	}
}
