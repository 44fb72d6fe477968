package app

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/base/atomicfile"
	"github.com/keelson/keelson/internal/base/command"
	"github.com/keelson/keelson/internal/front/cli"
)

// unitPath is where the unit is written if no package has brought one.
const unitPath = "/etc/systemd/system/keelson.service"

// defaultRun is where a node's sockets are unless it is told otherwise.
const defaultRun = "/run/keelson"

// unit is the system service. Only the agent's own process is ended with it:
// the guard and what Keelson runs go on, so that an upgrade is no outage. It is
// started again without end, since what stops it (a full disk, a port in use, a
// wrong clock) may be over at any time; but not on a server that has left.
const unit = `[Unit]
Description=Keelson keeps services alive on this cell of servers
After=network-online.target
Wants=network-online.target
ConditionPathExists=/var/lib/keelson/node.json
StartLimitIntervalSec=0

[Service]
ExecStart=%s agent%s
Restart=always
RestartSec=1
KillMode=process
Delegate=yes
OOMScoreAdjust=-800
LimitNOFILE=65536
RuntimeDirectory=keelson
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=yes

[Install]
WantedBy=multi-user.target
`

// startService makes the agent run: by systemd where that is the init, else it
// says what to run.
func (a *App) startService(ctx context.Context, n cli.NewNode) (started bool, notes []string, err error) {
	if !systemdRuns() || n.NoStart {
		return false, nil, nil
	}
	if n.Folders.Data != "/var/lib/keelson" || n.Folders.Run != defaultRun {
		return false, []string{"the folders are not the usual ones, so no system service was made"}, nil
	}
	if !unitExists() {
		self, err := os.Executable()
		if err != nil {
			return false, nil, fmt.Errorf("find this program's file: %w", err)
		}
		if err := atomicfile.Write(unitPath, fmt.Appendf(nil, unit, self, ""), 0o644); err != nil {
			return false, nil, err
		}
		notes = append(notes, "wrote "+unitPath)
	}
	n.Progress("starting the system service keelson")
	for _, args := range [][]string{{"daemon-reload"}, {"enable", "--now", "keelson.service"}} {
		if err := systemctl(ctx, args...); err != nil {
			return false, notes, err
		}
	}
	return true, notes, nil
}

// systemdRuns reports whether systemd is this host's init.
func systemdRuns() bool {
	_, err := os.Stat("/run/systemd/system")
	return err == nil
}

// stopping says how an agent is ended.
func stopping(systemd bool) string {
	if systemd {
		return "`systemctl stop keelson`"
	}
	return "end the process `keelson agent`"
}

func unitExists() bool {
	for _, p := range []string{unitPath, "/lib/systemd/system/keelson.service", "/usr/lib/systemd/system/keelson.service"} {
		if _, err := os.Stat(p); err == nil {
			return true
		}
	}
	return false
}

// systemctlTimeout bounds one call.
const systemctlTimeout = time.Minute

func systemctl(ctx context.Context, args ...string) error {
	result, err := command.Run(ctx, command.Command{Path: "systemctl", Args: args, Timeout: systemctlTimeout})
	if err != nil {
		return fmt.Errorf("systemctl %s: %w", strings.Join(args, " "), err)
	}
	if result.Code != 0 {
		return refused("systemd-refused", "look at `journalctl -u keelson`, or run `keelson agent` by hand",
			"systemctl %s ended with status %d: %s", strings.Join(args, " "), result.Code, strings.TrimSpace(string(result.Output)))
	}
	return nil
}
