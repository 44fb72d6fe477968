package pki

import "testing"

func TestACertificateOfAnotherNodeIsNamed(t *testing.T) {
	w := newWorld(t)
	files, joined := w.join(t, "b")
	must(t, files.Belongs("b", joined.CellID, "/d/node.json"))
	err := files.Belongs("c", joined.CellID, "/d/node.json")
	wantError(t, err, ErrDamaged)
	wantWords(t, err, "/d/node.json says that this is node c", "is that of node b")
	err = files.Belongs("b", "other", "/d/node.json")
	wantError(t, err, ErrDamaged)
	wantWords(t, err, "different cells")
	must(t, NewFiles(t.TempDir()).Belongs("b", joined.CellID, "/d/node.json"))
}
