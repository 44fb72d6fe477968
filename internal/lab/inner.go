package lab

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/keelson/keelson/internal/lab/hostinit"
	"github.com/keelson/keelson/internal/lab/probe"
	"github.com/keelson/keelson/internal/lab/stage"
	"github.com/keelson/keelson/internal/lab/webd"
)

// Role is what the lab's own binary does when the lab starts it within.
type Role string

// The roles that a caller may start in a host, see [Command].
const (
	// RoleWeb is the sample web program of package webd. Its argument is the
	// address to listen on.
	RoleWeb Role = webd.Role
	// RoleHTTP, RoleARP and RoleLoad are the clients of package probe.
	RoleHTTP Role = probe.RoleHTTP
	RoleARP  Role = probe.RoleARP
	RoleLoad Role = probe.RoleLoad

	roleStage Role = "stage"
	roleInit  Role = "init"
)

// RoleVariable is the environment variable that holds the role. A program
// outside the lab's care, such as a service under test, may set it to start
// the binary [SelfPath] in a role.
const RoleVariable = hostinit.RoleVariable

// SelfPath is the caller's binary within a host, BinDir the first directory of
// PATH there.
const (
	SelfPath = hostinit.Self
	BinDir   = hostinit.BinDir
)

// controlFD is where the stage and the inits find their connection.
const controlFD = 3

// MaybeRunInner takes over if this process was started as an inner one of a
// lab, and then does not return. It must be the first call of main, or of
// TestMain, in every program that calls [New].
func MaybeRunInner() {
	role := Role(os.Getenv(RoleVariable))
	if role == "" {
		return
	}
	// So that what the inner process starts does not take it for its own.
	if err := os.Unsetenv(RoleVariable); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := runInner(role); err != nil {
		fmt.Fprintf(os.Stderr, "lab %s: %v\n", role, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func runInner(role Role) error {
	ctx := context.Background() //nolint:forbidigo // an inner process begins here, as others do in main
	switch role {
	case roleStage:
		return stage.Run(ctx, os.NewFile(controlFD, "control"))
	case roleInit:
		return hostinit.Run(ctx, os.Stdin, os.Stdout, os.NewFile(controlFD, "control"))
	case RoleWeb:
		return webd.Run(ctx, os.Args[1:], os.Environ())
	case RoleHTTP, RoleARP, RoleLoad:
		return probe.Run(ctx, string(role), os.Args[1:], os.Stdin, os.Stdout)
	default:
		return fmt.Errorf("unknown role; the roles are %v",
			slices.Concat([]Role{roleStage, roleInit}, []Role{RoleWeb, RoleHTTP, RoleARP, RoleLoad}))
	}
}
