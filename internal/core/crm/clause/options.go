package clause

import "strings"

// What of the options decides where something runs, and what does not: the rest may,
// and nothing here heeds it.
const (
	heeded = " symmetric-cluster no-quorum-policy stonith-enabled fencing-enabled startup-fencing stop-orphan-resources stop-removed-resources" +
		" stop-all-resources maintenance-mode start-failure-is-fatal placement-strategy have-watchdog node-health-strategy node-health-base node-health-green" +
		" node-health-yellow node-health-red target-role is-managed maintenance priority resource-stickiness migration-threshold failure-timeout multiple-active" +
		" requires clone-max clone-node-max clone-min promotable promoted-max promoted-node-max master-max master-node-max globally-unique interleave ordered" +
		" collocated critical container allow-unhealthy-nodes "
	elsewhere = " dc-version cluster-infrastructure cluster-name last-lrm-refresh enable-acl cluster-delay cluster-recheck-interval batch-limit migration-limit" +
		" node-action-limit pe-error-series-max pe-warn-series-max pe-input-series-max stop-orphan-actions stop-removed-actions remove-after-stop stonith-action" +
		" stonith-timeout stonith-watchdog-timeout stonith-max-attempts fencing-action fencing-timeout fencing-watchdog-timeout fencing-max-attempts fencing-reaction" +
		" fence-reaction concurrent-fencing priority-fencing-delay load-threshold dc-deadtime election-timeout shutdown-escalation join-integration-timeout" +
		" join-finalization-timeout crmd-transition-delay transition-delay transition-idle-timeout node-pending-timeout" +
		" notify record-pending timeout allow-migrate provides target-attribute "
)

// Heeded reports whether an option of the cluster or of a resource is heeded where it
// is decided what runs where, or has nothing to do with that.
func Heeded(option string) bool {
	return strings.Contains(heeded, " "+option+" ") || strings.Contains(elsewhere, " "+option+" ")
}
