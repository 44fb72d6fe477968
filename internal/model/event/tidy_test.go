package event

import "testing"

func TestTidyTakesDoublePunctuationAway(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"nothing", "", ""},
		{"a sentence as it should be", "It stopped. Look at a.b, ../c and /d/..", "It stopped. Look at a.b, ../c and /d/.."},
		{"two full stops at the end", "Part exec failed: the disk is full..", "Part exec failed: the disk is full."},
		{"two full stops between sentences", "It does not stop: no answer.. Its lease is kept.", "It does not stop: no answer. Its lease is kept."},
		{"a question in a sentence", "It failed: who?. Look", "It failed: who? Look"},
		{"something left out", "It said x... and ended...", "It said x... and ended..."},
		{"something left out at the end of a sentence", "It said x....", "It said x...."},
		{"two lines", "one..\ntwo..", "one.\ntwo."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Tidy(tt.text)
			if got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
			if again := Tidy(got); again != got {
				t.Errorf("tidied twice it is %q", again)
			}
		})
	}
}
