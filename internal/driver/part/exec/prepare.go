package exec

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/keelson/keelson/internal/driver/cgroup"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/spec"
)

// searchPath is the PATH of programs whose part names none.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// launch is all that a start needs, worked out before anything is touched.
type launch struct {
	group     *cgroup.Group
	command   []string
	dir       string
	env       []string // sorted
	as        string   // whom it runs as, for sentences
	who       *syscall.Credential
	limits    cgroup.Limits
	openFiles int
}

// prepare checks what run asks for against this host.
func (d *Driver) prepare(run instance.Run) (launch, error) {
	e := run.Part.Exec
	if e == nil || len(e.Command) == 0 || !filepath.IsAbs(e.Command[0]) {
		return launch{}, &Error{BadSpec, fmt.Sprintf("%s names no program by its absolute path. Correct its `exec`.", run.Key()), nil}
	}
	g, err := d.group(run)
	if err != nil {
		return launch{}, err
	}
	if err := checkProgram(run.Key(), e.Command[0]); err != nil {
		return launch{}, err
	}
	dir := e.EffectiveDir()
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return launch{}, lacking("the folder "+dir, &Error{
			NoDir, fmt.Sprintf("The working folder %s of %s is not there. Make it, or correct `dir`.", dir, run.Key()), err,
		})
	}
	id, err := identify(run.Key(), e)
	if err != nil {
		return launch{}, err
	}
	return launch{
		group:   g,
		command: e.Command,
		dir:     dir,
		env:     environment(run, id, g.Env()),
		as:      id.name,
		who:     id.credential,
		limits: cgroup.Limits{
			MemoryBytes: int64(e.Limits.Memory), CPU: e.Limits.CPU, Processes: e.Limits.Processes,
		},
		openFiles: e.Limits.OpenFiles,
	}, nil
}

func checkProgram(key, path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return lacking("the program "+path, &Error{
			NoProgram, fmt.Sprintf("%s, the program of %s, is not on this node. Install it, or correct `exec`.", path, key), err,
		})
	case err != nil:
		return &Error{NotAllowed, fmt.Sprintf("%s, the program of %s, cannot be looked at (%v).", path, key, err), err}
	case !info.Mode().IsRegular():
		return lacking(executable+path, &Error{NotExecutable, fmt.Sprintf("%s, the program of %s, is not a file. Correct `exec`.", path, key), nil})
	case info.Mode()&0o111 == 0:
		return lacking(executable+path, &Error{
			NotExecutable, fmt.Sprintf("%s, the program of %s, is not executable. Make it so with `chmod +x %s`.", path, key, path), nil,
		})
	}
	return nil
}

// identity is whom a program runs as.
type identity struct {
	credential *syscall.Credential // nil: as the agent
	name       string
	home       string // empty if not known
}

// identify finds the user and group of e, by name or number.
func identify(key string, e *spec.Exec) (identity, error) {
	uid, gid := os.Geteuid(), os.Getegid()
	id := identity{name: "the agent's own user"}
	var groups []uint32
	if e.User != "" {
		u, err := findUser(e.User)
		if err != nil {
			return identity{}, lacking("the user "+e.User, &Error{
				NoUser, fmt.Sprintf("There is no user %q on this node, which %s wants to run as. Add it, or correct `user`. "+
					"Users that are not in /etc/passwd must be given by number, with a `group`.", e.User, key), err,
			})
		}
		uid, id.name, id.home = u.uid, u.name, u.home
		if gid = u.gid; gid < 0 && e.Group == "" {
			return identity{}, lacking("the group of user "+e.User, &Error{
				NoGroup, fmt.Sprintf("The group of user %s is not known on this node. Give %s a `group`.", e.User, key), nil,
			})
		}
		groups = u.groups
	}
	if e.Group != "" {
		var err error
		if gid, err = findGroup(e.Group); err != nil {
			return identity{}, lacking("the group "+e.Group, &Error{
				NoGroup, fmt.Sprintf("There is no group %q on this node, which %s wants to run as. Add it, or correct `group`.", e.Group, key), err,
			})
		}
	}
	if e.User == "" && e.Group != "" {
		id.name = "group " + e.Group
	}
	if uid != os.Geteuid() || gid != os.Getegid() {
		id.credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), Groups: groups}
	}
	return id, nil
}

// account is what the host knows of a user.
type account struct {
	name     string
	uid, gid int // gid is -1 if not known
	home     string
	groups   []uint32
}

func findUser(want string) (account, error) {
	u, err := user.Lookup(want)
	if err != nil {
		number, bad := strconv.ParseUint(want, 10, 32)
		if bad != nil {
			return account{}, err
		}
		if u, err = user.LookupId(want); err != nil {
			return account{name: "uid " + want, uid: int(number), gid: -1}, nil // a number needs no entry
		}
	}
	a := account{name: u.Username, home: u.HomeDir}
	if a.uid, err = strconv.Atoi(u.Uid); err != nil {
		return account{}, fmt.Errorf("user %s: %w", want, err)
	}
	if a.gid, err = strconv.Atoi(u.Gid); err != nil {
		return account{}, fmt.Errorf("user %s: %w", want, err)
	}
	ids, err := u.GroupIds()
	if err != nil {
		return account{}, fmt.Errorf("groups of user %s: %w", want, err)
	}
	for _, s := range ids {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			return account{}, fmt.Errorf("groups of user %s: %w", want, err)
		}
		a.groups = append(a.groups, uint32(n))
	}
	return a, nil
}

func findGroup(want string) (int, error) {
	g, err := user.LookupGroup(want)
	if err != nil {
		if number, bad := strconv.ParseUint(want, 10, 32); bad == nil {
			return int(number), nil
		}
		return 0, err
	}
	return strconv.Atoi(g.Gid)
}

// environment returns the variables that the program gets. Those of the part
// go before the defaults, and ours before those of the part.
func environment(run instance.Run, id identity, marks []string) []string {
	env := map[string]string{"PATH": searchPath}
	if id.home != "" {
		env["HOME"], env["USER"], env["LOGNAME"] = id.home, id.name, id.name
	}
	maps.Copy(env, run.Part.Exec.Env)
	env["KEELSON_CELL"] = run.Cell
	env["KEELSON_NODE"] = string(run.Node)
	env["KEELSON_SERVICE"] = string(run.Service)
	env["KEELSON_PART"] = run.Part.Name
	if !run.Own {
		env["KEELSON_EPOCH"] = strconv.FormatUint(run.Epoch, 10)
	}
	if run.Role != "" {
		env["KEELSON_ROLE"] = string(run.Role)
	}
	if run.Role == spec.RolePrimary {
		env["KEELSON_PRIMARY"] = strconv.Itoa(run.Lease + 1)
	}
	if run.Copy > 0 {
		env["KEELSON_COPY"] = strconv.Itoa(run.Copy)
	}
	for _, m := range marks {
		name, value, _ := strings.Cut(m, "=")
		env[name] = value
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, name+"="+env[name])
	}
	return out
}
