// Keelson keeps services alive on a cell of servers. See `keelson --help`.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/keelson/keelson/internal/app"
	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/front/cli"
	"github.com/keelson/keelson/internal/front/cli/build"
	"github.com/keelson/keelson/internal/lab"
)

// version is set by the release build; else it is what Go knows of the source.
var version string

func main() {
	lab.MaybeRunInner()
	os.Exit(run())
}

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	this := thisBuild()
	return cli.Execute(ctx, cli.Environment{
		Args:  os.Args[1:],
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Getenv:  os.Getenv,
		Clock:   clock.System{},
		Build:   this,
		Actions: app.New(this.Version).Actions(),
	})
}

func thisBuild() build.Build {
	info, _ := debug.ReadBuildInfo()
	return build.Of(version, info)
}
