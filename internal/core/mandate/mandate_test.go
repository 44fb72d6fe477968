package mandate

import (
	"testing"

	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

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
