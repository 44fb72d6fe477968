package cgroup

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// cpuPeriod is the window, in microseconds, in which CPU time is counted, and
// minQuota the least that the kernel takes for it.
const (
	cpuPeriod = 100_000
	minQuota  = 1_000
)

// wanted returns the controllers that l needs.
func (l Limits) wanted() []string {
	var out []string
	if l.MemoryBytes > 0 {
		out = append(out, memory)
	}
	if l.CPU > 0 {
		out = append(out, cpu)
	}
	if l.Processes > 0 {
		out = append(out, pids)
	}
	return out
}

// set writes the limit of one controller into folder.
func (l Limits) set(controller string, v2 bool, folder string) error {
	at := func(name string) string { return filepath.Join(folder, name) }
	bytes := strconv.FormatInt(l.MemoryBytes, 10)
	quota := strconv.FormatInt(max(minQuota, int64(math.Round(l.CPU*cpuPeriod))), 10)
	period := strconv.Itoa(cpuPeriod)

	switch {
	case controller == pids:
		return write(at("pids.max"), strconv.Itoa(l.Processes))
	case controller == cpu && v2:
		return write(at("cpu.max"), quota+" "+period)
	case controller == cpu:
		return errors.Join(write(at("cpu.cfs_period_us"), period), write(at("cpu.cfs_quota_us"), quota))
	case v2: // memory: swap does not stretch the limit
		return errors.Join(write(at("memory.max"), bytes), optional(at("memory.swap.max"), "0"))
	default: // with swap is never less than without, whatever stood there before
		both := at("memory.memsw.limit_in_bytes")
		return errors.Join(optional(both, "-1"), write(at("memory.limit_in_bytes"), bytes), optional(both, bytes))
	}
}

// optional writes to a file that a kernel without swap accounting lacks.
func optional(path, text string) error {
	if err := write(path, text); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// write gives text to an existing control file in one write.
func write(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// readKey returns the number after key in a control file of "key number" lines,
// and whether it is there.
func readKey(path, key string) (int, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name == key {
			n, err := strconv.Atoi(value)
			return n, err == nil
		}
	}
	return 0, false
}
