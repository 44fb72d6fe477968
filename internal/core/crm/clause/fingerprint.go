package clause

import (
	"crypto/md5"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
)

// Names returns the names of the attributes, sorted.
func (a Attrs) Names() []string { return slices.Sorted(maps.Keys(a)) }

// Fingerprint is the digest of parameters as the incumbent writes them: one
// element, the attributes sorted by name.
func Fingerprint(params Attrs) string {
	var b strings.Builder
	b.WriteString(" <parameters")
	for _, k := range params.Names() {
		b.WriteString(" " + k + `="` + escaped(params[k]) + `"`)
	}
	b.WriteString("/>\n")
	sum := md5.Sum([]byte(b.String()))
	return hex.EncodeToString(sum[:])
}

// escaped is the value of an attribute as it stands in XML.
func escaped(v string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "\n", "&#10;", "\r", "&#13;", "\t", "&#9;").Replace(v)
}
