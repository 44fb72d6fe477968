package app

import (
	"context"

	"github.com/keelson/keelson/internal/app/demo"
	"github.com/keelson/keelson/internal/front/cli"
)

// Demo shows a failover on this machine.
func (a *App) Demo(ctx context.Context, o cli.DemoOptions) error {
	return demo.Run(ctx, demo.Options{DemoOptions: o, Version: a.version, Clock: a.clock})
}
