package cli

import (
	"encoding/json"
	"runtime"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
)

const versionHelp = `Print the version of this binary. The status shows that of each node.

Usage:
    keelson version [-o FORMAT]

    -o, --output FORMAT  table, json or yaml

Exit status: 0 printed, 2 wrong usage.

Example:
    $ keelson version
    keelson v0.1.0 (go1.26.8, linux/amd64)
`

func (s *shell) versionCommand() *cobra.Command {
	c := &cobra.Command{Use: "version", Long: versionHelp, Args: exactly()}
	out := outputFlag(c)
	c.RunE = func(*cobra.Command, []string) error {
		v := struct {
			Version  string `json:"version"`
			Go       string `json:"go"`
			Platform string `json:"platform"`
		}{s.env.Version, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
		encoded, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return err
		}
		switch *out {
		case asJSON:
			s.tty.Printf("%s\n", encoded)
		case asYAML:
			if encoded, err = yaml.JSONToYAML(encoded); err != nil {
				return err
			}
			s.tty.Printf("%s", encoded)
		case asTable:
			s.tty.Printf("keelson %s (%s, %s)\n", v.Version, v.Go, v.Platform)
		}
		return nil
	}
	return c
}
