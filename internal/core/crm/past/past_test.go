package past

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/model/cib"
)

func entry(attrs map[string]string) *cib.Element {
	return &cib.Element{Name: "lrm_rsc_op", Attrs: attrs}
}

func TestOperationsAreReadInTheOrderOfTheirCalls(t *testing.T) {
	e := &cib.Element{Name: "lrm_resource", Children: []*cib.Element{
		entry(map[string]string{"id": "r_stop_0", "operation": "stop", "call-id": "-1", "op-status": "-1", "transition-key": "3:9:0:x"}),
		entry(map[string]string{"id": "r_monitor_10000", "operation": "monitor", "interval": "10000", "call-id": "7", "rc-code": "1", "op-status": "0", "transition-key": "1:4:0:x", "last-rc-change": "100"}),
		entry(map[string]string{"id": "r_last_failure_0", "operation": "start", "call-id": "5", "rc-code": "5", "op-status": "7", "op-digest": "abc"}),
	}}
	want := []Operation{
		{ID: "r_last_failure_0", Task: "start", Call: 5, Status: StatusNotInstalled, Code: 5, Want: -1, Last: true, Digest: "abc"},
		{ID: "r_monitor_10000", Task: "monitor", Interval: 10 * time.Second, Call: 7, Code: 1, At: time.Unix(100, 0).UTC(), HasTime: true, Transit: 4},
		{ID: "r_stop_0", Task: "stop", Call: -1, Status: StatusPending, Transit: 9},
	}
	if diff := cmp.Diff(want, Of(e)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
