package app

import (
	"context"
	"errors"

	"github.com/keelson/keelson/internal/front/cli"
)

// Demo shows a failover on this machine.
func (a *App) Demo(context.Context, cli.DemoOptions) error { return errors.New("x") }
