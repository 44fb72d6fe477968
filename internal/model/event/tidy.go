package event

import "strings"

// Tidy returns a sentence without the full stops that stand double because one
// sentence was put into another: "it failed: exit status 1.. Look" becomes "it
// failed: exit status 1. Look". Dots that mean something stay: "..." and paths.
func Tidy(text string) string {
	out := make([]byte, 0, len(text))
	for i := range len(text) {
		last := i+1 == len(text) || text[i+1] == ' ' || text[i+1] == '\n'
		if text[i] == '.' && last && closed(out) {
			continue
		}
		out = append(out, text[i])
	}
	return string(out)
}

// closed tells whether a sentence ends at the end of text.
func closed(text []byte) bool {
	n := len(text)
	return n > 1 && strings.IndexByte(".!?", text[n-1]) >= 0 && strings.IndexByte("./ ", text[n-2]) < 0
}
