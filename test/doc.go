// Package test holds the integration tests: real hosts, the real binary, real
// faults, asserted from outside.
//
// They need root and are built with the tag integration; `make lab` runs them.
// What is true of a service is asked of the service, by a client on the same
// network, never of Keelson.
package test
