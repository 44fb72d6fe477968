package crm

import (
	"strconv"
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
	return clause.Fingerprint(params) != op.digest
}

// defaultTimeout is how long an operation may take that says nothing of it.
const defaultTimeout = 20 * time.Second
