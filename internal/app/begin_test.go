package app

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// occupy takes a port until the test ends.
func occupy(t *testing.T, network, address string, port int) {
	t.Helper()
	where := net.JoinHostPort(address, strconv.Itoa(port))
	if network == "udp" {
		conn, err := net.ListenPacket(network, where)
		must(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		return
	}
	l, err := net.Listen(network, where)
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
}

var ports = []struct {
	network, flag string
	number        int
}{{"tcp", "--api-port", 7480}, {"udp", "--link-port", 7481}, {"tcp", "--peer-port", 7482}, {"tcp", "--client-port", 7483}}

func TestInitRefusesAPortInUseAndChangesNothing(t *testing.T) {
	t.Parallel()
	for _, p := range ports {
		t.Run(p.network+" "+strconv.Itoa(p.number), func(t *testing.T) {
			t.Parallel()
			h := newHost(t, "a")
			occupy(t, p.network, h.address, p.number)
			status, printed := h.init()
			says(t, status, printed, 1, strconv.Itoa(p.number), h.address, "used by another program", p.flag)
			if diff := cmp.Diff(map[string]string{}, content(t, h.data())); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestInitSaysWhatIsWrongWithItsFolderOrAddress(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		spoil func(t *testing.T, h *host)
		flags []string
		code  int
		words []string
	}{
		{name: "an address that this server does not have", flags: []string{"--address", "192.0.2.1"}, code: 1, words: []string{"192.0.2.1", "does not have"}},
		{name: "no address", flags: []string{"--address", "a.example"}, code: 2, words: []string{"a.example"}},
		{name: "a name that is none", flags: []string{"--name", "A_b"}, code: 2, words: []string{"A_b"}},
		{name: "a port that is none", flags: []string{"--api-port", "99999"}, code: 2, words: []string{"99999"}},
		{name: "an agent's file that is missing", flags: []string{"--config", "/nonexistent/agent.yaml"}, code: 1, words: []string{"/nonexistent/agent.yaml"}},
		{name: "an agent's file that is a folder", flags: []string{"--config", "/"}, code: 1, words: []string{"/ is a folder, not the agent's file"}},
		{name: "a data folder that is a file", code: 1, words: []string{"is not a folder"}, spoil: func(t *testing.T, h *host) {
			must(t, os.WriteFile(h.data(), nil, 0o600))
		}},
		{name: "a data folder below a file", code: 1, words: []string{"is not a folder"}, flags: []string{"--data", "/dev/null/keelson"}},
		{name: "an identity that is damaged", code: 1, words: []string{"node.json", "nothing was changed"}, spoil: func(t *testing.T, h *host) {
			must(t, os.MkdirAll(h.data(), 0o700))
			must(t, os.WriteFile(h.data("node.json"), []byte(`{"format":`), 0o600))
		}},
		{name: "a key that is damaged", code: 1, words: []string{"node.key"}, spoil: func(t *testing.T, h *host) {
			must(t, os.MkdirAll(h.data("pki"), 0o700))
			must(t, os.WriteFile(h.data("pki", "node.key"), []byte("garbage"), 0o600))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, "a")
			if tt.spoil != nil {
				tt.spoil(t, h)
			}
			before := content(t, h.folder)
			status, printed := h.init(tt.flags...)
			says(t, status, printed, tt.code, tt.words...)
			if diff := cmp.Diff(before, content(t, h.folder)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestInitIsRefusedOnAMemberAndChangesNothing(t *testing.T) {
	t.Parallel()
	h := newHost(t, "a")
	status, printed := h.init()
	done(t, status, printed)
	before := content(t, h.data())
	for _, again := range []func() (int, string){
		func() (int, string) { return h.init() },
		func() (int, string) { return h.init("--name", "z", "--cell", "other") },
		func() (int, string) { return h.join(h, "kl1.abc") },
	} {
		status, printed = again()
		says(t, status, printed, 1, "this server is node a of cell main already", "nothing was changed", "keelson leave")
	}
	if diff := cmp.Diff(before, content(t, h.data())); diff != "" {
		t.Error(diff)
	}
}

func TestAnInitThatWasCutShortIsFinishedOrMadeAnew(t *testing.T) {
	t.Parallel()
	h := newHost(t, "a")
	// As left by an init that had not come to its store.
	other := newHost(t, "a")
	must(t, os.MkdirAll(h.data(), 0o700))
	must(t, unix.Mkdir(other.data(), 0o700))
	must(t, os.WriteFile(filepath.Join(other.data(), "etcd"), nil, 0o600)) // the store cannot be made
	status, printed := other.init()
	says(t, status, printed, 1, "is not a folder")
	founding, err := os.ReadFile(other.data("founding.json"))
	must(t, err)
	must(t, os.WriteFile(h.data("founding.json"), founding, 0o600))

	// It was for another address, so it is made anew.
	status, printed = h.init()
	done(t, status, printed)

	// The same init goes on where it was.
	must(t, os.Remove(other.data("etcd")))
	status, printed = other.init()
	done(t, status, printed)

	// A store that was made is not thrown away.
	must(t, os.Remove(other.data("node.json")))
	must(t, os.WriteFile(other.data("founding.json"), founding, 0o600))
	before := content(t, other.data("etcd"))
	status, printed = other.init("--name", "z")
	says(t, status, printed, 1, "cell main with node a", "was cut short")
	if diff := cmp.Diff(before, content(t, other.data("etcd"))); diff != "" {
		t.Error(diff)
	}
	status, printed = other.init()
	done(t, status, printed)
}

// small mounts a file system of a few MiB at a host's data folder.
func small(t *testing.T, h *host, size string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts a small file system to fill")
	}
	must(t, os.MkdirAll(h.data(), 0o700))
	if err := unix.Mount("tmpfs", h.data(), "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("this machine does not let us mount a file system: %v", err)
	}
	t.Cleanup(func() { must(t, unix.Unmount(h.data(), unix.MNT_DETACH)) })
}

// fill takes what room there is and returns the file to remove.
func fill(t *testing.T, h *host) string {
	t.Helper()
	name := h.data("ballast")
	f, err := os.Create(name)
	must(t, err)
	defer f.Close()
	for _, block := range []int{64 << 10, 1} {
		for err == nil {
			_, err = f.Write(make([]byte, block))
		}
		err = nil
	}
	return name
}

func TestAFullDiskAtInitIsSaidAndLeavesRoomToTryAgain(t *testing.T) {
	t.Parallel()
	h := newHost(t, "a")
	small(t, h, "64m")
	ballast := fill(t, h)
	status, printed := h.init()
	says(t, status, printed, 1, "disk under "+h.data(), "is full")
	must(t, os.Truncate(ballast, 60<<20)) // the key has room, the store has not
	status, printed = h.init()
	says(t, status, printed, 1, "disk under "+h.data(), "is full", "32 MiB")
	must(t, os.Remove(ballast))
	status, printed = h.init()
	done(t, status, printed)
}

func TestAnAddressOfAServiceIsNotTakenForTheNodes(t *testing.T) {
	t.Parallel()
	h := newHost(t, "a")
	dir := filepath.Join(h.folders().parts(), "shop", "address")
	must(t, os.MkdirAll(dir, 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "address.json"), fmt.Appendf(nil, `{"prefix":"%s/8","interface":"lo"}`, h.address), 0o600))
	status, printed := h.init()
	says(t, status, printed, 1, h.address+" belongs to a service that runs here, and moves with it; nothing was changed", "--address")
}

func TestAFolderThatCannotBeIsSaid(t *testing.T) {
	t.Parallel()
	h := newHost(t, "a")
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	for _, words := range [][]string{{"init"}, {"agent"}} {
		status, printed := h.keelson(append(words, "--data", file, "--run", h.folders().run)...)
		says(t, status, printed, 1, file+" is not a folder", "give another with --data")
	}
	status, printed := h.keelson("agent", "--data", file+"-none", "--run", h.folders().run)
	says(t, status, printed, 1, file+"-none/node.json does not exist", "give the folder of its state with --data")
}

func TestHowAnAgentIsEndedIsSaidAsThisHostDoesIt(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff([]string{"`systemctl stop keelson`", "end the process `keelson agent`"}, []string{stopping(true), stopping(false)}); diff != "" {
		t.Error(diff)
	}
}
