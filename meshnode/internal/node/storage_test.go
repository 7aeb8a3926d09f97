package node

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/internal/mapek"
	"github.com/x0tta6bl4/mesh/meshnode/internal/store"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// barStorage is how long after a disk fails the incident may take.
const barStorage = 3 * time.Second

// disk is that of a node's store. The zero value is sound.
type disk struct {
	mu    sync.Mutex
	fault func(commit func() error) error
	tried int
}

func (d *disk) set(fault func(commit func() error) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault, d.tried = fault, 0
}

// tries is how many commits there were since the fault was set.
func (d *disk) tries() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.tried
}

func (d *disk) run(commit func() error) error {
	d.mu.Lock()
	fault := d.fault
	d.tried++
	d.mu.Unlock()
	if fault == nil {
		return commit()
	}
	return fault(commit)
}

// The faults of the suite's fixtures, as a commit meets them.
var (
	// slowDisk takes half a second for each of a commit's writes and flushes.
	slowDisk = func(commit func() error) error {
		time.Sleep(2 * time.Second)
		return commit()
	}
	fullDisk = func(func() error) error { return syscall.ENOSPC }
	// sickDisk fails half of the commits, and half of those after they became visible.
	sickDisk = func() func(commit func() error) error {
		rng := rand.New(rand.NewPCG(1, 1))
		var mu sync.Mutex
		return func(commit func() error) error {
			mu.Lock()
			n := rng.IntN(4)
			mu.Unlock()
			switch n {
			case 0:
				return syscall.EIO
			case 1:
				return errors.Join(commit(), syscall.EIO)
			}
			return commit()
		}
	}
)

// replace is after how long a fault calls for another node, sooner than by the built-in policy.
const replace = 8 * time.Second

// withDisk is a mesh whose first node has a disk that can fail.
func withDisk(t *testing.T, heal bool) (*testMesh, *disk) {
	m, d := newTestMesh(t, heal), &disk{}
	m.configure = func(name string, c *Config) {
		c.Policy.Storage.Replace = mapek.Duration(replace)
		if name == zoneNames[0] {
			c.Disk = d.run
		}
	}
	return m, d
}

// TestAFaultyDiskIsRecognised: whatever is wrong with it, it is an incident of its node alone, in time and of
// the right kind; the node takes no records, hands its clients' sessions over, and asks for a replacement when it
// lasts. Nothing of what the mesh acknowledges through the Service is lost or fails, before, in and
// after the fault; and the node recovers with its disk, without a restart.
func TestAFaultyDiskIsRecognised(t *testing.T) {
	for kind, fault := range map[string]func(commit func() error) error{
		metric.FaultLatency: slowDisk, metric.FaultError: sickDisk(), metric.FaultFull: fullDisk,
	} {
		t.Run(kind, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				m, d := withDisk(t, true)
				m.up()
				defer m.down()
				s := newService(m)
				defer s.close()
				n := m.nodes[zoneNames[0]]
				open := []string{metric.StorageFault + " of " + n.name}
				state := func(want []string) func() error {
					return func() error {
						for name, o := range m.nodes {
							w := want
							if name != n.name {
								w = nil
							}
							if got := o.openIncidents(); !slices.Equal(got, w) {
								return fmt.Errorf("%s: open %v", name, got)
							}
						}
						return nil
					}
				}
				ops := s.record(10, func() {
					time.Sleep(3 * time.Second)
					d.set(fault)
					t.Logf("recognised %v after the disk failed", m.within(barStorage, "the incident", state(open)))
					m.within(3*time.Second, "nothing is left to it", func() error {
						if !n.store.Refusing() || n.clients.Homed(n.name) > 0 || n.healed(metric.YieldSessions, metric.OutcomeDone) == 0 {
							return fmt.Errorf("refuses %v, home of %d sessions", n.store.Refusing(), n.clients.Homed(n.name))
						}
						return nil
					})
					if _, holders, err := n.Accept(t.Context(), "refused", nil, 0); !errors.Is(err, store.ErrRefused) {
						t.Errorf("accepted by %v: %v", holders, err)
					}
					if v := testutil.ToFloat64(n.metrics.StoreFault.WithLabelValues(kind)); v != 1 {
						t.Errorf("the gauge of %s is %v", kind, v)
					}
					if why := n.Unready(); len(why) > 0 {
						t.Errorf("not ready at once: %v", why)
					}
					time.Sleep(time.Duration(n.cfg.Policy.Storage.Replace) + time.Second)
					if why := n.Unready(); len(why) != 1 || len(n.NotReady()) > 0 {
						t.Errorf("the fault lasts; not ready: %v, %v", why, n.NotReady())
					}
					if err := state(open)(); err != nil {
						t.Error(err)
					}
					if err := m.whole(); err != nil {
						t.Error(err)
					}
					d.set(nil)
					t.Logf("well %v after the disk", m.within(15*time.Second, "the end", state(nil)))
					if why := n.Unready(); len(why) > 0 || n.store.Refusing() {
						t.Errorf("not ready after the end: %v, refuses %v", why, n.store.Refusing())
					}
					time.Sleep(5 * time.Second)
				})
				got := s.judge(ops)
				if err := got.Err(); err != nil {
					t.Error(err)
				}
				if got.Operations < 300 {
					t.Errorf("only %d operations", got.Operations)
				}
				if _, holders, err := n.Accept(t.Context(), "accepted", nil, 0); err != nil || len(holders) < 2 {
					t.Errorf("accepted by %v: %v", holders, err)
				}
				e := n.learned(t, metric.StorageFault)
				if e.Kind != kind {
					t.Errorf("known as %s: %+v", e.Kind, e)
				}
				n.checkPhases(t, e.ID, metric.StopWrites, metric.YieldSessions, metric.RecoverStore, metric.RequestReplacement)
				for name, o := range m.nodes {
					if len(o.incidents()) > 0 {
						t.Errorf("%s: %v", name, o.incidents())
					}
				}
				t.Logf("%d operations, %d attempts failed, at most %d for one, slowest %v", got.Operations, got.FailedAttempts, got.Most, got.Slowest)
			})
		})
	}
}

// TestAFailedStoreIsNotWrittenWithoutHealing: the control. Nobody makes the file anew, and nothing is
// written to it; what is wrong is still recognised.
func TestAFailedStoreIsNotWrittenWithoutHealing(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m, d := withDisk(t, false)
		m.up()
		defer m.down()
		n := m.nodes[zoneNames[0]]
		d.set(func(func() error) error { return syscall.EIO })
		if _, holders, err := n.Accept(t.Context(), "x", nil, 0); !errors.Is(err, syscall.EIO) {
			t.Errorf("accepted by %v: %v", holders, err)
		}
		d.set(nil)
		time.Sleep(time.Minute)
		if n.detected(metric.StorageFault) != 1 || len(n.openIncidents()) != 1 {
			t.Errorf("%v, open %v", n.detected(metric.StorageFault), n.openIncidents())
		}
		if _, _, err := n.Accept(t.Context(), "y", nil, 0); err == nil || d.tries() > 0 {
			t.Errorf("%d commits to a file of which one failed: %v", d.tries(), err)
		}
		if len(n.Unready()) > 0 || n.store.Refusing() || n.healed(metric.RecoverStore, metric.OutcomeDone) > 0 {
			t.Errorf("healed without healing: %v", n.Unready())
		}
	})
}

// TestAShortStallIsNoFault: one slow commit, and a disk that is only slower than usual, are none.
func TestAShortStallIsNoFault(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m, d := withDisk(t, true)
		m.up()
		defer m.down()
		n := m.nodes[zoneNames[0]]
		for i, took := range []time.Duration{1500 * time.Millisecond, 700 * time.Millisecond} {
			d.set(func(commit func() error) error {
				time.Sleep(took)
				return commit()
			})
			if _, _, err := n.Accept(t.Context(), fmt.Sprint(i), nil, 0); err != nil {
				t.Error(err)
			}
			for range 10 * i { // the slower disk is in use all the time, the stall is one
				if _, err := n.store.Add(); err != nil {
					t.Error(err)
				}
				if _, _, err := n.Accept(t.Context(), fmt.Sprint("more ", time.Now()), nil, 0); err != nil {
					t.Error(err)
				}
			}
			d.set(nil)
			time.Sleep(5 * time.Second) // nobody writes
			if _, _, err := n.Accept(t.Context(), fmt.Sprint("sound ", i), nil, 0); err != nil {
				t.Error(err)
			}
			time.Sleep(5 * time.Second)
		}
		if n.detected(metric.StorageFault) > 0 {
			t.Errorf("%v incidents", n.detected(metric.StorageFault))
		}
	})
}

// TestTheQuotaIsAKindOfItsOwn: a store at its quota needs no recovery: reads, sessions and readiness go on.
func TestTheQuotaIsAKindOfItsOwn(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		m.configure = func(name string, c *Config) {
			if name == zoneNames[0] {
				c.Quota = 1 << 10
			}
		}
		m.up()
		defer m.down()
		n := m.nodes[zoneNames[0]]
		if got := n.openIncidents(); !slices.Equal(got, []string{metric.StorageFault + " of " + n.name}) {
			t.Fatalf("open: %v", got)
		}
		if _, _, err := n.Accept(t.Context(), "x", nil, 0); !errors.Is(err, store.ErrQuota) {
			t.Errorf("error %v", err)
		}
		time.Sleep(time.Minute)
		if len(n.Unready()) > 0 || n.store.Refusing() || n.healed(metric.StopWrites, metric.OutcomeDone) > 0 {
			t.Errorf("not ready %v, refuses %v", n.Unready(), n.store.Refusing())
		}
		n.store.SetQuota(1 << 30)
		m.within(time.Second, "the end", func() error {
			if open := n.openIncidents(); len(open) > 0 {
				return fmt.Errorf("open: %v", open)
			}
			return nil
		})
	})
}
