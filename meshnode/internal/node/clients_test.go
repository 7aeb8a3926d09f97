package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/internal/home"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// barMigrate is how long after the death of its home a session may take to
// answer elsewhere.
const barMigrate = 3 * time.Second

// createSessions makes n client sessions through all nodes in turn and returns
// what clients know of them.
func (m *testMesh) createSessions(n int) map[string]home.Session {
	m.t.Helper()
	sessions := map[string]home.Session{}
	for i := range n {
		s, err := m.nodes[zoneNames[i%len(zoneNames)]].CreateSession(m.t.Context(), fmt.Appendf(nil, "state of %d", i))
		if err != nil || s.Version != 1 || s.Epoch != 1 {
			m.t.Fatalf("session %d: %+v, %v", i, s, err)
		}
		sessions[s.ID] = s
	}
	return sessions
}

// homes counts sessions by home.
func homes(sessions map[string]home.Session) map[string]int {
	n := map[string]int{}
	for _, s := range sessions {
		n[s.Home]++
	}
	return n
}

// answering updates every session at every running node and notes what comes back.
func (m *testMesh) answering(sessions map[string]home.Session) error {
	for name, n := range m.nodes {
		for id, s := range sessions {
			got, err := n.UpdateSession(m.t.Context(), id, &s.Version, fmt.Appendf(nil, "%d at %s", s.Version+1, name))
			if err != nil {
				return fmt.Errorf("%s, session %s, home %s: %w", name, id, s.Home, err)
			}
			if got.Version != s.Version+1 {
				return fmt.Errorf("%s, session %s: version %d after %d", name, id, got.Version, s.Version)
			}
			sessions[id] = got
		}
	}
	return nil
}

func (m *testMesh) migrated() float64 {
	sum := 0.0
	for _, n := range m.nodes {
		sum += testutil.ToFloat64(n.metrics.SessionsMigrated)
	}
	return sum
}

func TestSessionsOfADeadNodeAnswerElsewhere(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		m.up()
		defer m.down()
		sessions := m.createSessions(100)
		if err := m.answering(sessions); err != nil {
			t.Fatal(err)
		}
		dead := zoneNames[1]
		lost := homes(sessions)[dead]
		if len(homes(sessions)) != 5 || lost < 5 {
			t.Fatalf("homes %v: nobody is responsible for a fair share", homes(sessions))
		}
		m.within(2*time.Second, "every node tells how many are at home on it", func() error {
			for name, n := range m.nodes {
				if told := testutil.ToFloat64(n.metrics.SessionsHomed); told != float64(homes(sessions)[name]) {
					return fmt.Errorf("%s tells %v, want %d", name, told, homes(sessions)[name])
				}
			}
			return nil
		})
		m.stop(dead, true)
		took := m.within(barMigrate, "every session answers", func() error { return m.answering(sessions) })
		t.Logf("%d sessions answer elsewhere after %v", lost, took)
		if n := homes(sessions)[dead]; n != 0 {
			t.Errorf("%d sessions still at home with the dead", n)
		}
		if got := m.migrated(); got != float64(lost) {
			t.Errorf("%v sessions migrated, the dead node had %d", got, lost)
		}
		m.within(time.Second, "the action done on every survivor", func() error {
			for name, n := range m.nodes {
				if v := testutil.ToFloat64(n.metrics.Healing.WithLabelValues(metric.MigrateSessions, metric.OutcomeDone)); v != 1 {
					return fmt.Errorf("%s: %v", name, v)
				}
			}
			return nil
		})
		// The node is back: nothing moves, nothing is lost, and it serves as well.
		before := homes(sessions)
		m.net.HealAll()
		m.start(dead)
		m.within(5*time.Second, "whole", m.whole)
		m.within(time.Second, "every session answers at every node", func() error { return m.answering(sessions) })
		time.Sleep(10 * time.Second)
		if err := m.answering(sessions); err != nil {
			t.Error(err)
		}
		if after := homes(sessions); fmt.Sprint(after) != fmt.Sprint(before) || m.migrated() != float64(lost) {
			t.Errorf("sessions moved back: %v, before %v", after, before)
		}
		for name, n := range m.nodes {
			if name == dead {
				continue
			}
			story := n.events(func(e event.Entry) bool { return e.Incident != "" })
			for _, p := range []event.Phase{event.Monitor, event.Analyze, event.Plan, event.Execute, event.Knowledge} {
				if !slices.ContainsFunc(story, func(e event.Entry) bool { return e.Phase == p && e.Incident == story[0].Incident }) {
					t.Errorf("%s: the incident has no %s", name, p)
				}
			}
		}
	})
}

// TestWithoutHealingSessionsStay is the control of the test above. When the dead
// node is back, it takes up its own.
func TestWithoutHealingSessionsStay(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, false)
		m.up()
		defer m.down()
		sessions := m.createSessions(40)
		dead := zoneNames[1]
		m.stop(dead, true)
		time.Sleep(10 * time.Second)
		for id, s := range sessions {
			for name, n := range m.nodes {
				_, err := n.Session(t.Context(), id)
				if moved := err == nil; moved == (s.Home == dead) || err != nil && !errors.Is(err, home.ErrBusy) {
					t.Errorf("%s, home %s: %v", name, s.Home, err)
				}
			}
		}
		m.net.HealAll()
		m.start(dead)
		m.within(45*time.Second, "every session answers again", func() error { return m.answering(sessions) })
		for id, s := range sessions {
			if first := m.nodes[dead].clients.Homes(); s.Home == dead && s.Epoch != 2 {
				t.Errorf("session %s of the node that came back: %+v, homes %v", id, s, first)
			}
		}
		if got := m.migrated(); got != 0 {
			t.Errorf("%v sessions migrated without healing", got)
		}
	})
}

// TestSessionsInAPartition: the majority goes on with every session, the
// minority refuses, and after the heal nothing that was acknowledged is lost.
func TestSessionsInAPartition(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		m.up()
		defer m.down()
		sessions := m.createSessions(50)
		m.partition()
		all := m.nodes
		m.nodes = map[string]*testNode{}
		for name, n := range all {
			if name[10] == 'a' {
				m.nodes[name] = n
			}
		}
		m.within(barMigrate, "the majority serves every session", func() error { return m.answering(sessions) })
		for _, name := range zoneNames[3:] {
			for id := range sessions {
				if s, err := all[name].UpdateSession(t.Context(), id, nil, []byte("minority")); !errors.Is(err, home.ErrBusy) {
					t.Errorf("%s, of the minority, updates: %+v, %v", name, s, err)
				}
			}
			if s, err := all[name].CreateSession(t.Context(), nil); !errors.Is(err, home.ErrBusy) {
				t.Errorf("%s, of the minority, creates: %+v, %v", name, s, err)
			}
		}
		if err := m.answering(sessions); err != nil {
			t.Error(err)
		}
		before := homes(sessions)
		m.nodes = all
		m.net.HealAll()
		m.within(barHeal, "healed", m.whole)
		// answering expects the version that was acknowledged last.
		m.within(time.Second, "every session answers at every node", func() error { return m.answering(sessions) })
		if after := homes(sessions); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("homes %v after the heal, %v before", after, before)
		}
	})
}

func TestDrainHandsSessionsOver(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, false) // leaving is no healing
		m.up()
		defer m.down()
		sessions := m.createSessions(100)
		leaver := m.nodes[zoneNames[2]]
		leaver.Leave()
		if why := leaver.Unready(); len(why) != 1 || leaver.NotReady() != nil {
			t.Errorf("unready %v, not ready %v: it must serve on", why, leaver.NotReady())
		}
		if err := m.answering(sessions); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		if err := leaver.Drain(ctx); err != nil {
			t.Error(err)
		}
		t.Logf("drained in %v", time.Since(start))
		if err := m.answering(sessions); err != nil {
			t.Errorf("after the hand-over: %v", err)
		}
		if n := homes(sessions)[zoneNames[2]]; n != 0 {
			t.Errorf("%d sessions were not handed over", n)
		}
		if s, err := leaver.CreateSession(t.Context(), nil); err != nil || s.Home == leaver.Name() {
			t.Errorf("a new session: %+v, %v", s, err)
		}
		m.stop(zoneNames[2], false)
		if err := m.answering(sessions); err != nil {
			t.Errorf("after the goodbye: %v", err)
		}
	})
}
