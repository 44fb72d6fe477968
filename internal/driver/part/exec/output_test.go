package exec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/model/spec"
)

// put makes an output folder with the given content.
func put(t testing.TB, old, now string) Log {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{outputName: now}
	if old != "" {
		files[oldName] = old
		files[removedName] = fmt.Sprint(len(old))
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Log{dir, clock.System{}}
}

// add appends to the output, as a program does.
func (l Log) add(t testing.TB, text string) {
	t.Helper()
	f, err := createOutput(l.dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestTail(t *testing.T) {
	long := strings.Repeat("x", MaxLine)
	many := strings.Repeat(strings.Repeat("y", 99)+"\n", 3000) // several blocks
	tests := []struct {
		name     string
		old, now string
		lines    int
		want     []string
	}{
		{"an empty output has no lines", "", "", 10, nil},
		{"fewer lines than asked for", "", "a\nb\n", 10, []string{"a", "b"}},
		{"only the last", "", "a\nb\nc\n", 2, []string{"b", "c"}},
		{"a last line without a newline counts", "", "a\nb\nc", 2, []string{"b", "c"}},
		{"none", "", "a\nb\n", 0, nil},
		{"all", "x\ny\n", "a\n", -1, []string{"x", "y", "a"}},
		{"lines are taken from the old file, too", "x\ny\n", "a\n", 2, []string{"y", "a"}},
		{"a line that is in both files is one line", "x\nbegin", "end\nb\n", 2, []string{"beginend", "b"}},
		{"empty lines count", "", "a\n\n\n", 2, []string{"", ""}},
		{"a line of the greatest length is whole", "", long + "\nb\n", 2, []string{long, "b"}},
		{"the rest of a longer line is left out", "", long + "rest\nb\n", 2, []string{long, "b"}},
		{"many blocks are searched", "first\n", many, 3001, append([]string{"first"}, strings.Split(strings.TrimSpace(many), "\n")...)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			err := put(t, tt.old, tt.now).Tail(t.Context(), tt.lines, func(line string) error {
				got = append(got, line)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTailOfNothingAndErrorsOfTheCaller(t *testing.T) {
	none := Log{filepath.Join(t.TempDir(), "none"), clock.System{}}
	fail := errors.New("enough")
	each := func(string) error { return fail }
	if err := none.Tail(t.Context(), 5, each); err != nil {
		t.Errorf("tail of a missing folder: %v", err)
	}
	if err := put(t, "", "a\n").Tail(t.Context(), 5, each); !errors.Is(err, fail) {
		t.Errorf("tail: %v, want the caller's error", err)
	}
	if err := put(t, "", "a\n").Follow(t.Context(), 5, each); !errors.Is(err, fail) {
		t.Errorf("follow: %v, want the caller's error", err)
	}
}

func TestTrimKeepsTheLastHalf(t *testing.T) {
	l := put(t, "", "")
	const limit = 1000
	for i := range 1000 {
		l.add(t, fmt.Sprintf("line %04d\n", i))
		if i%7 != 0 {
			continue
		}
		if _, _, err := trim(l.dir, limit); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{outputName, oldName} {
			if info, err := os.Stat(filepath.Join(l.dir, name)); err == nil && info.Size() > limit/2 {
				t.Fatalf("%s has %d bytes after line %d, limit %d", name, info.Size(), i, limit/2)
			}
		}
	}
	var got []string
	if err := l.Tail(t.Context(), 30, func(line string) error {
		got = append(got, line)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := 970; i < 1000; i++ {
		want = append(want, fmt.Sprintf("line %04d", i))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("last lines (-want +got):\n%s", diff)
	}
}

func TestFollowLosesNothingOverTrims(t *testing.T) {
	l := put(t, "", "before\nlast\n")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := make(chan string)
	done := make(chan error, 1)
	go func() {
		done <- l.Follow(ctx, 1, func(line string) error {
			seen <- line
			return nil
		})
	}()
	if got := <-seen; got != "last" {
		t.Fatalf("first line %q, want the last that was there", got)
	}
	trims := 0
	for round := range 20 {
		var text strings.Builder
		for i := range 100 {
			fmt.Fprintln(&text, round, i)
		}
		l.add(t, text.String())
		size, full, err := trim(l.dir, 4<<10) // keeps more than a round
		if err != nil {
			t.Fatal(err)
		}
		if full && size == 0 { // else the reader has it open at the moment
			trims++
		}
		for i := range 100 {
			if got, want := <-seen, fmt.Sprint(round, i); got != want {
				t.Fatalf("got line %q, want %q", got, want)
			}
		}
	}
	if trims == 0 {
		t.Error("nothing was trimmed, so nothing was tested")
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("follow: %v, want canceled", err)
	}
}

func TestFollowNamesAGap(t *testing.T) {
	l := put(t, "", "start\n")
	s := func() snapshot {
		s, err := l.open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	var got []string
	cut := cutter{each: func(line string) error {
		got = append(got, line)
		return nil
	}}
	first := s()
	at, err := first.resume(-1, -1, &cut)
	first.close()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		l.add(t, strings.Repeat(fmt.Sprintf("%d23456789\n", i), 10))
		if _, _, err := trim(l.dir, 100); err != nil {
			t.Fatal(err)
		}
	}
	l.add(t, "end\n")
	second := s()
	defer second.close()
	if _, err := second.resume(at, -1, &cut); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"start", "[260 bytes of output are missing here: more was written than is kept]",
		"223456789", "223456789", "223456789", "223456789", "end",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func TestAFloodOfOutputStaysBounded(t *testing.T) {
	b := newBench(t, mode{"sessions", true})
	const limit = 1 << 20
	b.run.Part.Exec.OutputBytes = limit
	b.run.Part.Exec.Grace = new(spec.Duration)
	// About 100 MB a second in pieces, and for 4 s.
	b.shell("i=0; while [ $i -lt 80 ]; do head -c 5000000 /dev/zero; sleep 0.05; i=$((i+1)); done; echo; echo end of flood; exec sleep 1000")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.d.Run(ctx) }()
	b.start()
	var most int64
	b.eventually("the flood ends", func() bool {
		var sum int64
		var text []byte
		for _, name := range []string{outputName, oldName} {
			if info, err := os.Stat(filepath.Join(b.run.LogDir, name)); err == nil {
				sum += info.Size()
			}
		}
		most = max(most, sum)
		if err := b.d.Log(b.run).Tail(t.Context(), 1, func(line string) error {
			text = append(text, line...)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return bytes.HasSuffix(text, []byte("end of flood"))
	})
	b.eventually("the rest is trimmed", func() bool {
		info, err := os.Stat(filepath.Join(b.run.LogDir, outputName))
		return err == nil && info.Size() <= limit/2
	})
	// The limit, and what is written between two looks: at most a second's.
	if most > limit+100<<20 {
		t.Errorf("the output took %d bytes, limit %d", most, limit)
	}
	t.Logf("at most %.1f MB of 400 MB were kept at any moment", float64(most)/1e6)
	if seen, _ := b.probe(b.d); !seen.Running {
		t.Errorf("probe: %+v, want it running", seen)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("run: %v", err)
	}
}

func TestRunTrimsAnAdoptedProgramAndReapsWhatNobodyWaitsFor(t *testing.T) {
	b := newBench(t, mode{"sessions", true})
	b.run.Part.Exec.OutputBytes = 64 << 10
	b.shell("head -c 100000 /dev/zero; while [ ! -e " + b.file("go") + " ]; do sleep 0.02; done; exit 9")
	b.start()
	next := b.driver()
	_, pid := b.probe(next)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- next.Run(ctx) }()
	b.eventually("trimmed", func() bool {
		old, err := os.Stat(filepath.Join(b.run.LogDir, oldName))
		return err == nil && old.Size() <= 32<<10 && len(b.output()) == 0
	})
	if err := os.WriteFile(b.file("go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b.eventually("reaped", func() bool {
		_, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
		return errors.Is(err, os.ErrNotExist)
	})
	b.eventually("the status is known", func() bool {
		seen, _ := b.probe(next)
		return seen.Detail == "exited with status 9"
	})
	cancel()
	<-done
}

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte(`{"pid":12,"start_ticks":34,"boot_id":"b","generation":1,"epoch":2,"started":"2026-01-02T03:04:05Z","oom_before":0}`))
	f.Add([]byte(`{"pid":-1,"start_ticks":34,"boot_id":"b"}`))
	f.Add([]byte(`[]`))
	f.Add([]byte(`{"pid":1e9`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := parseRecord(text)
		if err != nil {
			if r != (record{}) {
				t.Errorf("%q: %v, and yet %+v", text, err, r)
			}
			return
		}
		if r.Pid < 1 || r.Ticks == 0 || r.Boot == "" {
			t.Errorf("%q: %+v names no process", text, r)
		}
	})
}

func FuzzParseRemoved(f *testing.F) {
	f.Add("123\n")
	f.Add("-5")
	f.Add("99999999999999999999")
	f.Fuzz(func(t *testing.T, text string) {
		if n := parseRemoved(text); n < 0 {
			t.Errorf("%q: %d", text, n)
		}
	})
}

func FuzzTailIsTheEndOfTheLines(f *testing.F) {
	f.Add("a\nb", "c\nd\n", 2)
	f.Add("", "\n\n", 1)
	f.Fuzz(func(t *testing.T, old, now string, lines int) {
		if len(old)+len(now) > 10000 || lines < 0 || lines > 1000 {
			t.Skip()
		}
		var want []string
		for line := range strings.Lines(old + now) {
			want = append(want, strings.TrimSuffix(line, "\n"))
		}
		want = want[max(0, len(want)-lines):]
		var got []string
		if err := put(t, old, now).Tail(t.Context(), lines, func(line string) error {
			got = append(got, line)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if len(want) != len(got) || len(want) > 0 && !cmp.Equal(want, got) {
			t.Errorf("old %q, now %q, %d lines: got %q, want %q", old, now, lines, got, want)
		}
	})
}
