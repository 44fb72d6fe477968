package lab

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/lab/wire"
)

func TestOptionsBecomeAConfiguration(t *testing.T) {
	got, err := Options{Hosts: []string{"h1", "client"}, Networks: 2, Shares: []Share{{Source: "/bin/x", Target: "/run/lab/bin/x"}}}.config("id")
	if err != nil {
		t.Fatal(err)
	}
	want := wire.Lab{
		ID: "id", Bridges: []string{"br0", "br1"}, DiskBytes: DefaultDiskBytes,
		Shares: []wire.Share{{Source: "/bin/x", Target: "/run/lab/bin/x"}},
		Hosts: []wire.Host{
			{Name: "h1", Links: []wire.Link{
				{Bridge: "br0", Port: "p0-1", Interface: "eth0", MAC: "02:77:00:00:00:01", Addresses: []string{"10.77.0.1/24", "fd77::1/64"}},
				{Bridge: "br1", Port: "p1-1", Interface: "eth1", MAC: "02:77:00:01:00:01", Addresses: []string{"10.78.0.1/24", "fd78::1/64"}},
			}},
			{Name: "client", Links: []wire.Link{
				{Bridge: "br0", Port: "p0-2", Interface: "eth0", MAC: "02:77:00:00:00:02", Addresses: []string{"10.77.0.2/24", "fd77::2/64"}},
				{Bridge: "br1", Port: "p1-2", Interface: "eth1", MAC: "02:77:00:01:00:02", Addresses: []string{"10.78.0.2/24", "fd78::2/64"}},
			}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestBadOptionsAreRefused(t *testing.T) {
	var many []string
	for i := range MaxHosts + 1 {
		many = append(many, fmt.Sprintf("h%d", i))
	}
	for name, o := range map[string]Options{
		"no host":                  {},
		"too many hosts":           {Hosts: many},
		"a name twice":             {Hosts: []string{"a", "a"}},
		"a name that leads away":   {Hosts: []string{"../a"}},
		"an empty name":            {Hosts: []string{""}},
		"too many networks":        {Hosts: []string{"a"}, Networks: MaxNetworks + 1},
		"a negative network":       {Hosts: []string{"a"}, Networks: -1},
		"a disk of nothing":        {Hosts: []string{"a"}, DiskBytes: 5},
		"a share without a target": {Hosts: []string{"a"}, Shares: []Share{{Source: "/bin/sh"}}},
	} {
		if _, err := o.config("id"); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestAdviceSaysWhatToDo(t *testing.T) {
	const prefix = "ordinary users may not make user namespaces here "
	for _, c := range []struct {
		name    string
		uid     int
		sysctls map[string]string
		want    string
	}{
		{"root in a container", 0, nil, "this process is root but may not make namespaces, as in most containers; " +
			"run it on the machine itself or in a privileged container"},
		{"Debian's old switch", 1000, map[string]string{"kernel.unprivileged_userns_clone": "0"}, prefix +
			"(kernel.unprivileged_userns_clone is 0); run it as root, or allow it with: sudo sysctl -w kernel.unprivileged_userns_clone=1"},
		{"Ubuntu's AppArmor", 1000, map[string]string{"kernel.apparmor_restrict_unprivileged_userns": "1", "user.max_user_namespaces": "100"}, prefix +
			"(kernel.apparmor_restrict_unprivileged_userns is 1); run it as root, or allow it with: " +
			"sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"},
		{"no namespaces at all", 1000, map[string]string{"user.max_user_namespaces": "0"}, prefix +
			"(user.max_user_namespaces is 0); run it as root, or allow it with: sudo sysctl -w user.max_user_namespaces=10000"},
		{"a policy unknown to us", 1000, map[string]string{"kernel.unprivileged_userns_clone": "1"}, prefix +
			"(a container or a security policy forbids it); run it as root"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := advice(c.uid, func(name string) string { return c.sysctls[name] })
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestOnlyRefusalsOfTheKernelAreForbidden(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{syscall.EPERM, true},
		{fmt.Errorf("x: %w", syscall.ENOSPC), true},
		{wire.Mark(errors.New("x"), wire.ErrForbidden), true},
		{syscall.ENOENT, false},
		{errors.New("x"), false},
	} {
		if got := errors.Is(forbidden(c.err), ErrForbidden); got != c.want {
			t.Errorf("%v: %v", c.err, got)
		}
	}
}
