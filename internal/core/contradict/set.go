package contradict

import "math/bits"

// set holds small numbers.
type set []uint64

func newSet(room int) set { return make(set, (room+63)/64) }

func (s set) add(n int)      { s[n/64] |= 1 << (n % 64) }
func (s set) drop(n int)     { s[n/64] &^= 1 << (n % 64) }
func (s set) has(n int) bool { return s[n/64]&(1<<(n%64)) != 0 }

// keep takes out what is not in other, join adds what is.
func (s set) keep(other set) {
	for i := range s {
		s[i] &= other[i]
	}
}

func (s set) join(other set) {
	for i := range s {
		s[i] |= other[i]
	}
}

func (s set) size() int {
	n := 0
	for _, word := range s {
		n += bits.OnesCount64(word)
	}
	return n
}

// meets reports whether the two have a number in common.
func (s set) meets(other set) bool {
	for i := range s {
		if s[i]&other[i] != 0 {
			return true
		}
	}
	return false
}

// after returns the first number from n on, -1 if there is none.
func (s set) after(n int) int {
	for i := n / 64; i < len(s); i++ {
		word := s[i]
		if i == n/64 {
			word &^= 1<<(n%64) - 1
		}
		if word != 0 {
			return i*64 + bits.TrailingZeros64(word)
		}
	}
	return -1
}
