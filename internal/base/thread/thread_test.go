package thread

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestEachMeetsThisThread(t *testing.T) {
	met := map[int]int{}
	if err := Each(func(tid int) error { met[tid]++; return unix.ESRCH }); err != nil {
		t.Fatal(err)
	}
	if met[os.Getpid()] != 1 {
		t.Errorf("the first thread was met %d times", met[os.Getpid()])
	}
	boom := errors.New("boom")
	if err := Each(func(int) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("error %v", err)
	}
}

func TestSlackIsNotInheritedApart(t *testing.T) {
	const coarse = 2 * time.Millisecond
	if err := Slack(coarse); err != nil {
		if errors.Is(err, os.ErrPermission) {
			t.Skip("the kernel lets only who has CAP_SYS_NICE change the timer slack of threads")
		}
		t.Fatal(err)
	}
	defer func() {
		if err := Slack(UsualSlack); err != nil {
			t.Error(err)
		}
		if got := childSlack(t, func(f func() error) error { return f() }); got != UsualSlack {
			t.Errorf("afterwards a program has a slack of %s", got)
		}
	}()
	if got := childSlack(t, func(f func() error) error { return f() }); got != coarse {
		t.Errorf("a program inherits a slack of %s, so this test shows nothing", got)
	}
	if got := childSlack(t, Apart); got != UsualSlack {
		t.Errorf("a program that is started apart has a slack of %s", got)
	}
	if got := childSlack(t, func(f func() error) error { return f() }); got != coarse {
		t.Errorf("and then one that is not has %s", got)
	}
}

// childSlack is the timer slack of a program that is started within wrap.
func childSlack(t *testing.T, wrap func(func() error) error) time.Duration {
	t.Helper()
	var out []byte
	err := wrap(func() (err error) {
		// A shell reads its own, as each child of one would inherit it.
		out, err = exec.Command("/bin/sh", "-c", "read s < /proc/$$/timerslack_ns; echo $s").Output()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(n)
}

func TestNiceValueIsNotInheritedApart(t *testing.T) {
	if nice := childNice(t, Apart); nice != 0 {
		t.Skipf("this test is run with a nice value of %d", nice)
	}
	if err := Prefer(); err != nil {
		if errors.Is(err, os.ErrPermission) {
			t.Skip("the kernel lets only who has CAP_SYS_NICE lower its nice value")
		}
		t.Fatal(err)
	}
	defer func() {
		err := Each(func(tid int) error { return unix.Setpriority(unix.PRIO_PROCESS, tid, 0) })
		if err != nil {
			t.Error(err)
		}
	}()
	direct := func(f func() error) error { return f() }
	if got := childNice(t, direct); got != Preferred {
		t.Errorf("a program inherits a nice value of %d, so this test shows nothing", got)
	}
	if got := childNice(t, Apart); got != 0 {
		t.Errorf("a program that is started apart has a nice value of %d", got)
	}
	if got := childNice(t, direct); got != Preferred {
		t.Errorf("and then one that is not has %d", got)
	}
}

// childNice is the nice value of a program that is started within wrap.
func childNice(t *testing.T, wrap func(func() error) error) int {
	t.Helper()
	var out []byte
	err := wrap(func() (err error) {
		out, err = exec.Command("/bin/sh", "-c", "cut -d' ' -f19 /proc/$$/stat").Output()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
