//go:build integration

package demo

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const nobody = 65534

// binaryFor returns the real binary, where any user can run it.
func binaryFor(t *testing.T) string {
	t.Helper()
	from := os.Getenv("KEELSON_BINARY")
	if from == "" {
		t.Skip("SKIPPED: KEELSON_BINARY names no binary of keelson: run `make lab`")
	}
	dir, err := os.MkdirTemp("", "keelson-demo-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(dir, "keelson")
	for _, err := range []error{os.WriteFile(to, text, 0o755), os.Chmod(dir, 0o755)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// as makes a command of an ordinary user, if it is to be one.
func as(cmd *exec.Cmd, ordinary bool) *exec.Cmd {
	cmd.Dir = "/"
	if ordinary {
		cmd.Env = append(os.Environ(), "HOME=/nonexistent", "TMPDIR=/tmp")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	return cmd
}

// TestTheDemoFailsOver runs the demo as a script would, with the real binary.
func TestTheDemoFailsOver(t *testing.T) {
	binary := binaryFor(t)
	for _, tt := range []struct {
		name  string
		fault string
		flags []string
		nodes []string
	}{
		{"the host that serves is killed", verbKill, nil, []string{"alpha", "bravo", "charlie"}},
		{"one of five hosts loses its cable", verbCut, []string{"--fault", verbCut, "--nodes", "5"}, []string{"alpha", "bravo", "charlie", "delta", "echo"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			cmd := exec.CommandContext(t.Context(), binary, append([]string{"demo", "--json"}, tt.flags...)...)
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			began := time.Now()
			if err := cmd.Run(); err != nil {
				t.Fatalf("%v: %s", err, stderr.String())
			}
			r := decode(t, stdout.Bytes())
			t.Logf("%s: outage %.0f ms, %d of %d requests failed, from %s to %s; it took %s", tt.fault, r.OutageMS, r.FailedRequests, r.Requests,
				r.HolderBefore, r.HolderAfter, time.Since(began).Round(time.Second))
			if diff := cmp.Diff(tt.nodes, r.Nodes); diff != "" {
				t.Errorf("the nodes (-want +got):\n%s", diff)
			}
			if r.Fault != tt.fault || r.OutageMS <= 0 || r.FailedRequests == 0 || r.TwoHoldersMS != 0 {
				t.Errorf("the report is %+v", r)
			}
			if r.HolderAfter == "" || r.HolderBefore == r.HolderAfter || r.EpochAfter <= r.EpochBefore {
				t.Errorf("from %s (%d) to %s (%d)", r.HolderBefore, r.EpochBefore, r.HolderAfter, r.EpochAfter)
			}
			inOrder(t, r)
		})
	}
}

// inOrder fails unless the stages of a report are some, and in their order.
func inOrder(t *testing.T, r report) {
	t.Helper()
	var names []string
	for n, s := range r.Stages {
		names = append(names, s.Name)
		if n > 0 && s.AtMS < r.Stages[n-1].AtMS {
			t.Errorf("the stages are out of order: %+v", r.Stages)
		}
	}
	if len(names) < 4 || names[0] != stageFault {
		t.Errorf("the stages are %q", names)
	}
}

// decode reads a report, which is one object of exactly the keys that scripts
// read.
func decode(t *testing.T, text []byte) report {
	t.Helper()
	var keys map[string]any
	in := json.NewDecoder(bytes.NewReader(text))
	if err := in.Decode(&keys); err != nil {
		t.Fatalf("not a JSON object: %v: %s", err, text)
	}
	if err := in.Decode(new(any)); err != io.EOF {
		t.Errorf("there is more than one JSON object: %v", err)
	}
	want := []string{
		"epoch_after", "epoch_before", "failed_requests", "fault", "holder_after", "holder_before", "interval_ms",
		"nodes", "outage_ms", "requests", "stages", "two_holders_ms", "version",
	}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(keys))); diff != "" {
		t.Errorf("the keys (-want +got):\n%s", diff)
	}
	for _, s := range keys["stages"].([]any) {
		if diff := cmp.Diff([]string{"after_first_answer", "at_ms", "by", "name", "took_ms"}, slices.Sorted(maps.Keys(s.(map[string]any)))); diff != "" {
			t.Errorf("the keys of a stage (-want +got):\n%s", diff)
		}
	}
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	return r
}
