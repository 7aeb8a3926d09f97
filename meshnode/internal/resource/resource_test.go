package resource

import (
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

func files(content map[string]string) fstest.MapFS {
	m := fstest.MapFS{}
	for name, c := range content {
		m[name] = &fstest.MapFile{Data: []byte(c)}
	}
	return m
}

// v2 is what a container on a host with cgroup v2 sees.
func v2() map[string]string {
	return map[string]string{
		"proc/self/cgroup":             "0::/\n",
		"sys/fs/cgroup/cpu.max":        "100000 100000\n",
		"sys/fs/cgroup/cpu.stat":       "usage_usec 2500000\nuser_usec 2000000\nnr_periods 40\nnr_throttled 10\nthrottled_usec 7\n",
		"sys/fs/cgroup/memory.max":     "1048576\n",
		"sys/fs/cgroup/memory.current": "524288\n",
		"sys/fs/cgroup/memory.stat":    "anon 1\ninactive_file 262144\n",
	}
}

// v1 is what a container on a host with cgroup v1 sees: the host's paths, and
// only its own files.
func v1() map[string]string {
	return map[string]string{
		"proc/self/cgroup":                            "5:memory:/kubepods/pod1/c1\n4:cpu,cpuacct:/kubepods/pod1/c1\n1:name=systemd:/kubepods/pod1/c1\n0::/\n",
		"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us":  "150000\n",
		"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
		"sys/fs/cgroup/cpu,cpuacct/cpu.stat":          "nr_periods 40\nnr_throttled 10\nthrottled_time 5\n",
		"sys/fs/cgroup/cpu,cpuacct/cpuacct.usage":     "2500000000\n",
		"sys/fs/cgroup/memory/memory.limit_in_bytes":  "1048576\n",
		"sys/fs/cgroup/memory/memory.usage_in_bytes":  "524288\n",
		"sys/fs/cgroup/memory/memory.stat":            "cache 9\ninactive_file 1\ntotal_inactive_file 262144\n",
	}
}

// moved renames the files below a directory.
func moved(m map[string]string, from, to string) map[string]string {
	out := map[string]string{}
	for k, v := range m {
		if rest, ok := strings.CutPrefix(k, from); ok {
			k = to + rest
		}
		out[k] = v
	}
	return out
}

// with returns m with one more file, or without it if content is empty.
func with(m map[string]string, name, content string) map[string]string {
	delete(m, name)
	if content != "" {
		m[name] = content
	}
	return m
}

func TestUsage(t *testing.T) {
	want := Usage{CPU: 2500 * time.Millisecond, Periods: 40, Throttled: 10, Memory: 262144}
	for _, c := range []struct {
		name    string
		files   map[string]string
		cores   float64
		memory  uint64
		want    Usage
		missing []string
	}{
		{"v2", v2(), 1, 1 << 20, want, nil},
		{"v2 in a group of the host", with(moved(v2(), "sys/fs/cgroup", "sys/fs/cgroup/a/b"), "proc/self/cgroup", "0::/a/b\n"), 1, 1 << 20, want, nil},
		{"v2 without limits", with(with(v2(), "sys/fs/cgroup/cpu.max", "max 100000\n"), "sys/fs/cgroup/memory.max", "max\n"), 0, 0, Usage{},
			[]string{"CPU: the container has no limit", "memory: the container has no limit"}},
		{"v1", v1(), 1.5, 1 << 20, want, nil},
		{"v1 with the controllers apart", moved(moved(v1(), "sys/fs/cgroup/cpu,cpuacct/cpuacct", "sys/fs/cgroup/cpuacct/kubepods/pod1/c1/cpuacct"),
			"sys/fs/cgroup/cpu,cpuacct", "sys/fs/cgroup/cpu/kubepods/pod1/c1"), 1.5, 1 << 20, want, nil},
		{"v1 without limits", with(with(v1(), "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"), "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"), 0, 0, Usage{},
			[]string{"CPU: the container has no limit", "memory: the container has no limit"}},
		{"no memory controller", with(v2(), "sys/fs/cgroup/memory.max", ""), 1, 0, Usage{CPU: want.CPU, Periods: 40, Throttled: 10},
			[]string{"memory: neither memory.max nor memory.limit_in_bytes below sys/fs/cgroup"}},
		{"a host without control groups", map[string]string{"proc/self/cgroup": ""}, 0, 0, Usage{},
			[]string{"CPU: neither cpu.max nor cpu.cfs_quota_us below sys/fs/cgroup", "memory: neither memory.max nor memory.limit_in_bytes below sys/fs/cgroup"}},
		{"no proc", nil, 0, 0, Usage{}, []string{"CPU and memory: open proc/self/cgroup: file does not exist"}},
		{"nonsense", map[string]string{"proc/self/cgroup": "what\n"}, 0, 0, Usage{}, []string{`CPU and memory: proc/self/cgroup has a line "what\n"`}},
	} {
		g := Open(files(c.files))
		if !slices.Equal(g.Missing(), c.missing) {
			t.Errorf("%s: missing %q, want %q", c.name, g.Missing(), c.missing)
		}
		if g.CPULimit() != c.cores || g.MemoryLimit() != c.memory {
			t.Errorf("%s: limits %v cores and %d bytes, want %v and %d", c.name, g.CPULimit(), g.MemoryLimit(), c.cores, c.memory)
		}
		if got, err := g.Read(); err != nil || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", c.name, got, err, c.want)
		}
	}
}

func TestFilesThatVanish(t *testing.T) {
	for _, name := range []string{"cpu.stat", "memory.current", "memory.stat"} {
		m := files(v2())
		g := Open(m)
		delete(m, "sys/fs/cgroup/"+name)
		if _, err := g.Read(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: error %v", name, err)
		}
	}
}

func TestLoad(t *testing.T) {
	m := files(v2())
	meter := NewMeter(Open(m))
	now := time.Unix(1e9, 0)
	read := func() Load {
		t.Helper()
		l, err := meter.Read(now)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	if got := read(); got != (Load{Memory: 0.25}) {
		t.Errorf("first reading: %+v", got)
	}
	now = now.Add(500 * time.Millisecond)
	m["sys/fs/cgroup/cpu.stat"].Data = []byte("usage_usec 2900000\nnr_periods 45\nnr_throttled 14\n")
	m["sys/fs/cgroup/memory.current"].Data = []byte("1048576\n")
	if got := read(); math.Abs(got.CPU-0.8) > 1e-9 || got.Throttled != 0.8 || got.Memory != 0.75 {
		t.Errorf("under load: %+v", got)
	}
	now = now.Add(500 * time.Millisecond)
	if got := read(); math.Abs(got.CPU-0.4) > 1e-9 || got.Throttled != 0.8 {
		t.Errorf("over a second: %+v", got)
	}
	now = now.Add(Window)
	if got := read(); got.CPU != 0 || got.Throttled != 0 || len(meter.readings) != 2 {
		t.Errorf("after a window at rest: %+v of %d readings", got, len(meter.readings))
	}
}

// TestThisHost: the real files are understood, or it is said why not.
func TestThisHost(t *testing.T) {
	g := Open(os.DirFS("/"))
	t.Logf("%v cores, %d bytes; missing: %q", g.CPULimit(), g.MemoryLimit(), g.Missing())
	u, err := g.Read()
	if err != nil {
		t.Fatal(err)
	}
	if g.CPULimit() > 0 && u.CPU == 0 || g.MemoryLimit() > 0 && u.Memory == 0 {
		t.Errorf("limits, but no usage: %+v", u)
	}
}
