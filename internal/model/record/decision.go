package record

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/keelson/keelson/internal/model/spec"
)

// Limits of recorded decisions.
const (
	// MaxDecisions is how many a cell keeps, and MaxDecisionBytes how much they
	// take together, in bytes of the store. The oldest is dropped for one more.
	MaxDecisions     = 200
	MaxDecisionBytes = 8 << 20
	// MaxDecision bounds what one takes packed. In the store it takes a third
	// more, which is below the largest value that a store takes.
	MaxDecision = 704 << 10
	// maxUnpacked bounds what one unpacks to.
	maxUnpacked = 64 << 20
)

// ErrDecisionTooLarge means that a decision has more than [MaxDecision] when
// packed, or that a packed one unpacks to more than any decision has.
var ErrDecisionTooLarge = errors.New("decision too large to be recorded")

// Decision is one decision of the controller, as it was taken. Written by the
// controller, once; a decision whose Packed is empty was too large to be kept.
type Decision struct {
	Plan     string             `json:"plan"`
	At       time.Time          `json:"at"`
	Node     spec.NodeName      `json:"node"`               // the controller
	Services []spec.ServiceName `json:"services,omitempty"` // whose placement it wrote, at most 100
	Packed   []byte             `json:"packed,omitempty"`   // see [Pack]
}

// Recorded is what [Pack] packs, and the form of a decision in a file.
type Recorded struct {
	Snapshot json.RawMessage `json:"snapshot"`
	Plan     json.RawMessage `json:"plan,omitempty"`
}

// DecisionKey is the key of a decision on a store of that revision. Keys are in
// the order of the decisions.
func DecisionKey(revision int64, plan string) string {
	return fmt.Sprintf("%s%020d-%s", KeyDecisions, max(0, revision), plan)
}

// Pack compresses a snapshot and a plan. It returns [ErrDecisionTooLarge].
func Pack(r Recorded) ([]byte, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("pack a decision: %w", err)
	}
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err = z.Write(text)
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("pack a decision: %w", err)
	}
	if out.Len() > MaxDecision {
		return nil, fmt.Errorf("pack a decision of %d bytes into %d: %w", len(text), out.Len(), ErrDecisionTooLarge)
	}
	return out.Bytes(), nil
}

// Unpack is the opposite of [Pack]. It returns [ErrDecisionTooLarge], or what is
// wrong with the bytes.
func Unpack(packed []byte) (Recorded, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return Recorded{}, fmt.Errorf("unpack a decision: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(z, maxUnpacked+1))
	switch {
	case err != nil:
		return Recorded{}, fmt.Errorf("unpack a decision: %w", err)
	case len(text) > maxUnpacked:
		return Recorded{}, fmt.Errorf("unpack a decision: %w", ErrDecisionTooLarge)
	}
	var r Recorded
	if err := json.Unmarshal(text, &r); err != nil {
		return Recorded{}, fmt.Errorf("unpack a decision: %w", err)
	}
	return r, nil
}

// Pending is a change of one service that is taken back unless it is confirmed.
// Written by apply; deleted when it is confirmed, taken back or void.
type Pending struct {
	Change     string           `json:"change"` // names the change; services applied at once share it
	Service    spec.ServiceName `json:"service"`
	Generation uint64           `json:"generation"` // of the spec that is on trial
	// Before is what is returned to; nil: the service was new, and is deleted.
	Before   *spec.Service `json:"before,omitempty"`
	At       time.Time     `json:"at"`
	Deadline time.Time     `json:"deadline"`
	By       string        `json:"by"`
}
