package oracle

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/keelson/keelson/internal/model/cib"
)

// disagreement is a cluster on which the two decide differently.
type disagreement struct {
	name  string
	small *cib.Element
	diff  string
}

// tally is what came of many clusters.
type tally struct {
	asked, agreed, refused, contradicts int
	differ                              []disagreement
}

func (t *tally) percent() float64 {
	return 100 * float64(t.agreed) / float64(max(1, t.agreed+len(t.differ)))
}

// needOracle skips a test where there is nobody to ask.
func needOracle(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("crm_simulate"); err != nil {
		t.Skip("crm_simulate is not installed: Debian has it in pacemaker-cli-utils")
	}
}

// judge asks about count clusters, made from their number.
func judge(t *testing.T, count int, make func(n int) (string, *cib.Element)) *tally {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	out := &tally{}
	found := map[int]disagreement{}
	next := 0
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				mu.Lock()
				n := next
				next++
				mu.Unlock()
				if n >= count || t.Context().Err() != nil {
					return
				}
				name, root := make(n)
				diff, err := compare(t.Context(), root)
				var d disagreement
				if diff != "" {
					small := root
					if os.Getenv("KEELSON_ORACLE_WHOLE") == "" {
						small = shrink(t.Context(), root)
					}
					d = disagreement{name: name, small: small}
					d.diff, _ = compare(t.Context(), small)
				}
				mu.Lock()
				out.asked++
				switch {
				case errors.Is(err, errRefused):
					out.refused++
				case errors.Is(err, errContradicts):
					out.contradicts++
				case err != nil:
					t.Error(err)
				case diff == "":
					out.agreed++
				default:
					found[n] = d
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for n := range count {
		if d, is := found[n]; is {
			out.differ = append(out.differ, d)
		}
	}
	return out
}

// number reads a number from the environment.
func number(name string, byDefault int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return byDefault
}

func report(t *testing.T, out *tally) {
	t.Helper()
	for _, d := range out.differ {
		t.Logf("%s\n%s%s", d.name, brief(d.small), d.diff)
		if keep := os.Getenv("KEELSON_ORACLE_KEEP"); keep != "" {
			_ = os.WriteFile(filepath.Join(keep, strings.ReplaceAll(d.name, " ", "-")+".xml"), []byte(text(d.small)), 0o600)
		}
	}
	if path := os.Getenv("KEELSON_ORACLE_REPORT"); path != "" {
		if err := os.WriteFile(path, []byte(list(out)), 0o644); err != nil { //nolint:gosec // it is to be read by all
			t.Error(err)
		}
	}
	t.Logf("%d asked, %d refused, %d contradicted, %d agree: %.2f %%", out.asked, out.refused, out.contradicts, out.agreed, out.percent())
}

// TestAgainstTheIncumbent makes clusters by chance, with all features at once, and
// compares what both would do with them. KEELSON_ORACLE is how many,
// KEELSON_ORACLE_SEED the first, KEELSON_ORACLE_REPORT the file to list the
// disagreements in. KEELSON_ORACLE_SEEDS asks about these alone, with a space
// between them.
func TestAgainstTheIncumbent(t *testing.T) {
	needOracle(t)
	seed := number("KEELSON_ORACLE_SEED", 0)
	features := os.Getenv("KEELSON_ORACLE_WITH")
	only := strings.Fields(os.Getenv("KEELSON_ORACLE_SEEDS"))
	count := number("KEELSON_ORACLE", 100)
	if len(only) > 0 {
		count = len(only)
	}
	out := judge(t, count, func(n int) (string, *cib.Element) {
		n += seed
		if len(only) > 0 {
			n, _ = strconv.Atoi(only[n-seed])
		}
		root, err := cib.Read(strings.NewReader(generate(uint64(n), features)))
		if err != nil {
			t.Error(err)
		}
		return "seed " + strconv.Itoa(n), root
	})
	report(t, out)
	if out.percent() < 97 && len(only) == 0 {
		t.Errorf("less than 97 %% agree")
	}
}
