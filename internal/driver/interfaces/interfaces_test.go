package interfaces

import (
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTheListHasTheHostsInterfacesAndIsGivenOutAgain(t *testing.T) {
	now := time.Hour
	l := New(func() time.Duration { return now })
	var want []string
	list, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range list {
		if one.Flags&net.FlagLoopback == 0 && !strings.HasPrefix(one.Name, "veth") {
			want = append(want, one.Name)
		}
	}
	slices.Sort(want)
	want = want[:min(len(want), Most)]
	if diff := cmp.Diff(want, l.Names()); diff != "" {
		t.Fatal(diff)
	}
	l.names = []string{"kept"}
	now += Fresh - 1
	if diff := cmp.Diff([]string{"kept"}, l.Names()); diff != "" {
		t.Errorf("asked again too soon: %s", diff)
	}
	now++
	if diff := cmp.Diff(want, l.Names()); diff != "" {
		t.Errorf("not asked again: %s", diff)
	}
}
