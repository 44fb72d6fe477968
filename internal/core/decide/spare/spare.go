// Package spare hands out room piece by piece, so that many small slices cost one
// large one.
//
// Its one rule is that a piece is all zero, is handed out once and has no room beyond
// its end: who appends to it gets a copy. Nothing is taken back. The package is pure.
package spare

// Room is room for values of one type. The zero value has none yet.
type Room[T any] struct {
	free []T
}

// Take returns n zero values. Where new room is needed it is made for as many such
// pieces.
func (r *Room[T]) Take(n, pieces int) []T {
	if len(r.free) < n {
		r.free = make([]T, n*max(1, pieces))
	}
	out := r.free[:n:n]
	r.free = r.free[n:]
	return out
}
