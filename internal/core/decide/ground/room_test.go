package ground

import (
	"testing"

	"github.com/keelson/keelson/internal/model/fact"
)

func TestANodeThatSaysNothingOfAUnitIsNotOneThatIsFull(t *testing.T) {
	tests := []struct {
		name   string
		labels map[string]string
		want   string
	}{
		{"it is full", map[string]string{"capacity/cpu": "4"}, "it needs 2 of cpu, and 1 are free there"},
		{"it says nothing", map[string]string{"capacity/memory": "4"}, "it needs 2 of cpu, and b has no label capacity/cpu, so it has none"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Short(&fact.Node{Name: "b", Labels: tt.labels}, "cpu", 2, 1); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
