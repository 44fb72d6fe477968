// Package event holds what happened: one short record for each thing that an
// operator would want in the story of a night.
package event

import (
	"time"

	"github.com/keelson/keelson/internal/model/spec"
)

// Kind says what happened. The word is stable: scripts match on it.
type Kind string

// The kinds of events.
const (
	NodeJoined    Kind = "node-joined"
	NodeLeft      Kind = "node-left"
	NodeSuspect   Kind = "node-suspect"
	NodeLost      Kind = "node-lost"
	NodeBack      Kind = "node-back"
	NodeDrained   Kind = "node-drained"
	NodeUndrained Kind = "node-undrained"
	VoterAdded    Kind = "voter-added"
	VoterRemoved  Kind = "voter-removed"
	QuorumLost    Kind = "quorum-lost"
	QuorumBack    Kind = "quorum-back"
	ClockSkewed   Kind = "clock-skewed" // a clock runs at another rate than the others'
	ClockGood     Kind = "clock-good"   // and does not any more

	LeaseWon      Kind = "lease-won"
	LeaseLost     Kind = "lease-lost"
	LeaseReleased Kind = "lease-released"
	LeaseFree     Kind = "lease-free" // as seen by the claimant: a majority answered

	ServiceApplied  Kind = "service-applied"
	ServiceDeleted  Kind = "service-deleted"
	ServicePlaced   Kind = "service-placed" // the succession list changed
	ServiceStarting Kind = "service-starting"
	ServiceRunning  Kind = "service-running"
	ServiceReady    Kind = "service-ready"
	ServiceUnready  Kind = "service-unready"
	ServiceStopped  Kind = "service-stopped"
	ServiceFailed   Kind = "service-failed" // one failure; a restart follows
	ServiceGaveUp   Kind = "service-gave-up"
	ServiceHomeless Kind = "service-homeless" // no node may run it
	ServiceCut      Kind = "service-cut"      // the guard or the agent stopped it by force
	ServiceStuck    Kind = "service-stuck"    // a part does not stop, even by force
	ServiceKept     Kind = "service-kept"     // it goes on without a quorum, as its spec says
	ServiceMoving   Kind = "service-moving"   // an operator asked
	ServicePromoted Kind = "service-promoted" // a copy became primary
	ServiceDemoted  Kind = "service-demoted"  // and is not any more
	ServiceWaited   Kind = "service-waited"   // it stopped without those that depend on it
	PartStarted     Kind = "part-started"

	MaintenanceOn   Kind = "maintenance-on"
	MaintenanceOff  Kind = "maintenance-off"
	ServiceHalted   Kind = "service-halted" // it failed on every node: stopped for a person
	ServiceCleared  Kind = "service-cleared"
	ServiceWaits    Kind = "service-waits" // a move of it is held back
	NodeQuarantined Kind = "node-quarantined"
	NodeProbation   Kind = "node-on-probation"
	NodeTrusted     Kind = "node-trusted"
	CommonCause     Kind = "common-cause" // trouble on many nodes at once; nothing is moved for it
	CommonCauseOver Kind = "common-cause-over"
	PlanHeld        Kind = "plan-held" // nothing is planned: each plan would break a rule
	PlanResumed     Kind = "plan-resumed"
	RecoveryChanged Kind = "recovery-changed"
	ChangeConfirmed Kind = "change-confirmed"  // what was applied for a time stays
	ChangeTakenBack Kind = "change-taken-back" // and it was not confirmed in time

	AgentStarted  Kind = "agent-started"
	GuardStarted  Kind = "guard-started"
	GuardLost     Kind = "guard-lost"
	GuardUpgraded Kind = "guard-upgraded" // it became another program, without a gap
	ControllerNew Kind = "controller-elected"
	CertRenewed   Kind = "certificate-renewed"
	TokenCreated  Kind = "token-created"
)

// Event is one thing that happened.
type Event struct {
	Seq     uint64           `json:"seq"`  // grows within the cell; 0 until the cell has it
	At      time.Time        `json:"at"`   // wall clock of the node that wrote it
	Boot    time.Duration    `json:"boot"` // CLOCK_BOOTTIME of that node, for exact intervals on one node
	Node    spec.NodeName    `json:"node"` // who wrote it
	Kind    Kind             `json:"kind"`
	Service spec.ServiceName `json:"service,omitempty"`
	About   spec.NodeName    `json:"about,omitempty"` // the node it is about, if another
	Part    string           `json:"part,omitempty"`
	Epoch   uint64           `json:"epoch,omitempty"`
	Text    string           `json:"text"`            // one plain sentence
	Actor   string           `json:"actor,omitempty"` // who asked for it
	Plan    string           `json:"plan,omitempty"`  // the id of the plan that made it happen
}
