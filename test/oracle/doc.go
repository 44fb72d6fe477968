// Package oracle holds the tests that compare what Keelson would do with an
// imported cluster with what Pacemaker's own scheduler would do.
//
// They ask crm_simulate, which Debian has in pacemaker-cli-utils and which needs
// no daemon, about clusters made by chance; where it is absent they are skipped
// and say so. Each disagreement is reduced to the smallest cluster that still
// shows it.
package oracle
