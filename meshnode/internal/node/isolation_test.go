package node

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/internal/mapek"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// TestIsolationCause: the cause is what most frames since the beginning were dropped for;
// what was counted before is no cause.
func TestIsolationCause(t *testing.T) {
	before := counts{map[string]uint64{"pass": 900, "malformed": 500, "no_session": 70, "not_mesh": 9}, map[string]uint64{"fragment": 500}}
	for _, test := range []struct {
		name            string
		verdicts, rules map[string]uint64 // added to before
		want, says      string
	}{
		{"nothing at all", nil, nil, metric.CauseSilence, "26970"},
		{"only others' packets", map[string]uint64{"not_mesh": 4000}, nil, metric.CauseSilence, "26970"},
		{"fragments", map[string]uint64{"malformed": 40, "pass": 8}, map[string]uint64{"fragment": 40}, metric.CauseMTU, "40 IP fragments"},
		{"other malformed", map[string]uint64{"malformed": 40}, map[string]uint64{"header": 40}, metric.CauseRefused, "40"},
		{"one stray fragment", map[string]uint64{"malformed": 1, "no_session": 30}, map[string]uint64{"fragment": 1}, metric.CauseNoSession, "30 frames"},
		{"limited", map[string]uint64{"pass": 400, "rate_limited": 100}, nil, metric.CauseRateLimited, "100 handshake"},
		{"bad tags", map[string]uint64{"bad_tag": 3, "expired": 4}, nil, metric.CauseRefused, "7"},
		{"handshakes in vain", map[string]uint64{"pass": 12}, nil, metric.CauseUnanswered, "12 frames"},
	} {
		t.Run(test.name, func(t *testing.T) {
			now := counts{maps.Clone(before.verdicts), maps.Clone(before.rules)}
			for v, n := range test.verdicts {
				now.verdicts[v] += n
			}
			for r, n := range test.rules {
				now.rules[r] += n
			}
			cause, detail := before.explain(now)
			if cause != test.want || !strings.Contains(detail, test.says) {
				t.Errorf("%s: %s, want %s with %q", cause, detail, test.want, test.says)
			}
			if !slices.Contains(metric.Causes(), cause) {
				t.Errorf("cause %s has no series", cause)
			}
		})
	}
	if cause, _ := (counts{}).explain(before); cause != metric.CauseUnknown {
		t.Errorf("counters that cannot be read: %s", cause)
	}
}

// lines keeps the log lines that contain a text.
type lines struct {
	mu   sync.Mutex
	text []string
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range bytes.Lines(b) {
		l.text = append(l.text, string(line))
	}
	return len(b), nil
}

func (l *lines) with(text string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.text), func(s string) bool { return !strings.Contains(s, text) })
}

// TestTheCauseIsWhatMostWasDroppedFor, whichever counter is read first.
func TestTheCauseIsWhatMostWasDroppedFor(t *testing.T) {
	for name, c := range map[string]struct {
		verdicts, rules map[string]uint64
		want            string
	}{
		"fragments":                       {map[string]uint64{metric.VerdictMalformed: 40}, map[string]uint64{metric.RuleFragment: 40}, metric.CauseMTU},
		"one came between the two":        {map[string]uint64{metric.VerdictMalformed: 39}, map[string]uint64{metric.RuleFragment: 40}, metric.CauseMTU},
		"other malformed ones, mostly":    {map[string]uint64{metric.VerdictMalformed: 40}, map[string]uint64{metric.RuleFragment: 3}, metric.CauseRefused},
		"sessions that are unknown":       {map[string]uint64{metric.VerdictNoSession: 9, metric.VerdictPass: 100}, nil, metric.CauseNoSession},
		"handshakes over the limit":       {map[string]uint64{metric.VerdictRateLimited: 9, metric.VerdictMalformed: 2}, nil, metric.CauseRateLimited},
		"frames of others came in":        {map[string]uint64{metric.VerdictPass: 2}, nil, metric.CauseUnanswered},
		"nothing but what is none of its": {map[string]uint64{metric.VerdictNotMesh: 1000}, nil, metric.CauseSilence},
	} {
		before := counts{map[string]uint64{metric.VerdictPass: 5}, map[string]uint64{}}
		now := counts{map[string]uint64{metric.VerdictPass: 5}, c.rules}
		for v, n := range c.verdicts {
			now.verdicts[v] += n
		}
		if got, detail := before.explain(now); got != c.want {
			t.Errorf("%s: %s, %s; want %s", name, got, detail, c.want)
		}
	}
}

// TestIsolatedSaysWhy: a node that reaches none of the members that it knows says so
// after ten seconds, once, with the cause; and no more when it reaches one.
func TestIsolatedSaysWhy(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		defer m.down()
		alone, log := zoneNames[0], new(lines)
		m.configure = func(name string, c *Config) {
			if name == alone {
				c.Logger = slog.New(slog.NewTextHandler(log, nil))
			}
		}
		m.start(alone)
		n := m.nodes[alone]
		const said = "level=WARN msg=\"members are known and none is reached"
		gauge := func(cause string) float64 { return testutil.ToFloat64(n.metrics.Isolated.WithLabelValues(cause)) }
		time.Sleep(isolatedAfter - time.Second)
		if got := log.with(said); len(got) > 0 || n.Status().Isolation != nil || len(n.openIncidents()) > 0 {
			t.Fatalf("too early: %q", got)
		}
		n.gate.mu.Lock()
		n.gate.seen.verdicts[metric.VerdictMalformed], n.gate.seen.rules[metric.RuleFragment] = 544, 544
		n.gate.mu.Unlock()
		m.within(2*time.Second, "isolated", func() error {
			if open := n.openIncidents(); !slices.Contains(open, metric.Isolated+" of "+alone) {
				return fmt.Errorf("open: %v", open)
			}
			return nil
		})
		time.Sleep(30 * time.Second)
		lines := log.with(said)
		if len(lines) != 1 || !strings.Contains(lines[0], "cause=mtu") || !strings.Contains(lines[0], "544 IP fragments") {
			t.Errorf("%d lines of the log, want one with the cause: %q", len(lines), lines)
		}
		if i := n.Status().Isolation; i == nil || i.Cause != metric.CauseMTU || time.Since(i.Since) < 30*time.Second {
			t.Errorf("the status says %+v", i)
		}
		for _, cause := range metric.Causes() {
			if want := map[bool]float64{true: 1}[cause == metric.CauseMTU]; gauge(cause) != want {
				t.Errorf("%s is %v, want %v", cause, gauge(cause), want)
			}
		}
		if got := n.detected(metric.Isolated); got != 1 {
			t.Errorf("%v incidents", got)
		}
		m.start(zoneNames[1])
		m.within(35*time.Second, "isolated no more", func() error {
			if open := n.openIncidents(); len(open) > 0 || n.Status().Isolation != nil || gauge(metric.CauseMTU) != 0 {
				return fmt.Errorf("open: %v", open)
			}
			return nil
		})
	})
}

// TestAPeerThatIsNotMetIsAnIncident: of a peer that is verified, and neither heard nor on any way,
// although another one is, this node says so after ten seconds, and no more when it is heard.
func TestAPeerThatIsNotMetIsAnIncident(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMeshOf(t, true, zoneNames[:3])
		defer m.down()
		mute := zoneNames[2]
		h := m.turn(mute)
		h.says(noHeartbeats)
		for _, name := range m.names {
			m.start(name)
		}
		n, incident := m.nodes[zoneNames[0]], metric.Isolated+" of "+mute
		time.Sleep(isolatedAfter - time.Second)
		if open := n.openIncidents(); len(open) > 0 {
			t.Errorf("too early: %v", open)
		}
		for _, p := range n.Status().Peers {
			if p.Session != "verified" || (p.Status == "unknown") != (p.Name == mute) || n.next(mute) != "" {
				t.Fatalf("%s is %s, session %s: the test proves nothing", p.Name, p.Status, p.Session)
			}
		}
		m.within(5*time.Second, "the incident", func() error {
			if open := n.openIncidents(); !slices.Equal(open, []string{incident}) {
				return fmt.Errorf("open: %v", open)
			}
			return nil
		})
		h.says(nil)
		m.within(5*time.Second, "its end", func() error {
			if open := n.openIncidents(); len(open) > 0 {
				return fmt.Errorf("open: %v", open)
			}
			return m.whole()
		})
	})
}

// noHeartbeats is what a member says that keeps its heartbeats to itself.
func noHeartbeats(_ string, typ frame.Type, payload []byte) [][]byte {
	if typ == frame.Heartbeat || typ == frame.HeartbeatEcho {
		return nil
	}
	return [][]byte{payload}
}

// TestOfAThreatThereIsNoSecondIncident: whose signatures were bad need not be met.
func TestOfAThreatThereIsNoSecondIncident(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMeshOf(t, true, zoneNames[:3])
		defer m.down()
		mute := zoneNames[2]
		m.turn(mute).says(noHeartbeats)
		for _, name := range m.names {
			if name != mute {
				m.remembers(name, mapek.Threat{Peer: mute, First: time.Now(), Last: time.Now()})
			}
			m.start(name)
		}
		time.Sleep(2 * isolatedAfter)
		n := m.nodes[zoneNames[0]]
		for _, p := range n.Status().Peers {
			if p.Name == mute && (p.Session != "verified" || p.Status != "unknown") {
				t.Fatalf("%s is %s, session %s: the test proves nothing", p.Name, p.Status, p.Session)
			}
		}
		if open := n.openIncidents(); len(open) > 0 {
			t.Errorf("open: %v", open)
		}
	})
}
