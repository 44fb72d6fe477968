package mandate

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/core/supervise"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

func TestACopyWaitsUntilThereIsRoom(t *testing.T) {
	v := NewView("a")
	v.Services["web"] = &record.Service{Spec: spec.Service{Name: "web", Copies: &spec.Copies{Count: 3, PerNode: 2, Unique: true}}}
	tests := []struct {
		name string
		here []instance.Name
		want supervise.Gates
	}{
		{"nobody is there", nil, supervise.Gates{}},
		{"there is room for two", []instance.Name{"web:3", "db"}, supervise.Gates{}},
		{"two others are left", []instance.Name{"web:3", "db", "web:2"}, supervise.Gates{Wait: "web:2 or web:3 to stop here"}},
		{"one of the two is itself", []instance.Name{"web:1", "web:2"}, supervise.Gates{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, v.Gates("web:1", nil, tt.here)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A service that is being deleted cannot be applied again to end its maintenance.
func TestAServiceThatIsDeletedIsNotLeftAsItIs(t *testing.T) {
	tests := []struct {
		name     string
		deleting bool
		node     bool
		want     bool
	}{
		{"a service in maintenance is", false, false, true},
		{"one that is being deleted is not", true, false, false},
		{"but for the maintenance of its node", true, true, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := NewView("a")
			v.Wish.Maintenance = tt.node
			v.Services["web"] = &record.Service{Deleting: tt.deleting, Spec: spec.Service{Name: "web", Maintenance: true}}
			if got := v.Wanted("web", 0).Maintenance; got != tt.want {
				t.Errorf("left as it is: %v", got)
			}
		})
	}
}
