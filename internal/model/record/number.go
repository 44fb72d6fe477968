package record

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"

	"github.com/keelson/keelson/internal/model/spec"
)

// FirstNumber is the lowest number of a lease that [LeaseNumber] gives. Lower ones
// are of services that were first applied when numbers were counted.
const FirstNumber = 1 << 31

// LeaseNumber is the number that one of the leases of a service gets, 0 for its first,
// unless a service has it that there is already. It depends on the name alone: a
// service that is deleted and applied again has the lease that it had before, so
// that whoever has not heard of it yet cannot hold it beside whoever has.
func LeaseNumber(name spec.ServiceName, lease int) uint32 {
	sum := sha256.Sum256([]byte(string(name) + "/" + strconv.Itoa(lease)))
	return FirstNumber | binary.BigEndian.Uint32(sum[:])>>2
}

// LeaseNumbers are the numbers of all leases of s, the first one first.
func (s *Service) LeaseNumbers() []uint32 { return append([]uint32{s.ID}, s.Rights...) }

// Above returns a number that is n or more and above the generation of s, which no
// later service of its name has then, and above the numbers of its leases that were
// counted.
func (s *Service) Above(n uint64) uint64 {
	n = max(n, s.Generation+1)
	for _, number := range s.LeaseNumbers() {
		if number < FirstNumber {
			n = max(n, uint64(number)+1)
		}
	}
	return n
}
