//go:build integration

package demo

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTheDemoFailsOver runs the demo as a person would, with the real binary.
func TestTheDemoFailsOver(t *testing.T) {
	binary := os.Getenv("KEELSON_BINARY")
	if binary == "" {
		t.Skip("SKIPPED: KEELSON_BINARY names no binary of keelson: run `make lab`")
	}
	for _, fault := range []string{verbKill, verbService} {
		t.Run(fault, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			cmd := exec.CommandContext(t.Context(), binary, "demo", "--json", "--fault", fault)
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			if err := cmd.Run(); err != nil {
				t.Fatalf("%v: %s", err, stderr.String())
			}
			var r report
			decode := json.NewDecoder(&stdout)
			if err := decode.Decode(&r); err != nil || decode.More() {
				t.Fatalf("not one JSON object: %v", err)
			}
			t.Logf("%s: outage %.0f ms, %d of %d requests failed", fault, r.OutageMS, r.FailedRequests, r.Requests)
			if diff := cmp.Diff([]string{"alpha", "bravo", "charlie"}, r.Nodes); diff != "" {
				t.Errorf("the nodes (-want +got):\n%s", diff)
			}
			if r.Fault != fault || r.OutageMS <= 0 || r.FailedRequests == 0 || r.TwoHoldersMS != 0 {
				t.Errorf("the report is %+v", r)
			}
			moved := fault != verbService
			if r.HolderAfter == "" || (r.HolderBefore != r.HolderAfter) != moved || (r.EpochAfter > r.EpochBefore) != moved {
				t.Errorf("from %s (%d) to %s (%d)", r.HolderBefore, r.EpochBefore, r.HolderAfter, r.EpochAfter)
			}
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
		})
	}
}
