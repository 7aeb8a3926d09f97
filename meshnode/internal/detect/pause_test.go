package detect

import (
	"math"
	"testing"
	"time"
)

// paused is a mesh of three in which n00 has ended its session with n01: neither hears
// the other any more.
func paused(t *testing.T) *mesh {
	t.Helper()
	m := newMesh(3, 7)
	m.run(t, time.Minute)
	m.handle("n00", m.nodes["n00"].Pause(m.now, "n01"))
	m.run(t, 10*time.Millisecond) // the notices arrive
	m.cut = func(from, to string) bool { return from != "n02" && to != "n02" }
	m.log = nil
	return m
}

func TestAPauseIsNoSilence(t *testing.T) {
	m := paused(t)
	m.run(t, defaultPause-100*time.Millisecond)
	m.cut = func(string, string) bool { return false }
	m.nodes["n00"].Resume(m.now, "n01")
	m.nodes["n01"].Resume(m.now, "n00")
	m.run(t, 10*time.Second)
	if len(m.log) > 0 {
		t.Errorf("changes: %+v", m.log)
	}
	for _, n := range []string{"n00", "n01"} {
		for _, l := range m.nodes[n].Links() {
			if l.Quality != math.MaxUint8 {
				t.Errorf("%s: the pause counts against the link to %s: quality %d", n, l.Peer, l.Quality)
			}
		}
	}
}

// TestSilenceAfterAPauseCounts: at its end if nobody resumes it, and from a resumption on.
func TestSilenceAfterAPauseCounts(t *testing.T) {
	for _, resume := range []bool{false, true} {
		m := paused(t)
		start, end := m.now, m.now.Add(defaultPause)
		if resume {
			m.run(t, time.Second)
			end = m.now
			m.nodes["n00"].Resume(m.now, "n01")
			m.nodes["n01"].Resume(m.now, "n00")
		}
		m.run(t, 5*time.Second)
		lost := m.changes(Unreachable)
		if len(lost) != 2 {
			t.Fatalf("resumed %v: lost %+v", resume, lost)
		}
		for _, c := range lost {
			if d := c.Time.Sub(end); d < defaultMinSuspect || d > defaultMaxSuspect+defaultProbeTimeout+200*time.Millisecond {
				t.Errorf("resumed %v: %s lost %s %v after the pause, %v after it began", resume, c.node, c.Peer, d, c.Time.Sub(start))
			}
		}
	}
}

// TestAPauseClearsASuspect: what was silent is not declared lost in a pause.
func TestAPauseClearsASuspect(t *testing.T) {
	m := newMesh(2, 3)
	m.run(t, time.Minute)
	m.cut = func(string, string) bool { return true }
	for m.nodes["n00"].Status("n01") != Suspect {
		m.run(t, 10*time.Millisecond)
	}
	m.handle("n00", m.nodes["n00"].Pause(m.now, "n01"))
	m.run(t, time.Second)
	if s := m.nodes["n00"].Status("n01"); s != Reachable {
		t.Errorf("n01 is %v", s)
	}
	m.handle("n00", m.nodes["n00"].Pause(m.now, "nobody")) // is no error
	m.nodes["n00"].Resume(m.now, "nobody")
}

func TestHeartbeatFlags(t *testing.T) {
	for _, h := range []heartbeat{{incarnation: 1}, {incarnation: 1, leaving: true}, {incarnation: 1, pausing: true}, {incarnation: 1, seq: 2, leaving: true, pausing: true}} {
		var got heartbeat
		if err := got.decode(h.encode()); err != nil || got != h {
			t.Errorf("%+v became %+v, %v", h, got, err)
		}
	}
	if err := new(heartbeat).decode(append(make([]byte, heartbeatLen-1), 4)); err == nil {
		t.Error("an unknown flag is accepted")
	}
}
