package mapek

import (
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// self is this node in the machine's loads, machinePeers its peers.
const (
	self         = "self"
	machinePeers = 3
)

var peerNames = [machinePeers]string{"mesh-b", "mesh-c", "mesh-d"}

// Effects is what becomes of the actions of a machine.
type effects uint8

const (
	atOnce  effects = iota // the effect is there at once
	hangs                  // it never comes
	refuses                // no action can be started
	endEffects
)

func (e effects) String() string { return [...]string{"works", "hangs", "refuses"}[e] }

// drawnTogether is the built-in policy with its counts and waits drawn together, so
// that eight symptoms reach every rule: the order of the waits among each other is
// that of the built-in ones.
func drawnTogether() *Policy {
	p := DefaultPolicy()
	p.Correlate = Duration(7800 * time.Millisecond)
	p.Failures, p.RateMin, p.Strikes = 2, 3, 2
	p.Block = Duration(3 * time.Second)
	for name, l := range p.Actions {
		l.Deadline, l.Attempts = min(l.Deadline, Duration(time.Second)), min(l.Attempts, 2)
		p.Actions[name] = l
	}
	if err := p.validate(); err != nil {
		panic(err)
	}
	return p
}

// truth is what the signals have said of a peer, by a model of its own that
// shares nothing with Monitor's.
type truth struct {
	member, reachable, verified, slow bool
	missed                            bool      // nothing was heard of it since it was unreachable, but that it returned
	bad                               time.Time // when a signature of it was last bad
}

// machine is a Loop whose phases run by hand, its effector, and the truth.
type machine struct {
	loop    *Loop
	effects effects
	now     time.Time
	peers   [machinePeers]truth
	short   bool // this node lacks resources

	// Of the step that runs: who was heard of, what was wrong, planned, and open before.
	heard   string
	wrong   []string
	planned map[Action]bool
	before  []string
}

// common is what all machines share; none of it is their state.
type common struct {
	policy  *Policy
	metrics *metric.Set
}

func newCommon(p *Policy) *common {
	return &common{p, metric.New(prometheus.NewRegistry())}
}

// newMachine returns a node that has met and verified its peers.
func newMachine(c *common, e effects) *machine {
	k, err := LoadKnowledge(nil)
	if err != nil {
		panic(err)
	}
	m := &machine{effects: e, now: t0}
	m.attach(NewLoop(Config{Policy: c.policy, Knowledge: k, Metrics: c.metrics, Prefix: "x", Heal: true}))
	for i := range m.peers {
		m.give(signal{Met, i, false})
		m.give(signal{Verified, i, false})
	}
	return m
}

func (m *machine) attach(l *Loop) {
	m.loop = l
	l.cfg.Effector, l.cfg.Journal = m, m.journal
	l.cfg.Keep, l.cfg.Clock = func(*Knowledge) {}, func() time.Time { return m.now }
}

// signal is one input. The flag is "seen by another peer" of Unreachable, "missed" of
// Restarted, and "too much" of RoundTrip and Loaded.
type signal struct {
	kind SignalKind
	peer int
	flag bool
}

func (s signal) String() string {
	name := self
	if s.kind != Loaded {
		name = peerNames[s.peer]
	}
	kind := map[SignalKind]string{Met: "met", Suspected: "suspected", Cleared: "cleared", Unreachable: "unreachable", Returned: "returned", Restarted: "restarted", Gone: "gone",
		Verified: "verified", VerificationFailed: "bad signature", TimedOut: "timed out", RoundTrip: "round trips", Loaded: "load"}[s.kind]
	if s.flag {
		kind += map[SignalKind]string{Unreachable: ", seen by another", Restarted: ", missed", RoundTrip: " slow", Loaded: " high"}[s.kind]
	}
	return kind + " of " + name
}

// alphabet is every signal.
func alphabet() []signal {
	var all []signal
	for p := range machinePeers {
		for _, k := range []SignalKind{Met, Suspected, Cleared, Returned, Gone, Verified, VerificationFailed, TimedOut} {
			all = append(all, signal{k, p, false})
		}
		for _, k := range []SignalKind{Unreachable, Restarted, RoundTrip} {
			all = append(all, signal{k, p, false}, signal{k, p, true})
		}
	}
	return append(all, signal{Loaded, 0, false}, signal{Loaded, 0, true})
}

// possible reports whether a detector and sessions can say this now: what was never
// met is not lost, and only who is lost returns.
func (m *machine) possible(s signal) bool {
	t := &m.peers[s.peer]
	v := m.loop.view.Peers[peerNames[s.peer]]
	switch s.kind {
	case Met:
		return !t.member
	case Suspected, Cleared:
		return t.member && t.reachable && v.Suspected == (s.kind == Cleared)
	case Unreachable:
		return t.member && t.reachable
	case Returned:
		return t.member && !t.reachable
	case Restarted:
		return t.member && s.flag == t.missed
	case Gone:
		return t.member
	case RoundTrip:
		return t.member && t.reachable && t.slow != s.flag
	case Loaded:
		return m.short != s.flag
	}
	return true // of attestations, also late ones
}

// signals makes what the loop is given of a signal: for a latch, two samples as far
// apart as the policy asks for.
func (m *machine) signals(s signal) []Signal {
	p := m.loop.cfg.Policy
	sig := Signal{Kind: s.kind, Peer: peerNames[s.peer], Time: m.now, Since: m.now}
	then := sig
	switch s.kind {
	case Unreachable:
		if s.flag {
			sig.SeenBy = []string{"another"}
		}
	case Restarted:
		sig.Missed = s.flag
	case RoundTrip:
		if s.flag {
			sig.RTT = 2 * time.Duration(p.Latency)
		}
		then = sig
		then.Time = m.now.Add(-time.Duration(p.LatencyFor))
		return []Signal{then, sig}
	case Loaded:
		sig.Peer = self
		while := p.Resources.Rest
		if s.flag {
			sig.Load, while = Load{CPU: 1}, p.Resources.For
		}
		then = sig
		then.Time = m.now.Add(-time.Duration(while))
		return []Signal{then, sig}
	}
	return []Signal{sig}
}

// tell keeps the truth.
func (m *machine) tell(s signal) {
	if s.kind == Loaded {
		m.short, m.heard = s.flag, self
		return
	}
	t := &m.peers[s.peer]
	m.heard = peerNames[s.peer]
	t.missed = t.missed && s.kind == Returned
	switch s.kind {
	case Met:
		*t = truth{member: true, reachable: true, verified: t.verified, bad: t.bad}
	case Unreachable:
		t.reachable, t.verified, t.missed = false, false, true
	case Returned:
		t.reachable, t.verified = true, false
	case Restarted, TimedOut:
		t.verified = false
	case Gone:
		*t = truth{bad: t.bad}
	case Verified:
		t.verified = t.reachable || !t.member
	case VerificationFailed:
		t.verified, t.bad = false, m.now
	case RoundTrip:
		t.slow = s.flag
	}
}

// healthy reports whether there was nothing to heal in a peer before this moment: it is
// there, verified and fast, nothing was heard of it in this very step, and any
// attack is over for longer than the policy's quiet time.
func (m *machine) healthy(name string) bool {
	switch {
	case name == m.heard:
		return false
	case name == self:
		return !m.short
	}
	t := m.peers[slices.Index(peerNames[:], name)]
	return t.member && t.reachable && t.verified && !t.slow && (t.bad.IsZero() || m.now.Sub(t.bad) > time.Duration(m.loop.cfg.Policy.Quiet))
}

// Start implements Effector.
func (m *machine) Start(a Action) error {
	key := a
	key.Started, key.Deadline, key.Type = time.Time{}, 0, ""
	if !m.planned[key] {
		m.complain("%s of %s is started without a plan", a.Name, a.Peer)
	}
	delete(m.planned, key)
	// Keys that a high rate of failures has cost their trust are owed new ones.
	owed := a.Name == metric.RotateKeys && a.Type == metric.HighFailureRate
	if !owed && m.healthy(a.Peer) {
		m.complain("%s is done to %s, which is healthy", a.Name, a.Peer)
	}
	if m.effects == refuses {
		return ErrNoEffect
	}
	return nil
}

// Done implements Effector.
func (m *machine) Done(Action) bool { return m.effects == atOnce }

func (m *machine) complain(format string, args ...any) {
	m.wrong = append(m.wrong, fmt.Sprintf(format, args...))
}

// journal sees every plan before it is executed.
func (m *machine) journal(e event.Entry) {
	switch {
	case e.Phase == event.Plan:
		var attempt int
		if _, err := fmt.Sscan(e.Detail["attempt"], &attempt); err != nil {
			m.complain("a plan's attempt is %q", e.Detail["attempt"])
		}
		m.planned[Action{Name: e.Kind, Peer: e.Subject, Incident: e.Incident, Attempt: attempt}] = true
		if !slices.Contains(m.before, e.Incident) {
			m.complain("%s of %s is planned under %q, which is no incident that was open", e.Kind, e.Subject, e.Incident)
		}
	case e.Phase == event.Analyze && e.Kind != event.Resolved:
		m.before = append(m.before, e.Incident)
	}
}

// step runs the loop and checks what must hold after every step.
func (m *machine) step(signals []Signal) {
	m.planned, m.before = map[Action]bool{}, nil
	for _, i := range m.loop.Open() {
		m.before = append(m.before, i.ID)
	}
	m.loop.Step(m.now, signals)
	for a := range m.planned {
		m.complain("%s of %s was planned and not started", a.Name, a.Peer)
	}
	m.check()
	m.heard = ""
}

// give gives the loop one signal in a step of its own.
func (m *machine) give(s signal) {
	m.tell(s)
	m.step(m.signals(s))
}

// wait lets time pass in steps of d, each with a step of the loop.
func (m *machine) wait(steps int, d time.Duration) {
	for range steps {
		m.now = m.now.Add(d)
		m.step(nil)
	}
}

// check checks the properties that hold at any moment.
func (m *machine) check() {
	type about struct{ kind, peer string }
	seen := map[about]bool{}
	for _, i := range m.loop.cases.open {
		kind := i.Type
		if kind == "" || connectivity(kind) {
			kind = "silence" // one peer's silence has one cause
		}
		for peer := range i.Subjects {
			if seen[about{kind, peer}] {
				m.complain("two incidents of %s about %s are open", kind, peer)
			}
			seen[about{kind, peer}] = true
		}
		if kind == metric.HighFailureRate || kind == metric.LatencySLO || kind == metric.ResourceExhaustion {
			if seen[about{kind: kind}] {
				m.complain("two incidents of %s are open", kind)
			}
			seen[about{kind: kind}] = true
		}
	}
	// Nothing grows with what happens, only with how many peers there are.
	k := m.loop.cfg.Knowledge
	const peers, kinds = machinePeers, 7
	for what, n := range map[string][2]int{
		"open incidents":       {len(m.loop.cases.open), peers * kinds},
		"peers in the view":    {len(m.loop.view.Peers), peers},
		"peers that came back": {len(m.loop.cases.back), peers},
		"threats":              {len(k.Threats), peers},
		"tallies of actions":   {len(k.Actions), len(supported)},
		"running actions":      {len(m.loop.running), len(supported) * (peers + 1)},
		"failed actions":       {len(m.loop.failed), len(supported) * (peers + 1)},
	} {
		if n[0] > n[1] {
			m.complain("%d %s, want at most %d", n[0], what, n[1])
		}
	}
}
