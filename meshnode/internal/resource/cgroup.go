// Package resource measures how close a process is to the limits of its
// container: the control group's CPU time, throttling and memory, as the files of
// cgroup v2 or, on older hosts, v1 tell them.
//
// What a host does not offer is left out with a reason, never guessed.
package resource

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"
)

// Group reads the files of a process' control group.
type Group struct {
	root    fs.FS
	cpu     *cpuFiles
	memory  *memoryFiles
	missing []string
}

// cpuFiles names the files of CPU time. Limit is in cores.
type cpuFiles struct {
	stat, usage string // usage is empty if stat tells it
	limit       float64
}

// memoryFiles names the files of memory in use, in bytes.
type memoryFiles struct {
	usage, stat, inactive string // inactive is the key in stat
	limit                 uint64
}

// Usage is what the group has used so far. Throttled and Periods count periods of
// the CPU limit; the sizes are of memory in bytes, without what the kernel can
// take back at once.
type Usage struct {
	CPU                time.Duration
	Periods, Throttled uint64
	Memory             uint64
}

// Open finds the control group of the process. root is the host's file system:
// proc/self/cgroup and sys/fs/cgroup are read. It does not fail: Missing says
// what cannot be measured and why.
func Open(root fs.FS) *Group {
	g := &Group{root: root}
	groups, err := g.groups()
	if err != nil {
		g.missing = append(g.missing, fmt.Sprintf("CPU and memory: %v", err))
		return g
	}
	if g.cpu, err = g.findCPU(groups); err != nil {
		g.missing = append(g.missing, fmt.Sprintf("CPU: %v", err))
	}
	if g.memory, err = g.findMemory(groups); err != nil {
		g.missing = append(g.missing, fmt.Sprintf("memory: %v", err))
	}
	return g
}

// Missing says in words what cannot be measured and why.
func (g *Group) Missing() []string { return g.missing }

// CPULimit returns the limit in cores, 0 if there is none or it is not known.
func (g *Group) CPULimit() float64 {
	if g.cpu == nil {
		return 0
	}
	return g.cpu.limit
}

// MemoryLimit returns the limit in bytes, 0 if there is none or it is not known.
func (g *Group) MemoryLimit() uint64 {
	if g.memory == nil {
		return 0
	}
	return g.memory.limit
}

// groups returns the process' groups by controller; that of v2 has the name "".
func (g *Group) groups() (map[string]string, error) {
	b, err := fs.ReadFile(g.root, "proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	groups := map[string]string{}
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			return nil, fmt.Errorf("proc/self/cgroup has a line %q", line)
		}
		for c := range strings.SplitSeq(f[1], ",") {
			groups[c] = f[2]
		}
	}
	return groups, nil
}

// dir returns the directory of a group: below the mount point by its path or, where a
// container sees the host's path but only its own files, the mount point itself.
func (g *Group) dir(mount, group, file string) (string, bool) {
	for _, d := range []string{path.Join(mount, group), mount} {
		if _, err := fs.Stat(g.root, path.Join(d, file)); err == nil {
			return d, true
		}
	}
	return "", false
}

const mount = "sys/fs/cgroup"

var errNoLimit = errors.New("the container has no limit")

func (g *Group) findCPU(groups map[string]string) (*cpuFiles, error) {
	if d, ok := g.dir(mount, groups[""], "cpu.max"); ok {
		f := strings.Fields(g.read(path.Join(d, "cpu.max")))
		if len(f) != 2 || f[0] == "max" {
			return nil, errNoLimit
		}
		limit, err := ratio(f[0], f[1])
		return &cpuFiles{stat: path.Join(d, "cpu.stat"), limit: limit}, err
	}
	for _, c := range []string{"cpu,cpuacct", "cpu"} {
		d, ok := g.dir(path.Join(mount, c), groups["cpu"], "cpu.cfs_quota_us")
		if !ok {
			continue
		}
		quota, period := strings.TrimSpace(g.read(path.Join(d, "cpu.cfs_quota_us"))), strings.TrimSpace(g.read(path.Join(d, "cpu.cfs_period_us")))
		if strings.HasPrefix(quota, "-") {
			return nil, errNoLimit
		}
		limit, err := ratio(quota, period)
		if err != nil {
			return nil, err
		}
		files := &cpuFiles{stat: path.Join(d, "cpu.stat"), limit: limit}
		for _, a := range []string{c, "cpuacct"} {
			if d, ok := g.dir(path.Join(mount, a), groups["cpuacct"], "cpuacct.usage"); ok {
				files.usage = path.Join(d, "cpuacct.usage")
				return files, nil
			}
		}
		return nil, errors.New("no cpuacct.usage")
	}
	return nil, errors.New("neither cpu.max nor cpu.cfs_quota_us below " + mount)
}

func (g *Group) findMemory(groups map[string]string) (*memoryFiles, error) {
	// What v1 says instead of "no limit" is the largest number of whole pages.
	const unlimited = 1 << 62
	m := &memoryFiles{}
	var limit string
	if d, ok := g.dir(mount, groups[""], "memory.max"); ok {
		m.usage, m.stat, m.inactive = path.Join(d, "memory.current"), path.Join(d, "memory.stat"), "inactive_file"
		limit = path.Join(d, "memory.max")
	} else if d, ok := g.dir(path.Join(mount, "memory"), groups["memory"], "memory.limit_in_bytes"); ok {
		m.usage, m.stat, m.inactive = path.Join(d, "memory.usage_in_bytes"), path.Join(d, "memory.stat"), "total_inactive_file"
		limit = path.Join(d, "memory.limit_in_bytes")
	} else {
		return nil, errors.New("neither memory.max nor memory.limit_in_bytes below " + mount)
	}
	s := strings.TrimSpace(g.read(limit))
	if s == "max" {
		return nil, errNoLimit
	}
	var err error
	if m.limit, err = strconv.ParseUint(s, 10, 64); err != nil {
		return nil, fmt.Errorf("%s: %w", limit, err)
	}
	if m.limit >= unlimited || m.limit == 0 {
		return nil, errNoLimit
	}
	return m, nil
}

func ratio(a, b string) (float64, error) {
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	if err := errors.Join(errX, errY); err != nil {
		return 0, err
	}
	if x <= 0 || y <= 0 {
		return 0, fmt.Errorf("a limit of %s per %s", a, b)
	}
	return x / y, nil
}

// read returns a file's content, nothing if it cannot be read.
func (g *Group) read(file string) string {
	b, err := fs.ReadFile(g.root, file)
	if err != nil {
		return ""
	}
	return string(b)
}

// Read returns the present usage. The error names the file that could not be
// read or understood.
func (g *Group) Read() (Usage, error) {
	var u Usage
	if g.cpu != nil {
		stat, err := g.fields(g.cpu.stat)
		if err != nil {
			return u, err
		}
		u.Periods, u.Throttled = stat["nr_periods"], stat["nr_throttled"]
		u.CPU = time.Duration(stat["usage_usec"]) * time.Microsecond
		if g.cpu.usage != "" {
			ns, err := g.number(g.cpu.usage)
			if err != nil {
				return u, err
			}
			u.CPU = time.Duration(ns)
		}
	}
	if g.memory != nil {
		n, err := g.number(g.memory.usage)
		if err != nil {
			return u, err
		}
		stat, err := g.fields(g.memory.stat)
		if err != nil {
			return u, err
		}
		u.Memory = n - min(stat[g.memory.inactive], n)
	}
	return u, nil
}

func (g *Group) number(file string) (uint64, error) {
	b, err := fs.ReadFile(g.root, file)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", file, err)
	}
	return n, nil
}

// fields reads a file of lines "key number". Values that are no such number are
// not ours.
func (g *Group) fields(file string) (map[string]uint64, error) {
	f, err := g.root.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close() // it was only read
	values := map[string]uint64{}
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		key, value, _ := strings.Cut(sc.Text(), " ")
		if n, err := strconv.ParseUint(value, 10, 64); err == nil {
			values[key] = n
		}
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return values, nil
}
