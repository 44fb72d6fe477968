package descriptors

import (
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestNoProgramInheritsWhatIsOpen(t *testing.T) {
	for name, keep := range map[string]func() error{"at once": Keep, "one by one": each} {
		t.Run(name, func(t *testing.T) {
			fd, err := syscall.Open("/dev/null", syscall.O_RDONLY, 0) // as an inherited one is
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = unix.Close(fd) }()
			inherited := func() bool {
				out, err := exec.Command("/bin/sh", "-c", fmt.Sprintf("test -e /proc/$$/fd/%d && echo yes || echo no", fd)).Output()
				if err != nil {
					t.Fatal(err)
				}
				return strings.TrimSpace(string(out)) == "yes"
			}
			if !inherited() {
				t.Fatal("it is not inherited anyhow, so this test shows nothing")
			}
			if err := keep(); err != nil {
				t.Fatal(err)
			}
			if inherited() {
				t.Error("a program inherits it")
			}
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
				t.Errorf("it is closed here: %v", err)
			}
		})
	}
}
