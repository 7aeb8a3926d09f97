package mapek

import (
	"bytes"
	"maps"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// clone returns a machine that goes its own way.
func (m *machine) clone() *machine {
	c := *m
	c.wrong, c.planned, c.before = nil, nil, nil
	o := m.loop
	l := &Loop{cfg: o.cfg, running: slices.Clone(o.running), failed: slices.Clone(o.failed)}
	l.view = &View{Peers: make(map[string]*PeerView, len(o.view.Peers)), samples: slices.Clone(o.view.samples), exhausted: o.view.exhausted, peak: o.view.peak}
	for name, p := range o.view.Peers {
		n := *p
		n.up.outages = slices.Clone(p.up.outages)
		l.view.Peers[name] = &n
	}
	l.cases = &Cases{prefix: o.cases.prefix, count: o.cases.count, back: maps.Clone(o.cases.back)}
	for _, i := range o.cases.open {
		n := *i
		n.Actions = slices.Clone(i.Actions)
		n.Subjects = make(map[string]*Subject, len(i.Subjects))
		for name, s := range i.Subjects {
			n.Subjects[name] = new(*s)
		}
		l.cases.open = append(l.cases.open, &n)
	}
	k := o.cfg.Knowledge
	l.cfg.Knowledge = &Knowledge{Actions: make(map[string]*Tally, len(k.Actions)), Threats: slices.Clone(k.Threats), Latency: slices.Clone(k.Latency)}
	if k.Exhaustion != nil {
		l.cfg.Knowledge.Exhaustion = new(*k.Exhaustion)
	}
	for name, t := range k.Actions {
		l.cfg.Knowledge.Actions[name] = new(*t)
	}
	c.attach(l)
	return &c
}

// stateFields says of every field of the loop's memory whether it belongs to a state's
// key. What does not must have no say in what the loop does later, but in the order
// of the actions of one rule and in what it writes down.
var stateFields = map[reflect.Type]map[string]bool{
	reflect.TypeFor[Loop](): {"cfg": false /* the same for all, but Knowledge */, "view": true, "cases": true, "running": true, "failed": true},
	reflect.TypeFor[View](): {"Peers": true, "samples": true /* the bad ones, see key */, "exhausted": true, "peak": false /* for the records */, "conditions": false /* none is given */},
	reflect.TypeFor[PeerView](): {"Met": true, "Suspected": true, "Reachable": true, "Verified": true, "Failures": false /* for the journal */, "slow": true,
		"trips": false, "up": false, "back": false /* for routes and records, which play no part here */, "failing": true, "mute": true, "session": false /* there are none */},
	reflect.TypeFor[latch](): {"on": true, "turned": false /* none turns halfway here */},
	reflect.TypeFor[Cases](): {"prefix": false, "count": false, "open": true, "back": true},
	reflect.TypeFor[Incident](): {"ID": false /* its place in the order */, "Type": true, "Since": false, "Opened": false, "Resolved": false, "Subjects": true, "due": true, "last": true, "told": true,
		"Actions": false, "Resource": false, "Reason": false, "Peak": false, "Kind": false /* for the records, and of conditions, which are not given */},
	reflect.TypeFor[Subject](): {"Unreachable": true, "Verified": true, "SeenBy": true /* whether any */, "Failures": true, "Proven": true,
		"Session": false, "Typical": false, "Episode": false /* for the records */},
	reflect.TypeFor[Action]():    {"Name": true, "Peer": true, "Incident": true, "Type": false, "Attempt": true, "Started": true, "Deadline": false /* by its name */, "Session": false},
	reflect.TypeFor[Knowledge](): {"Incidents": false, "Actions": false /* the order of a rule's actions */, "Threats": true, "Latency": false, "Exhaustion": false},
	reflect.TypeFor[Threat]():    {"Peer": true, "Type": false, "Count": false, "First": false /* for the records */, "Strikes": true, "Last": false /* its window is longer than a sequence */, "Until": true},
}

// TestEveryFieldOfTheStateIsKnown: who adds to the loop's memory must say what the
// enumeration is to make of it; otherwise it would take two states for one.
func TestEveryFieldOfTheStateIsKnown(t *testing.T) {
	for typ, fields := range stateFields {
		for i := range typ.NumField() {
			if _, ok := fields[typ.Field(i).Name]; !ok {
				t.Errorf("%v.%s is new: copy it in clone, put it into key if it has a say in what the loop does, and name it in stateFields", typ, typ.Field(i).Name)
			}
		}
		if typ.NumField() != len(fields) {
			t.Errorf("%v has %d fields, stateFields names %d", typ, typ.NumField(), len(fields))
		}
	}
}

// permutations of the peers: they are alike, so that what is true of one naming is
// true of all.
var permutations = func() [][machinePeers]int {
	var all [][machinePeers]int
	for a := range machinePeers {
		for b := range machinePeers {
			if c := machinePeers - a - b; a != b {
				all = append(all, [machinePeers]int{a, b, c})
			}
		}
	}
	return all
}()

// key names the machine's state: two machines with the same key do the same from then
// on, up to the names of peers. Times are ages in ticks, no older than what any rule asks.
func (m *machine) key() string {
	var best []byte
	for _, order := range permutations {
		if k := m.encode(order); best == nil || bytes.Compare(k, best) < 0 {
			best = k
		}
	}
	return string(best)
}

func bits(flags ...bool) byte {
	b := byte(0)
	for i, f := range flags {
		if f {
			b |= 1 << i
		}
	}
	return b
}

// age is how long ago a time was, in ticks, at most limit; a time to come counts from 128.
func (m *machine) age(t time.Time, limit Duration) byte {
	ticks := int(m.now.Sub(t) / Tick)
	if ticks < 0 {
		return byte(128 + min(-ticks, 127))
	}
	return byte(min(ticks, int(time.Duration(limit)/Tick)+1, 127))
}

// encode writes the state with the peers in an order.
func (m *machine) encode(order [machinePeers]int) []byte {
	l, p := m.loop, m.loop.cfg.Policy
	b := make([]byte, 0, 160)
	bad := map[string]int{}
	for _, s := range l.view.samples {
		if !s.ok {
			bad[s.peer]++
		}
	}
	slot := func(peer string) byte {
		for i, o := range order {
			if peerNames[o] == peer {
				return byte(i)
			}
		}
		return machinePeers
	}
	for _, o := range order {
		name, t := peerNames[o], m.peers[o]
		v := l.view.Peers[name]
		if v == nil {
			v = &PeerView{}
		}
		b = append(b, bits(l.view.Peers[name] != nil, v.Met, v.Suspected, v.Reachable, v.Verified, v.slow.on, v.failing, v.mute),
			bits(t.member, t.reachable, t.verified, t.slow, t.missed),
			byte(min(bad[name], p.RateMin)))
		badAge := byte(math.MaxUint8)
		if !t.bad.IsZero() {
			if m.now.Sub(t.bad) <= time.Duration(p.Quiet) {
				badAge = m.age(t.bad, p.Quiet)
			}
		}
		back := byte(math.MaxUint8)
		if at, ok := l.cases.back[name]; ok && m.now.Sub(at) <= time.Duration(p.Correlate) {
			back = 0
		}
		strikes, until := byte(0), byte(0)
		if threat := l.cfg.Knowledge.threat(name); threat != nil {
			strikes = byte(min(threat.Strikes, p.Strikes))
			if m.now.Before(threat.Until) {
				until = m.age(threat.Until, 0)
			}
		}
		b = append(b, badAge, back, strikes, until)
	}
	b = append(b, bits(l.view.exhausted.on, m.short))
	place := map[string]byte{}
	for n, i := range l.cases.open {
		place[i.ID] = byte(n)
		due := byte(math.MaxUint8)
		if i.Type == "" {
			due = m.age(i.due, p.Settle)
		}
		last := byte(0)
		switch {
		case i.Type == "" || connectivity(i.Type):
			last = bits(m.now.Sub(i.last) <= time.Duration(p.Correlate))
		case i.Type == metric.VerificationFailed:
			last = m.age(i.last, p.Quiet)
		}
		b = append(b, byte(1+slices.Index(metric.IncidentTypes(), i.Type)), due, last, bits(i.told))
		for _, o := range order {
			s := i.Subjects[peerNames[o]]
			if s == nil {
				b = append(b, math.MaxUint8, 0)
				continue
			}
			failures := byte(0)
			if i.Type == metric.VerificationFailed {
				failures = byte(min(s.Failures, p.Failures+1))
			}
			b = append(b, bits(s.Unreachable, s.Verified, i.Type == "" && len(s.SeenBy) > 0, s.Proven), failures)
		}
	}
	do := func(a *Action, age byte) []byte {
		n, ok := place[a.Incident]
		if !ok {
			n = math.MaxUint8
		}
		return []byte{byte(slices.Index(supported, a.Name)), slot(a.Peer), n, byte(a.Attempt), age}
	}
	var actions [][]byte
	for i := range l.running {
		actions = append(actions, do(&l.running[i], m.age(l.running[i].Started, Duration(l.running[i].Deadline))))
	}
	for i := range l.failed {
		actions = append(actions, do(&l.failed[i].Action, math.MaxUint8))
	}
	slices.SortFunc(actions, bytes.Compare)
	return append(append(b, math.MaxUint8), bytes.Join(actions, nil)...)
}
