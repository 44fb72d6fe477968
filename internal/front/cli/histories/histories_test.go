package histories

import "testing"

func TestAgainPlaysTheSameHistory(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options Options
		want    string
	}{
		{"the seed chose the size of the cell", Options{Seeds: 2000}, "keelson simulate --from 7 --seeds 1"},
		{"the size was given", Options{Nodes: 4}, "keelson simulate --from 7 --seeds 1 --nodes 4"},
		{"whole nodes", Options{Whole: true}, "keelson simulate --from 7 --seeds 1 --whole-nodes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.options.Again(7); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
