// Program bench measures how long a service is away when its host fails, under
// Keelson and under the stacks it is compared with, in one run on one machine.
//
// Its one rule: what it reports was seen by a client on the same network, on
// hosts that are all made in the same way. All contestants take turns, so that
// what else the machine does hits them alike, and where there is a fault only one
// of them is up at a time. It needs root, and takes hours; it goes on where it was interrupted.
// `make bench-failover` runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/keelson/keelson/internal/lab"
	"github.com/keelson/keelson/test/bench/journal"
	"github.com/keelson/keelson/test/bench/report"
)

const usage = `Measure failovers of Keelson, Pacemaker and keepalived in the lab.

Usage:
    bench [FLAGS]

Every flag can be given as a variable of the environment too, KEELSON_BENCH_DIR
for -dir and so on. What is measured is one or more of:

    %s

Flags:
`

// options say what to measure.
type options struct {
	binary      string
	dir         string
	out         string
	spec        string
	contestants []string
	faults      []string
	nodes       []int
	trials      int
	steady      time.Duration
	together    int
	reportOnly  bool
}

func main() {
	lab.MaybeRunInner()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT) //nolint:forbidigo // main begins here
	o, err := parse(os.Args[1:], os.Getenv, os.Stderr)
	if err == nil {
		err = run(ctx, o, os.Stdout)
	}
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "bench: interrupted; the same command goes on from here")
		os.Exit(1)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// parse reads the flags; those not given are taken from the environment.
func parse(args []string, getenv func(string) string, errs io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(errs)
	flags.Usage = func() {
		_, _ = fmt.Fprintf(errs, usage, strings.Join(whats(), " "))
		flags.PrintDefaults()
	}
	flags.StringVar(&o.binary, "keelson", "bin/keelson", "the keelson to measure")
	flags.StringVar(&o.dir, "dir", "bin/bench-failover", "where what was measured is kept")
	flags.StringVar(&o.out, "out", "docs", "where the report goes: benchmarks/failover.json and images/failover.svg below it")
	flags.StringVar(&o.spec, "spec", "", "lines to add to the spec of Keelson's service, such as 'failover: {ttl: 500ms}'")
	contestants := flags.String("contestants", strings.Join(names(), ","), "who takes part")
	faults := flags.String("faults", strings.Join(whats(), ","), "what is measured")
	nodes := flags.String("nodes", "3,8,16,32", "the sizes of the cells of scale")
	flags.IntVar(&o.trials, "trials", 8, "how often each fault is tried")
	seconds := flags.Float64("seconds", 180, "how long each time without a fault lasts")
	flags.IntVar(&o.together, "together", 3, "how many contestants are watched side by side in a time without a fault, each in a lab of its own")
	flags.BoolVar(&o.reportOnly, "report", false, "measure nothing, make the report from what was measured before")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	var bad error
	flags.VisitAll(func(f *flag.Flag) {
		variable := "KEELSON_BENCH_" + strings.ToUpper(f.Name)
		if text := getenv(variable); text != "" && !given[f.Name] {
			if err := f.Value.Set(text); err != nil {
				bad = errors.Join(bad, fmt.Errorf("%s=%s: %w", variable, text, err))
			}
		}
	})
	o.steady = time.Duration(*seconds * float64(time.Second))
	o.contestants, o.faults = words(*contestants), words(*faults)
	for _, w := range words(*nodes) {
		n, err := strconv.Atoi(w)
		if err != nil || n < 1 {
			bad = errors.Join(bad, fmt.Errorf("%q is no number of nodes", w))
		}
		o.nodes = append(o.nodes, n)
	}
	if o.together < 1 {
		bad = errors.Join(bad, fmt.Errorf("%d contestants side by side cannot be: it is 1 or more", o.together))
	}
	return o, errors.Join(bad, known(o.contestants, names()), known(o.faults, whats()))
}

func words(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}

func known(given, all []string) error {
	for _, g := range given {
		if !slices.Contains(all, g) {
			return fmt.Errorf("there is no %q; there are %s", g, strings.Join(all, ", "))
		}
	}
	return nil
}

// run measures what is missing and makes the report, also of a run that was
// interrupted.
func run(ctx context.Context, o options, out io.Writer) error {
	j, err := journal.Open(filepath.Join(o.dir, "measured.jsonl"))
	if err != nil {
		return err
	}
	var measured error
	if !o.reportOnly {
		if os.Geteuid() != 0 {
			return errors.New("the lab of this benchmark needs root")
		}
		b := &bench{options: o, journal: j, out: out}
		measured = b.measure(ctx)
	}
	r := report.Of(j.Entries(), contestantsOf())
	if len(j.Entries()) == 0 {
		return measured
	}
	_, _ = fmt.Fprintf(out, "\n%s", r.Text())
	return errors.Join(measured, r.Save(o.out))
}
