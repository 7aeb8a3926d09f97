package node

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// TestClocks: a node whose clock is up to a day off, from its start on, from some moment
// on, or runs 5 % wrong, is one like all others: verified and reached both ways, never
// alone with a record, with its certificate in force and no incident but that of its clock, on
// every node, under its name. It knows it itself, and stamps what people read with the time of the others.
func TestClocks(t *testing.T) {
	at := func(step time.Duration) func(time.Time) func() time.Time {
		return func(time.Time) func() time.Time { return func() time.Time { return time.Now().Add(step) } }
	}
	later := func(step time.Duration) func(time.Time) func() time.Time {
		return func(start time.Time) func() time.Time {
			return func() time.Time {
				if now := time.Now(); now.Sub(start) < 30*time.Second {
					return now
				}
				return time.Now().Add(step)
			}
		}
	}
	drift := func(rate float64) func(time.Time) func() time.Time {
		return func(start time.Time) func() time.Time {
			return func() time.Time {
				return start.Add(time.Duration(float64(time.Since(start)) * rate))
			}
		}
	}
	rates := map[string]float64{"5 % slow": 0.95, "5 % fast": 1.05} // also of the clock of the sessions, which nothing sets
	for what, clock := range map[string]func(time.Time) func() time.Time{
		"50 min back": at(-50 * time.Minute), "a day back": at(-24 * time.Hour), "a day ahead": at(24 * time.Hour),
		"set back a day": later(-24 * time.Hour), "set ahead a day": later(24 * time.Hour),
		"5 % slow": drift(rates["5 % slow"]), "5 % fast": drift(rates["5 % fast"]),
	} {
		t.Run(what, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				m := newTestMesh(t, true)
				wrong := zoneNames[2]
				restarted := false
				m.configure = func(name string, c *Config) {
					if name == wrong && restarted {
						begin := time.Now()
						c.Clock = clock(begin)
						if rate := rates[what]; rate > 0 {
							c.Now = func() time.Duration { return time.Second + time.Duration(float64(time.Since(begin))*rate) }
						}
					}
				}
				m.up()
				defer m.down()
				m.stop(wrong, true)
				m.net.HealAll()
				time.Sleep(3 * time.Second)
				restarted = true
				m.start(wrong)
				m.within(10*time.Second, "the node is one of all", m.whole)
				time.Sleep(time.Minute)
				if err := m.whole(); err != nil {
					t.Error(err)
				}
				n := m.nodes[wrong]
				for i := range 3 {
					_, holders, err := n.Accept(t.Context(), fmt.Sprint(i), []byte("x"), 0)
					if err != nil || len(holders) < 2 {
						t.Errorf("accepted by %v: %v", holders, err)
					}
				}
				if why := n.NotReady(); len(why) > 0 {
					t.Errorf("not ready: %v", why)
				}
				for name, o := range m.nodes {
					if open := o.openIncidents(); !slices.Equal(open, []string{metric.ClockSkew + " of " + wrong}) {
						t.Errorf("%s: %v", name, open)
					}
				}
				if r, err := n.Record("0"); err != nil || time.Until(r.Time).Abs() > 2*time.Second {
					t.Errorf("a record is stamped %v: %v", r.Time, err)
				}
			})
		})
	}
}

// TestNeverAloneWhileVerified: a node that is verified with peers and hears no heartbeat of
// theirs accepts nothing alone, and is an incident, isolated, until it hears them.
func TestNeverAloneWhileVerified(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		deaf := zoneNames[0]
		for _, name := range zoneNames[1:] {
			m.turn(name)
		}
		m.up()
		defer m.down()
		m.stop(deaf, false)
		for _, h := range m.hostile {
			h.says(func(to string, t frame.Type, payload []byte) [][]byte {
				if to == deaf && (t == frame.Heartbeat || t == frame.HeartbeatEcho) {
					return nil
				}
				return [][]byte{payload}
			})
		}
		time.Sleep(10 * time.Second)
		m.start(deaf)
		time.Sleep(greeting + 5*time.Second)
		n := m.nodes[deaf]
		for _, p := range n.Status().Peers {
			if p.Status != "unknown" || p.Session != "verified" {
				t.Fatalf("%s is %s, session %s: the test proves nothing", p.Name, p.Status, p.Session)
			}
		}
		if _, holders, err := n.Accept(t.Context(), "x", []byte("x"), 0); err != nil || len(holders) < 2 {
			t.Errorf("accepted by %v: %v", holders, err)
		}
		isolated := metric.Isolated + " of " + deaf
		m.within(isolatedAfter, "isolated", func() error {
			if open := n.openIncidents(); !slices.Contains(open, isolated) {
				return fmt.Errorf("open: %v", open)
			}
			return nil
		})
		for _, h := range m.hostile {
			h.says(nil)
		}
		m.within(10*time.Second, "isolated no more", func() error {
			if open := n.openIncidents(); len(open) > 0 {
				return fmt.Errorf("open: %v", open)
			}
			return m.whole()
		})
	})
}
