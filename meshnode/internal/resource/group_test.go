package resource

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"
)

// insideVariable names the file to which this test binary writes what it sees of the control group that it runs in.
const insideVariable = "RESOURCE_TEST_INSIDE"

func TestMain(m *testing.M) {
	file := os.Getenv(insideVariable)
	if file == "" {
		os.Exit(m.Run())
	}
	if err := inside(file); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// seen is what a process sees of its control group.
type seen struct {
	Cores   float64
	Memory  uint64 // the limit, in bytes
	Missing []string
	Usage   Usage
	Load    Load
}

// held is the memory that inside uses, in bytes.
const held = 16 << 20

// inside uses memory, and CPU time until a limit of it has made it wait and the meter has a whole window of that.
func inside(file string) error {
	memory := make([]byte, held)
	for i := 0; i < len(memory); i += os.Getpagesize() {
		memory[i] = 1
	}
	g := Open(os.DirFS("/"))
	meter := NewMeter(g)
	began := time.Now()
	var s seen
	for {
		now := time.Now()
		load, err := meter.Read(now)
		if err != nil {
			return err
		}
		u, err := g.Read()
		if err != nil {
			return err
		}
		s = seen{g.CPULimit(), g.MemoryLimit(), g.Missing(), u, load}
		if g.CPULimit() == 0 || u.Throttled > 0 && now.Sub(began) >= Window {
			break
		}
		for time.Since(now) < Window/20 {
		}
	}
	runtime.KeepAlive(memory)
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o600)
}

// newGroup makes a control group of version 2 with these limits, by the names of its files.
func newGroup(t *testing.T, limits map[string]string) string {
	t.Helper()
	lacks := func(what any) {
		t.Helper()
		if os.Getenv("KERNEL_TEST") != "" {
			t.Fatal(what)
		}
		t.Skip("needs a control group of version 2 that limits, which make test-kernel has: ", what)
	}
	const root = "/sys/fs/cgroup"
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err != nil {
		lacks(err)
	}
	dir := filepath.Join(root, fmt.Sprintf("mesh%d-meter", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		lacks(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	for _, file := range []string{"cpu.max", "memory.max"} {
		if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
			lacks(err)
		}
	}
	for file, limit := range limits {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(limit), 0); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestControlGroup holds what a process says of its control group against what the group was given, and against what the
// kernel says of the group afterwards.
func TestControlGroup(t *testing.T) {
	const cpu, memory = "CPU: the container has no limit", "memory: the container has no limit"
	for name, c := range map[string]struct {
		limits  map[string]string
		cores   float64
		memory  uint64
		missing []string
	}{
		"both limits": {map[string]string{"cpu.max": "10000 100000", "memory.max": "134217728"}, 0.1, 128 << 20, nil},
		"CPU alone":   {map[string]string{"cpu.max": "10000 100000"}, 0.1, 0, []string{memory}},
		"no limit":    {nil, 0, 0, []string{cpu, memory}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := newGroup(t, c.limits)
			group, err := os.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer group.Close()
			file := filepath.Join(t.TempDir(), "seen")
			child := exec.Command(os.Args[0])
			child.Env = append(os.Environ(), insideVariable+"="+file)
			child.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.Fd())}
			if out, err := child.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var s seen
			if err := json.Unmarshal(b, &s); err != nil {
				t.Fatal(err)
			}
			if s.Cores != c.cores || s.Memory != c.memory || !slices.Equal(s.Missing, c.missing) {
				t.Errorf("%v cores, %d bytes, missing %q; want %v, %d, %q", s.Cores, s.Memory, s.Missing, c.cores, c.memory, c.missing)
			}
			if c.memory > 0 {
				if u := s.Usage.Memory; u < held || u > c.memory {
					t.Errorf("%d bytes of memory in use, of %d that were used and %d that are allowed", u, held, c.memory)
				}
				if l := s.Load.Memory; l < float64(held)/float64(c.memory) || l > 1 {
					t.Errorf("a share of %v of the memory", l)
				}
			}
			if c.cores == 0 {
				return
			}
			// A period that began before the window is the most that is too much.
			if l := s.Load; l.CPU <= 0 || l.CPU > 1.5 || l.Throttled <= 0 || l.Throttled > 1 {
				t.Errorf("%+v of a process that burns all that it gets", l)
			}
			after, err := (&Group{root: os.DirFS(dir)}).fields("cpu.stat")
			if err != nil {
				t.Fatal(err)
			}
			if u := s.Usage; u.CPU <= 0 || u.CPU > time.Duration(after["usage_usec"])*time.Microsecond ||
				u.Throttled == 0 || u.Throttled > after["nr_throttled"] || u.Periods > after["nr_periods"] {
				t.Errorf("the process saw %+v, the kernel says %v afterwards", u, after)
			}
		})
	}
}
