package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/internal/command"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// Variables that tell this test binary to join control groups, directories
// separated by colons, and to burn CPU time instead of anything else.
const (
	joinGroups = "MESHNODE_TEST_JOIN_GROUPS"
	burn       = "MESHNODE_TEST_BURN"
)

// join moves this process into the control groups of joinGroups. In a network
// namespace of "ip netns exec", which has a /sys of its own, it mounts them first.
func join() error {
	const root = "/sys/fs/cgroup"
	for dir := range strings.SplitSeq(os.Getenv(joinGroups), ":") {
		if dir == "" {
			continue
		}
		procs := filepath.Join(dir, "cgroup.procs")
		if _, err := os.Stat(procs); errors.Is(err, os.ErrNotExist) {
			typ, at, controller := "cgroup2", root, ""
			if parent := filepath.Dir(dir); parent != root {
				typ, at, controller = "cgroup", parent, filepath.Base(parent)
				// A file system to make the mount point in.
				if _, err := os.Stat(at); errors.Is(err, os.ErrNotExist) {
					if entries, err := os.ReadDir(root); err != nil || len(entries) == 0 {
						if err := syscall.Mount("tmpfs", root, "tmpfs", 0, ""); err != nil {
							return err
						}
					}
					if err := os.Mkdir(at, 0o755); err != nil {
						return err
					}
				}
			}
			if err := syscall.Mount("cgroup", at, typ, 0, controller); err != nil {
				return fmt.Errorf("mount %s: %w", at, err)
			}
		}
		if err := os.WriteFile(procs, []byte("0"), 0); err != nil {
			return err
		}
	}
	return nil
}

// burnCPU keeps a core busy for 80 % of the time, as "stress-ng --cpu 1
// --cpu-load 80 --cpu-load-slice 10" does.
func burnCPU() {
	const slice = 10 * time.Millisecond
	for {
		for start := time.Now(); time.Since(start) < slice; {
		}
		time.Sleep(slice / 4)
	}
}

// limitCPU makes control groups with a limit of one core, as a container's, and
// returns their directories for joinGroups.
func limitCPU(t *testing.T) string {
	t.Helper()
	name := fmt.Sprintf("mesh%d-limit", os.Getpid())
	root := "/sys/fs/cgroup"
	files := map[string]string{}
	var dirs []string
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err == nil {
		dirs = []string{filepath.Join(root, name)}
		files["cpu.max"] = "100000 100000"
	} else {
		dirs = []string{filepath.Join(root, "cpu", name), filepath.Join(root, "cpuacct", name)}
		files["cpu.cfs_period_us"], files["cpu.cfs_quota_us"] = "100000", "100000"
	}
	for _, d := range dirs {
		if err := os.Mkdir(d, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			if os.Getenv("CI") == "true" {
				t.Fatalf("needs a control group for CPU time: %v", err)
			}
			t.Skipf("needs a control group for CPU time: %v", err)
		}
		t.Cleanup(func() {
			if err := os.Remove(d); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Error(err)
			}
		})
	}
	for f, content := range files {
		if err := os.WriteFile(filepath.Join(dirs[0], f), []byte(content), 0); err != nil {
			t.Fatal(err)
		}
	}
	return strings.Join(dirs, ":")
}

// stress starts four processes in control groups that burn 80 % of a core each,
// and returns what ends them.
func stress(t *testing.T, groups string) (end func()) {
	t.Helper()
	var burners []*exec.Cmd
	for range 4 {
		b := exec.Command(os.Args[0])
		b.Env = append(os.Environ(), burn+"=1", joinGroups+"="+groups)
		b.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := b.Start(); err != nil {
			t.Fatal(err)
		}
		burners = append(burners, b)
	}
	return func() {
		for _, b := range burners {
			_ = b.Process.Kill() // it may be gone already
			_ = b.Wait()         // killed
		}
		burners = nil
	}
}

// attested is what a node has verified and turned away.
type attested struct{ critical, low, shed, timeouts, cpu float64 }

func (c *cluster) attested(name string) attested {
	c.t.Helper()
	get := func(m string, labels map[string]string) float64 {
		v, err := c.metric(name, m, labels)
		if err != nil {
			c.t.Fatal(err)
		}
		return v
	}
	good := func(priority string) map[string]string {
		return map[string]string{metric.LabelPriority: priority, metric.LabelResult: metric.ResultSuccess}
	}
	return attested{
		get(metric.VerificationsTotal, good(metric.PriorityCritical)), get(metric.VerificationsTotal, good(metric.PriorityLow)),
		get(metric.VerificationsShed, nil), get(metric.VerificationTimeouts, nil), c.cpu(name),
	}
}

// during returns what each node did per second of d.
func (c *cluster) during(what string, d time.Duration) map[string]attested {
	c.t.Helper()
	start, before, rates := time.Now(), map[string]attested{}, map[string]attested{}
	for _, n := range c.names {
		before[n] = c.attested(n)
	}
	<-time.After(d)
	s := time.Since(start).Seconds()
	for _, n := range c.names {
		a, b := c.attested(n), before[n]
		r := attested{(a.critical - b.critical) / s, (a.low - b.low) / s, (a.shed - b.shed) / s, a.timeouts - b.timeouts, (a.cpu - b.cpu) / s}
		c.t.Logf("%s, %s: per second %.2f critical, %.1f low, %.1f shed; %v timeouts; %.1f %% of a core", what, n, r.critical, r.low, r.shed, r.timeouts, 100*r.cpu)
		rates[n] = r
	}
	return rates
}

// TestOverload runs scenario 5 in miniature: of five real nodes one is limited to a
// core that four processes burn beside it. What its sessions need goes on, and
// with healing the rest is left out. MESH_TEST_REATTEST sets the time between
// attestations of low priority, for measurements.
func TestOverload(t *testing.T) {
	if os.Getenv("MESH_TEST_LONG") == "" {
		t.Skip("measures real CPU time, which takes a machine that does nothing else: make test-long")
	}
	reattest := "200ms"
	if v := os.Getenv("MESH_TEST_REATTEST"); v != "" {
		reattest = v
	}
	for _, mapek := range []command.OnOff{true, false} {
		t.Run("mapek "+mapek.String(), func(t *testing.T) {
			c := newCluster(t, "a-0", "a-1", "a-2", "b-0", "b-1")
			groups := limitCPU(t)
			busy := c.names[0]
			for _, n := range c.names {
				if n == busy {
					t.Setenv(joinGroups, groups)
				}
				c.start(n, "--reattest-interval="+reattest, "--mapek="+mapek.String())
				t.Setenv(joinGroups, "")
			}
			c.within(30*time.Second, "every pair verified", c.whole)
			if rest := c.during("rest", 5*time.Second)[busy]; rest.low < 1 || rest.shed > 0 {
				t.Errorf("at rest %+v", rest)
			}
			end := stress(t, groups)
			t.Cleanup(end)
			exhausted := map[string]string{metric.LabelType: metric.ResourceExhaustion}
			took := c.within(15*time.Second, "the incident", func() error {
				if v, err := c.metric(busy, metric.AnomaliesDetected, exhausted); err != nil || v != 1 {
					return fmt.Errorf("%v incidents %w", v, err)
				}
				return nil
			})
			t.Logf("recognised %v after the stress began", took.Round(time.Millisecond))
			got := c.during("stress", 20*time.Second)[busy]
			if want := float64(len(c.names) - 1); got.critical < 0.95*want {
				t.Errorf("%.2f critical verifications a second, want %v", got.critical, want)
			}
			if sheds := got.shed > 0; sheds != bool(mapek) {
				t.Errorf("%.1f shed a second", got.shed)
			}
			end()
			if !mapek {
				return
			}
			c.within(30*time.Second, "the end of shedding", func() error {
				v, err := c.metric(busy, metric.HealingActionsTotal, map[string]string{metric.LabelAction: metric.RequestScaleUp, metric.LabelOutcome: metric.OutcomeDone})
				if err == nil && v != 1 {
					err = fmt.Errorf("%v requests for more nodes done", v)
				}
				return err
			})
			if after := c.during("after", 5*time.Second)[busy]; after.shed > 0 || after.low < 1 {
				t.Errorf("after the stress %+v", after)
			}
		})
	}
}
