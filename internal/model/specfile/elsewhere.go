package specfile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/keelson/keelson/internal/model/spec"
)

// elsewhere says which part of a file that other versions, or other programs, know
// is not in this one, and what does its job; false: it is no such part.
func elsewhere(name string) (message, hint string, known bool) {
	const has = "it has address and exec; "
	tell := func(kind, instead string) (string, string, bool) {
		return fmt.Sprintf("this version has no part %q", kind), has + instead, true
	}
	switch strings.ToLower(name) {
	case "mount", "filesystem", "volume":
		return tell(name, "an exec can mount it, stay, and unmount it when it is told to stop")
	case "systemd", "unit":
		return tell(name, "write the program of the unit's ExecStart as an exec, and disable the unit")
	case "ocf", "resource", "lsb":
		return tell(name, "write the program that the agent looks after as an exec with a check, and an IPaddr2 as an address")
	case "container", "docker", "podman", "image":
		return tell(name, "write the program that the container holds as an exec")
	case "postgres", "postgresql", "mysql", "mariadb":
		return tell(name, "write the server as an exec; promote and demote in it are for roles")
	case "ip", "vip", "virtual_ip":
		return tell(name, `write it as address`)
	case "process", "program", "script", "run", "service":
		return tell(name, `write it as exec`)
	}
	return "", "", false
}

// inside says of a key beside a part's exec or address that it belongs inside it;
// false: it does not.
func (d *decoder) inside(name string) (message, hint string, known bool) {
	word := name
	switch strings.ToLower(name) {
	case "stop", "signal", "kill_signal":
		word = "stop_signal"
	case "workdir", "working_dir", "cwd", "directory":
		word = "dir"
	case "environment":
		word = "env"
	case "args", "arguments":
		word = "command"
	case "limit", "resources", "memory", "cpu":
		word = "limits"
	}
	for _, form := range []struct {
		kind, text string
		keys       []key
	}{
		{"exec", "exec: {command: [...], %s: ...}", d.execKeys(&spec.Exec{})},
		{"address", "address: {prefix: ..., %s: ...}", d.addressKeys(&spec.Address{})},
	} {
		if !slices.Contains(namesOf(form.keys), word) {
			continue
		}
		text := fmt.Sprintf(form.text, word)
		switch word {
		case "command":
			text = "exec: {command: [...]}"
		case "prefix":
			text = "address: {prefix: ...}"
		}
		return fmt.Sprintf("%q belongs inside %s", clip(name, 60), form.kind), "write " + text, true
	}
	return "", "", false
}
