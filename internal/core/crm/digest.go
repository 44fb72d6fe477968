package crm

import (
	"strconv"
	"time"

	"github.com/keelson/keelson/internal/core/crm/clause"
	"github.com/keelson/keelson/internal/core/crm/past"
)

// changed reports whether the resource's parameters are others than those with
// which an operation ran: its history holds a fingerprint of them. What has none is
// taken for unchanged.
func (p *replay) changed(op past.Operation) bool {
	if op.Digest == "" || op.Task != "start" && op.Task != "monitor" {
		return false
	}
	params := clause.Attrs{}
	params.Fill(p.r.params)
	if op.Interval > 0 {
		timeout := clause.Duration(p.operationMeta(op).Get("timeout"))
		if timeout <= 0 {
			timeout = defaultTimeout
		}
		params["CRM_meta_timeout"] = strconv.FormatInt(timeout.Milliseconds(), 10)
	}
	return clause.Fingerprint(params) != op.Digest
}

// defaultTimeout is how long an operation may take that says nothing of it.
const defaultTimeout = 20 * time.Second
