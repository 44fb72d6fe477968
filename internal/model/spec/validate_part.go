package spec

import (
	"fmt"
	"maps"
	"math"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

func (c *checker) part(path string, p Part) {
	if p.Name != "" && !validName(p.Name, false) {
		c.add(path+".name", BadName, fmt.Sprintf("%s is not a part name", quote(p.Name)), nameHint)
	}
	switch kinds := p.kinds(); len(kinds) {
	case 0:
		c.add(path, BadKind, "the part has no kind", "give it one of "+strings.Join(Kinds(), ", "))
	case 1:
	default:
		c.add(path, BadKind, "the part is of several kinds: "+strings.Join(kinds, ", "), "make a part of each, in the order in which they start")
	}
	if p.Address != nil {
		c.address(path+".address", *p.Address)
	}
	if p.Exec != nil {
		c.exec(path+".exec", *p.Exec)
	}
	c.checks(path, p)
	c.duration(path+".start_timeout", p.StartTimeout, MinPartTimeout, MaxWait)
	c.duration(path+".stop_timeout", p.StopTimeout, MinPartTimeout, MaxWait)
	if p.Exec != nil && p.StopTimeout != 0 && p.Exec.EffectiveGrace() > p.EffectiveStopTimeout() {
		c.add(path+".stop_timeout", Clash,
			fmt.Sprintf("%v is shorter than the program's grace of %v", p.StopTimeout, Duration(p.Exec.EffectiveGrace())),
			"raise stop_timeout or lower grace")
	}
}

func (c *checker) exec(path string, e Exec) {
	c.command(path+".command", e.Command)
	for _, who := range []struct{ key, value string }{{"user", e.User}, {"group", e.Group}} {
		if who.value != "" && !validUser(who.value) {
			c.add(path+"."+who.key, BadUser, fmt.Sprintf("%s is not the name or number of a %s", quote(who.value), who.key), "")
		}
	}
	if e.Dir != "" {
		c.path(path+".dir", e.Dir)
	}
	c.env(path+".env", e.Env)
	if e.StopSignal != "" {
		if _, ok := SignalNumber(e.StopSignal); !ok {
			c.add(path+".stop_signal", BadSignal, fmt.Sprintf("%s is not a signal to stop a program with", quote(e.StopSignal)),
				"use one of "+strings.Join(StopSignals(), ", "))
		}
	}
	c.optional(path+".grace", e.Grace)
	c.limits(path+".limits", e.Limits)
	c.size(path+".output", e.OutputBytes, MinOutput, MaxOutput)
}

func (c *checker) command(path string, command []string) {
	if len(command) == 0 {
		c.add(path, BadCommand, "there is no command", "give the program's absolute path, then its arguments")
		return
	}
	if program := command[0]; !strings.HasPrefix(program, "/") || strings.HasSuffix(program, "/") {
		c.add(index(path, 0), BadCommand, fmt.Sprintf("%s is not the absolute path of a program", quote(program)),
			"begin it with /; there is no shell and no search in PATH")
	}
	total := 0
	for i, arg := range command[:c.count(path, "arguments", len(command), MaxArgs)] {
		total += len(arg) + 1
		if !isText(arg) {
			c.add(index(path, i), BadCommand, "the argument contains a zero byte or is not UTF-8", "give text")
		}
	}
	if total > MaxArgBytes {
		c.add(path, TooLong, fmt.Sprintf("the arguments are %v long together", Size(total)), fmt.Sprintf("give at most %v", Size(MaxArgBytes)))
	}
}

func (c *checker) env(path string, env map[string]string) {
	keys := slices.Sorted(maps.Keys(env))
	total := 0
	for _, k := range keys[:c.count(path, "variables", len(keys), MaxEnv)] {
		total += len(k) + len(env[k]) + 2
		at := path + "." + clip(k)
		switch {
		case !validVariable(k):
			c.add(at, BadEnv, fmt.Sprintf("%s is not the name of a variable", quote(k)), "use letters, digits and '_', and no digit first")
		case strings.HasPrefix(k, "KEELSON_"):
			c.add(at, BadEnv, fmt.Sprintf("%s is set by Keelson itself", quote(k)), "use a name that does not begin with KEELSON_")
		case !isText(env[k]):
			c.add(at, BadEnv, fmt.Sprintf("the value of %s contains a zero byte or is not UTF-8", quote(k)), "give text")
		}
	}
	if total > MaxEnvBytes {
		c.add(path, TooLong, fmt.Sprintf("the variables are %v long together", Size(total)), fmt.Sprintf("give at most %v", Size(MaxEnvBytes)))
	}
}

func (c *checker) limits(path string, l Limits) {
	c.size(path+".memory", l.Memory, MinMemory, MaxMemory)
	if l.CPU != 0 && !(l.CPU >= MinCPU && l.CPU <= MaxCPU) || math.IsNaN(l.CPU) {
		c.add(path+".cpu", OutOfRange, fmt.Sprintf("%v cores are out of range", l.CPU), fmt.Sprintf("give %v to %v", MinCPU, MaxCPU))
	}
	if l.Processes != 0 {
		c.number(path+".processes", l.Processes, 1, MaxProcesses)
	}
	if l.OpenFiles != 0 {
		c.number(path+".open_files", l.OpenFiles, MinOpenFiles, MaxOpenFiles)
	}
}

func (c *checker) checks(path string, p Part) {
	if p.Check != nil && p.Checks != (Checks{}) {
		c.add(path+".check", Clash, "the part has both check and checks", "move the check into checks, as liveness or readiness")
	}
	c.check(path+".check", p.Check)
	c.check(path+".checks.startup", p.Checks.Startup)
	c.check(path+".checks.liveness", p.Checks.Liveness)
	c.check(path+".checks.readiness", p.Checks.Readiness)
}

func (c *checker) check(path string, k *Check) {
	if k == nil {
		return
	}
	switch kinds := k.kinds(); len(kinds) {
	case 0:
		c.add(path, BadCheck, "the check asks nothing", "give it one of http, tcp, exec")
	case 1:
	default:
		c.add(path, BadCheck, "the check asks several things: "+strings.Join(kinds, ", "), "keep one of them")
	}
	if k.HTTP != "" {
		c.url(path+".http", k.HTTP)
	}
	if k.TCP != "" {
		c.hostPort(path+".tcp", k.TCP)
	}
	if len(k.Exec) > 0 {
		c.command(path+".exec", k.Exec)
	}
	c.duration(path+".every", k.Every, MinEvery, MaxWait)
	c.duration(path+".timeout", k.Timeout, MinTimeout, MaxTimeout)
	c.wait(path+".after", k.After)
	c.positive(path+".failures", k.Failures, MaxInARow)
	c.positive(path+".successes", k.Successes, MaxInARow)
}

func (c *checker) url(path, value string) {
	u, err := url.Parse(value)
	ok := err == nil && len(value) <= MaxURL && (u.Scheme == "http" || u.Scheme == "https") &&
		u.Hostname() != "" && u.User == nil && u.Fragment == "" && (u.Port() == "" || validPort(u.Port()))
	if !ok {
		c.add(path, BadURL, fmt.Sprintf("%s is not a URL to check", quote(value)), "write it like http://10.77.0.100:8080/healthz")
	}
}

func (c *checker) hostPort(path, value string) {
	host, port, err := net.SplitHostPort(value)
	if err != nil || host == "" || len(value) > MaxURL || !printable(host) || strings.ContainsAny(host, " /") || !validPort(port) {
		c.add(path, BadHostPort, fmt.Sprintf("%s is not a host and a port", quote(value)), "write it like 10.77.0.100:5432 or [fd00::1]:5432")
	}
}

func validPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

func validVariable(s string) bool {
	for i := range len(s) {
		letter := s[i] >= 'a' && s[i] <= 'z' || s[i] >= 'A' && s[i] <= 'Z' || s[i] == '_'
		if !letter && (i == 0 || s[i] < '0' || s[i] > '9') {
			return false
		}
	}
	return s != ""
}

// validUser accepts numbers below 2^32-1 and names as useradd(8) makes them.
func validUser(s string) bool {
	if n, err := strconv.ParseUint(s, 10, 32); err == nil {
		return n < math.MaxUint32
	}
	if len(s) > 32 || s[0] == '-' || s[0] >= '0' && s[0] <= '9' {
		return false
	}
	for i := range len(s) {
		letter := s[i] >= 'a' && s[i] <= 'z' || s[i] >= 'A' && s[i] <= 'Z'
		digit := s[i] >= '0' && s[i] <= '9'
		if !letter && !digit && !strings.ContainsRune("_-.", rune(s[i])) {
			return false
		}
	}
	return true
}

func (c *checker) address(path string, a Address) {
	prefix, err := netip.ParsePrefix(a.Prefix)
	if err != nil {
		hint := "write it like 10.77.0.100/24 or fd00:77::100/64"
		if ip, err := netip.ParseAddr(a.Prefix); err == nil && ip.Zone() == "" {
			hint = fmt.Sprintf("add the length of its network, such as %s/%d", ip, usualBits(ip))
		}
		c.add(path+".prefix", BadAddress, fmt.Sprintf("%s is not an address with a prefix length", quote(a.Prefix)), hint)
	} else if why := unusable(prefix, a.Interface); why != "" {
		c.add(path+".prefix", BadAddress, fmt.Sprintf("%s cannot move with a service: %s", prefix, why), "give an address of one host in a network that your nodes share")
	}
	if a.Interface != "" && !validInterface(a.Interface) {
		c.add(path+".interface", BadInterface, fmt.Sprintf("%s is not the name of a network interface", quote(a.Interface)), "use 1 to 15 characters, such as eth0")
	}
}

func usualBits(ip netip.Addr) int {
	if ip.Is4() {
		return 24
	}
	return 64
}

// unusable says why a service cannot have the address, in a few words, or
// nothing if it can.
func unusable(p netip.Prefix, link string) string {
	ip := p.Addr()
	switch {
	case ip.Is4In6():
		return "it is an IPv4 address in IPv6 form"
	case p.Bits() == 0:
		return "its prefix length is 0"
	case ip.IsUnspecified():
		return "it is the unspecified address"
	case ip.IsLoopback():
		return "it is a loopback address"
	case ip.IsMulticast():
		return "it is a multicast address"
	case ip.Is4() && (ip.As4()[0] == 0 || ip.As4()[0] >= 240):
		return "it is reserved"
	case ip.Is6() && ip.IsLinkLocalUnicast() && link == "":
		return "it is link-local, and no interface is given"
	case ip.BitLen()-p.Bits() < 2:
		return ""
	case p.Masked().Addr() == ip:
		return "it is the network itself, not a host in it"
	case ip.Is4() && !p.Contains(ip.Next()):
		return "it is the broadcast address of its network"
	}
	return ""
}

// validInterface follows dev_valid_name of the Linux kernel, and refuses '%',
// which Keelson itself puts between an address and its interface.
func validInterface(s string) bool {
	return s != "" && len(s) <= 15 && s != "." && s != ".." && printable(s) && !strings.ContainsAny(s, "/:% \t")
}

// partAddresses reports two address parts of one service that cannot both be.
func (c *checker) partAddresses(parts []Part) {
	for i, p := range parts {
		for j, q := range parts[:i] {
			if p.Address == nil || q.Address == nil {
				continue
			}
			a, errA := p.Address.Parse()
			b, errB := q.Address.Parse()
			if errA != nil || errB != nil {
				continue
			}
			at := index("parts", i) + ".address.prefix"
			switch {
			case a.Addr() == b.Addr():
				c.add(at, Clash, fmt.Sprintf("parts %d and %d have the same address %s", j+1, i+1, a.Addr()), "remove one of them")
			case p.Address.Interface == q.Address.Interface && overlap(a, b):
				c.add(at, Clash, fmt.Sprintf("parts %d and %d are in networks that overlap: %s and %s", j+1, i+1, b, a), "give both the same prefix length")
			}
		}
	}
}

// overlap reports whether one network lies within the other without being the
// same. An address of full length is no network.
func overlap(a, b netip.Prefix) bool {
	return a.Bits() != b.Bits() && !a.IsSingleIP() && !b.IsSingleIP() && a.Overlaps(b)
}
