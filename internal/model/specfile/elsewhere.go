package specfile

import (
	"fmt"
	"strings"
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
