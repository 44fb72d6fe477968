package pki

import (
	"fmt"

	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
)

// Belongs returns [ErrDamaged], with what to do, if the certificate is of another
// node, or of another cell, than the file at path says. Nil also means that there
// is no certificate that could be read.
func (f *Files) Belongs(node spec.NodeName, cell, path string) error {
	pair, err := f.Certificate()
	if err != nil {
		return nil // told by whoever needs it
	}
	id, err := identityOf(pair.Leaf)
	if err != nil || id.Node == node && id.Cell == cell {
		return nil
	}
	if id.Cell != cell {
		return say(request.Refused, ErrDamaged, fmt.Sprintf("%s and the certificate in %s are of different cells; nothing was started", path, f.CertPath()), Afresh)
	}
	return say(request.Refused, ErrDamaged, fmt.Sprintf("%s says that this is node %s, but the certificate in %s is that of %s; nothing was started",
		path, node, f.CertPath(), id), "correct the name in "+path+", or "+Afresh)
}
