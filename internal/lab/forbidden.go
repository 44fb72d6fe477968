package lab

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/keelson/keelson/internal/lab/wire"
)

// forbidden turns a refusal of the kernel into [ErrForbidden] with a sentence
// that says what to do. Other errors stay as they are.
func forbidden(err error) error {
	refused := errors.Is(err, ErrForbidden)
	for _, e := range []error{syscall.EPERM, syscall.EACCES, syscall.ENOSPC, syscall.EUSERS, syscall.EINVAL} {
		refused = refused || errors.Is(err, e)
	}
	if !refused {
		return err
	}
	return wire.Mark(fmt.Errorf("this machine does not let you make a lab: %s (%w)",
		advice(os.Geteuid(), sysctl), err), ErrForbidden)
}

// advice says why a lab cannot be made and what to do about it.
func advice(uid int, sysctl func(string) string) string {
	if uid == 0 {
		return "this process is root but may not make namespaces, as in most containers; " +
			"run it on the machine itself or in a privileged container"
	}
	for _, s := range []struct{ name, forbids, allows string }{
		{"user.max_user_namespaces", "0", "10000"},
		{"kernel.unprivileged_userns_clone", "0", "1"},
		{"kernel.apparmor_restrict_unprivileged_userns", "1", "0"},
	} {
		if sysctl(s.name) == s.forbids {
			return fmt.Sprintf("ordinary users may not make user namespaces here (%s is %s); "+
				"run it as root, or allow it with: sudo sysctl -w %s=%s", s.name, s.forbids, s.name, s.allows)
		}
	}
	return "ordinary users may not make user namespaces here (a container or a security policy forbids it); " +
		"run it as root"
}

// sysctl returns a kernel setting, or "" if this kernel has none of that name.
func sysctl(name string) string {
	text, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
