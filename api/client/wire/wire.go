// Package wire translates between the cell's plain values and the messages of
// the API, both ways.
//
// It is the one place that knows both, for the client as for the server: what
// goes through one way and back is what it was. It checks only what cannot be
// said in a plain value; a message's zero is a value's zero.
package wire

import (
	"math"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/keelson/keelson/internal/model/record"
)

func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func moment(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

func span(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}

// strings translates a list of names, nil for none.
func strings[To, From ~string](list []From) []To {
	if len(list) == 0 {
		return nil
	}
	out := make([]To, len(list))
	for i, s := range list {
		out[i] = To(s)
	}
	return out
}

// small returns n if it fits a port or a slot's number, else 0.
func small(n uint32, most uint32) int {
	if n > most {
		return 0
	}
	return int(n)
}

func count(n int) uint32 {
	return uint32(max(0, min(n, math.MaxInt32)))
}

func ports(api, link, peer, client uint32) record.Ports {
	return record.Ports{
		API: small(api, math.MaxUint16), Link: small(link, math.MaxUint16),
		Peer: small(peer, math.MaxUint16), Client: small(client, math.MaxUint16),
	}
}

// Span returns the duration that d says; nil and what does not fit give 0 and
// the nearest possible value.
func Span(d *durationpb.Duration) time.Duration {
	if d == nil {
		return 0
	}
	return d.AsDuration()
}
