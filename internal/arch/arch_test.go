// Package arch tests the code itself: which floor may import which, that every
// package says what it is for, and that nothing grows too large to read.
package arch

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/keelson/keelson/"

// floors is the house, from the ground up: what a floor may import of ours.
var floors = map[string][]string{
	"base":   {},
	"model":  {},
	"core":   {"model"}, // not base: the core has no clock, no files, no log
	"store":  {"model", "base"},
	"driver": {"model", "base"},
	"engine": {"core", "model", "store", "base"},
	"front":  {"model", "base"},
	"lab":    {"driver", "model", "base"},
	"sim":    {"core", "model", "base"},
	"app":    {"front", "engine", "driver", "store", "core", "lab", "sim", "model", "base"},
	"arch":   {},
}

// siblings are the imports within a floor that are right.
var siblings = map[string][]string{
	"model/record":          {"model/fact", "model/spec"},
	"model/guardwire":       {"model/record", "model/spec"},
	"model/request":         {"model/record"},
	"model/status":          {"model/fact"},
	"model/action":          {"model/event", "model/fact"},
	"core/lease":            {"core/quorum"},
	"core/detect":           {"core/quorum"},
	"core/plane":            {"core/lease", "core/detect", "core/quorum"},
	"core/bound":            {"core/detect", "core/lease", "core/plane"},
	"core/custody":          {"core/bound", "core/lease", "core/plane", "core/quorum", "core/supervise"},
	"core/mandate":          {"core/supervise"},
	"core/step":             {"core/place"},
	"core/crm":              {"core/place", "core/step"},
	"core/crm/past":         {"core/crm/clause"},
	"core/decide":           {"core/audit", "core/place", "core/recovery", "core/step"},
	"core/decide/restrain":  {"core/recovery"},
	"core/explain":          {"core/decide", "core/mandate", "core/recovery"},
	"engine/mirror":         {"engine/cell", "engine/agent/lastknown"},
	"store/etcdstore":       {"store"},
	"store/memstore":        {"store"},
	"store/storetest":       {"store"},
	"driver/part/exec":      {"driver/cgroup"},
	"base/command":          {"base/clock", "base/thread"},
	"base/footprint":        {"base/clock", "base/thread"},
	"front/cli/histories":   {"front/cli/screen"},
	"front/cli/mending":     {"front/cli/screen", "front/cli/screen/view", "front/cli/output"},
	"front/cli/reasons":     {"front/cli/screen", "front/cli/output"},
	"sim":                   {"sim/agenda", "sim/truth"},
	"sim/whole":             {"sim/agenda"},
	"front/cli/awaiting":    {"front/cli/screen/view"},
	"front/cli/maintenance": {"front/cli/output", "front/cli/screen"},
	"front/cli/draining":    {"front/cli/screen/view"},
	"front/cli/newcomer":    {"front/cli/screen"},
	"front/cli/output":      {"front/cli/screen"},
}

// impure names what the core may not import.
var impure = []string{"os", "net", "net/http", "log", "log/slog", "math/rand", "math/rand/v2", "sync", "context", "io/fs", "runtime"}

// limits of size; see docs/ARCHITECTURE.md.
const (
	maxFile      = 600
	maxPackage   = 3000
	maxFields    = 20
	maxMethods   = 5
	maxParams    = 5
	maxResults   = 3
	exceptionsIn = "exceptions.txt"
)

type pkg struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string
	Module     struct{ Main bool }
}

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,GoFiles,Imports", module+"...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var pkgs []pkg
	dec := json.NewDecoder(bytes.NewReader(out))
	for {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

// floorOf splits "internal/core/lease" into its floor and its path.
func floorOf(importPath string) (floor, path string, ok bool) {
	path, ok = strings.CutPrefix(importPath, module+"internal/")
	floor, _, _ = strings.Cut(path, "/")
	return floor, path, ok
}

func TestImportsGoDownward(t *testing.T) {
	for _, p := range packages(t) {
		floor, path, ok := floorOf(p.ImportPath)
		if !ok {
			continue
		}
		allowed, known := floors[floor]
		if !known {
			t.Errorf("%s is on no floor", path)
		}
		for _, imp := range p.Imports {
			if floor == "core" && slices.Contains(impure, imp) {
				t.Errorf("%s imports %s: the core is pure", path, imp)
			}
			if imp == module+"api/client" || strings.HasPrefix(imp, module+"api/keelson") {
				if floor != "front" && floor != "app" && floor != "lab" {
					t.Errorf("%s imports %s: Protobuf types stop in front", path, imp)
				}
			}
			to, toPath, ours := floorOf(imp)
			switch {
			case !ours || slices.Contains(allowed, to):
			case to == floor && (floor == "lab" || floor == "app" || related(path, toPath)):
			default:
				t.Errorf("%s imports %s: a floor imports only what lies under it", path, toPath)
			}
		}
	}
}

// related reports whether an import within a floor is right: one lies inside
// the other, all of model may use model/spec, or the table says so.
func related(from, to string) bool {
	return strings.HasPrefix(from, to+"/") || strings.HasPrefix(to, from+"/") || to == "model/spec" ||
		slices.Contains(siblings[from], to) ||
		strings.HasPrefix(from, "front/cli") && strings.HasPrefix(to, "front/importer") ||
		strings.HasPrefix(from, "model/") && to == "model/spec"
}

func TestPackagesSayWhatTheyAreFor(t *testing.T) {
	banned := []string{"util", "utils", "common", "types", "structs", "helpers", "misc"}
	for _, p := range packages(t) {
		if slices.Contains(banned, filepath.Base(p.ImportPath)) {
			t.Errorf("%s: the name says nothing", p.ImportPath)
		}
		if len(p.GoFiles) == 0 || strings.Contains(p.ImportPath, "/api/keelson") {
			continue
		}
		documented := false
		for _, f := range p.GoFiles {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, f), nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			documented = documented || file.Doc != nil && (strings.HasPrefix(file.Doc.Text(), "Package "+file.Name.Name) || file.Name.Name == "main")
		}
		if !documented {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}

func TestNothingIsTooLargeToRead(t *testing.T) {
	excused := exceptions(t)
	complain := func(what string, n, limit int) {
		if n > limit && !excused[what] {
			t.Errorf("%s is %d, the limit is %d", what, n, limit)
		}
		if n <= limit && excused[what] {
			t.Errorf("%s fits; take it out of %s", what, exceptionsIn)
		}
	}
	for _, p := range packages(t) {
		if strings.Contains(p.ImportPath, "/api/keelson") {
			continue
		}
		total := 0
		path := strings.TrimPrefix(p.ImportPath, module)
		for _, f := range p.GoFiles {
			data, err := os.ReadFile(filepath.Join(p.Dir, f))
			if err != nil {
				t.Fatal(err)
			}
			lines := bytes.Count(data, []byte("\n"))
			total += lines
			complain("lines of "+path+"/"+f, lines, maxFile)
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, f, data, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				measure(n, path, complain)
				return true
			})
		}
		complain("lines of "+path, total, maxPackage)
	}
}

func measure(n ast.Node, path string, complain func(string, int, int)) {
	switch n := n.(type) {
	case *ast.TypeSpec:
		switch t := n.Type.(type) {
		case *ast.StructType:
			complain("fields of "+path+"."+n.Name.Name, t.Fields.NumFields(), maxFields)
		case *ast.InterfaceType:
			complain("methods of "+path+"."+n.Name.Name, t.Methods.NumFields(), maxMethods)
		}
	case *ast.FuncDecl:
		complain("parameters of "+path+"."+n.Name.Name, n.Type.Params.NumFields(), maxParams)
		if n.Type.Results != nil {
			complain("results of "+path+"."+n.Name.Name, n.Type.Results.NumFields(), maxResults)
		}
	}
}

// exceptions reads the list of what may be larger, each with its reason.
func exceptions(t *testing.T) map[string]bool {
	t.Helper()
	f, err := os.Open(exceptionsIn)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := map[string]bool{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		what, why, ok := strings.Cut(lines.Text(), " : ")
		if strings.HasPrefix(lines.Text(), "#") || lines.Text() == "" {
			continue
		}
		if !ok || why == "" {
			t.Errorf("%s: %q has no reason", exceptionsIn, lines.Text())
		}
		out[what] = true
	}
	return out
}
