package clause

import "strings"

// CutNumber splits what a history calls an instance into its name and its number:
// "db:1" is "db" and "1". What ends in no number is all name.
func CutNumber(id string) (base, suffix string, numbered bool) {
	i := strings.LastIndexByte(id, ':')
	if i < 0 || i == len(id)-1 {
		return id, "", false
	}
	for _, c := range id[i+1:] {
		if c < '0' || c > '9' {
			return id, "", false
		}
	}
	return id[:i], id[i+1:], true
}

// Threshold reads after how many failures a node is given up; 0: never.
func Threshold(s string) int {
	switch {
	case s == "", strings.EqualFold(s, "INFINITY"):
		return Inf
	}
	return max(0, Number(s, 0))
}
