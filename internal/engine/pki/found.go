package pki

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
)

// First values of a new cell.
const (
	firstCeiling           = 1000
	firstLongestTTL        = spec.LongestAutoTTL
	firstReplaceVoterAfter = 5 * time.Minute
	linkKeyBytes           = 32
	idLength               = 16 // bytes of a random id
)

// Founding is all that a new cell begins with. It holds the authority's key:
// who keeps it on disk until it is in the store must keep it secret.
type Founding struct {
	Cell        record.Cell
	Lease       record.Lease
	Node        record.Node
	Certificate []byte // PEM, of the first node; the authority's is in Cell
}

// Found makes a new cell with its first node, whose name, addresses, labels,
// ports and version are taken from node and whose key from csr. The node gets
// slot 0 and is the only voter. external says that the store is the operator's
// own. Found writes nothing: the node installs its certificate, starts its
// store with it, and hands the result to [Registrar.InitCell]. The error is
// [ErrRequest] if a name, address or the request is not acceptable.
func Found(name string, node record.Node, csr []byte, external bool, now time.Time) (Founding, error) {
	if !spec.NodeName(name).Valid() {
		return Founding{}, badRequest("%q is not a cell name: use 1 to 63 of a-z, 0-9, '-' and '.', with a letter or digit first and last", name)
	}
	if err := checkNode(node); err != nil {
		return Founding{}, err
	}
	checked, err := checkRequest(csr, string(node.Name))
	if err != nil {
		return Founding{}, err
	}
	cell := record.Cell{
		Name: name, ID: randomID(), Created: now.UTC(), External: external,
		ReplaceVoterAfter: spec.Duration(firstReplaceVoterAfter),
		LinkKeys:          []record.LinkKey{{ID: 1, Key: randomBytes(linkKeyBytes)}},
	}
	authority, err := NewAuthority(cell.ID, name, now)
	if err != nil {
		return Founding{}, err
	}
	cell.CACert = authority.CertPEM()
	if cell.CAKey, err = authority.KeyPEM(); err != nil {
		return Founding{}, fmt.Errorf("encode the key of the authority: %w", err)
	}
	node.ID, node.Slot, node.Joined = randomID(), 0, now.UTC()
	node.KeyHash, node.Token = checked.keyHash, nil
	issued, err := authority.SignNode(csr, node, now)
	if err != nil {
		return Founding{}, err
	}
	node.CertSerial = issued.Serial
	lease := record.Lease{
		Version: 1, Voters: 1 << node.Slot, Ceiling: firstCeiling, LongestTTL: spec.Duration(firstLongestTTL),
	}
	return Founding{Cell: cell, Lease: lease, Node: node, Certificate: issued.Certificate}, nil
}

// InitCell writes what a new cell begins with, all at once. To do it again
// with the same founding changes nothing. It returns [ErrCellExists] if the
// store holds another cell.
func (r *Registrar) InitCell(ctx context.Context, f Founding) error {
	ctx, cancel := context.WithTimeout(ctx, operationTimeout)
	defer cancel()
	var ops []store.Op
	puts := []put{
		{record.KeyCell, f.Cell},
		{record.KeyLease, f.Lease},
		{record.KeyNodes + string(f.Node.Name), f.Node},
		{record.SlotKey(f.Node.Slot), f.Node.Name},
	}
	if !f.Cell.External {
		puts = append(puts, put{record.KeyWishes + string(f.Node.Name), record.NodeWish{Voter: true}})
	}
	for _, p := range puts {
		op, err := p.op()
		if err != nil {
			return err
		}
		ops = append(ops, op)
	}
	done, _, err := r.Store.Txn(ctx, []store.Guard{{Key: record.KeyCell}}, ops)
	if err != nil {
		return fmt.Errorf("write the first records of cell %s: %w", f.Cell.Name, err)
	}
	if done {
		return nil
	}
	cell, _, err := get[record.Cell](ctx, r.Store, record.KeyCell)
	if err != nil {
		return err
	}
	if cell.ID != f.Cell.ID {
		return say(request.Exists, ErrCellExists, fmt.Sprintf("the store already holds the cell %s", cell.Name),
			"join that cell with `keelson join`, or give this one a store or a key prefix of its own")
	}
	return nil
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails, says its documentation
	return b
}

func randomID() string { return hex.EncodeToString(randomBytes(idLength)) }
