package crm

import (
	"crypto/md5"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/core/crm/clause"
)

// changed reports whether the resource's parameters are others than those with
// which an operation ran: its history holds a fingerprint of them. What has none is
// taken for unchanged.
func (p *replay) changed(op operation) bool {
	if op.digest == "" || op.task != "start" && op.task != "monitor" {
		return false
	}
	params := clause.Attrs{}
	params.Fill(p.r.params)
	if op.interval > 0 {
		timeout := clause.Duration(p.operationMeta(op).Get("timeout"))
		if timeout <= 0 {
			timeout = defaultTimeout
		}
		params["CRM_meta_timeout"] = strconv.FormatInt(timeout.Milliseconds(), 10)
	}
	return fingerprint(params) != op.digest
}

// fingerprint is the digest of parameters as the incumbent writes them: one
// element, the attributes sorted by name.
func fingerprint(params clause.Attrs) string {
	var b strings.Builder
	b.WriteString(" <parameters")
	for _, k := range sortedKeys(params) {
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

// defaultTimeout is how long an operation may take that says nothing of it.
const defaultTimeout = 20 * time.Second
