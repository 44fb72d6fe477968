package record

import (
	"fmt"
	"testing"

	"github.com/keelson/keelson/internal/model/spec"
)

// A lease that a name has is in stores and in guards of earlier versions.
func TestALeaseNumberIsTheSameForEver(t *testing.T) {
	for _, tt := range []struct {
		name  spec.ServiceName
		lease int
		want  uint32
	}{{"shop", 0, 2768691358}, {"db", 0, 2825502388}, {"db", 1, 2211918428}} {
		if got := LeaseNumber(tt.name, tt.lease); got != tt.want {
			t.Errorf("lease %d of %s has number %d, not %d", tt.lease, tt.name, got, tt.want)
		}
	}
}

func TestLeaseNumbersAreAboveAllThatWereCountedAndSeldomMeet(t *testing.T) {
	taken := map[uint32]bool{}
	for i := range 1000 {
		for lease := range 3 {
			n := LeaseNumber(spec.ServiceName(fmt.Sprintf("s%d", i)), lease)
			if n < FirstNumber || taken[n] {
				t.Errorf("lease %d of s%d has number %d", lease, i, n)
			}
			taken[n] = true
		}
	}
}
