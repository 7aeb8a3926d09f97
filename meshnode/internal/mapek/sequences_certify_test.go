package mapek

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/internal/certify"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// family is a part of the space: the sequences of some kinds of signals, with these
// gaps before each, in ticks. Signals of different families meet in one only as far as
// one incident's peers are subjects of another; the last family has them all.
type family struct {
	name  string
	gaps  []int
	kinds []SignalKind
	depth [endEffects]int // signals in a row, by what becomes of actions
}

// The gaps are: none; longer than settle, and with a second one than its double; longer
// than quiet, than settle's double and than any action's deadline; longer than correlate.
var families = []family{
	{"silence", []int{0, 3, 79}, []SignalKind{Suspected, Cleared, Unreachable, Returned, Restarted, Verified, Gone, Met}, [endEffects]int{8, 6, 8}},
	{"attestations", []int{0, 11, 79}, []SignalKind{Unreachable, Returned, Verified, VerificationFailed, TimedOut, Gone, Met}, [endEffects]int{7, 5, 6}},
	{"latency and resources", []int{0, 11, 79}, []SignalKind{Unreachable, Returned, Verified, RoundTrip, Loaded, Gone, Met}, [endEffects]int{8, 5, 6}},
	{"all", []int{0, 3, 11, 79}, nil, [endEffects]int{5, 4, 4}},
}

func (f *family) alphabet() []signal {
	return slices.DeleteFunc(alphabet(), func(s signal) bool { return f.kinds != nil && !slices.Contains(f.kinds, s.kind) })
}

// trail is how a machine got where it is, the last signal first.
type trail struct {
	before *trail
	gap    int
	signal signal
}

func (t *trail) String() string {
	var steps []string
	for ; t != nil; t = t.before {
		steps = append(steps, fmt.Sprintf("after %v %v", time.Duration(t.gap)*Tick, t.signal))
	}
	slices.Reverse(steps)
	return strings.Join(steps, "; ")
}

// space is what was enumerated.
type space struct {
	states      []int // new ones by number of signals
	transitions int
	recoveries  int
	digest      [sha256.Size]byte // of all states, in any order
	// wrong is the first, and so a shortest, trail to every kind of violation.
	wrong map[string]*trail

	nodes, waited, rested map[key]bool
}

type reached struct {
	m   *machine
	how *trail
}

// enumerate visits every state that up to depth signals lead to, with every gap before
// each, and checks every step, and of every state that all incidents close once
// all is well. A state that a sequence of no more signals led to is not visited again.
func enumerate(c *common, f *family, e effects, depth int) *space {
	s := &space{wrong: map[string]*trail{}, nodes: map[key]bool{}, waited: map[key]bool{}, rested: map[key]bool{}}
	letters := f.alphabet()
	start := newMachine(c, e)
	start.wait(f.gaps[len(f.gaps)-1], Tick)
	frontier := []reached{{start, nil}}
	s.add(sum(start))
	for level := 1; level <= depth; level++ {
		var next []reached
		states := 0
		for n, r := range frontier {
			m := r.m
			frontier[n].m = nil // its memory is needed
			last := 0
			for _, gap := range f.gaps {
				m.wait(gap-last, Tick)
				if s.note(m, r.how) {
					break
				}
				if last = gap; gap > 0 {
					k := sum(m)
					if s.waited[k] || s.nodes[k] {
						continue
					}
					s.waited[k] = true
				}
				for _, letter := range letters {
					if !m.possible(letter) {
						continue
					}
					s.transitions++
					child, how := m.clone(), &trail{r.how, gap, letter}
					child.give(letter)
					if s.note(child, how) {
						continue
					}
					k := sum(child)
					if s.nodes[k] {
						continue
					}
					s.add(k)
					states++
					s.recover(child.clone(), how)
					if level < depth {
						next = append(next, reached{child, how})
					}
				}
			}
		}
		s.states = append(s.states, states)
		frontier = next
	}
	return s
}

// key is a digest of a machine's key.
type key [sha256.Size / 2]byte

func sum(m *machine) key {
	h := sha256.Sum256([]byte(m.key()))
	return key(h[:])
}

// add takes a state in.
func (s *space) add(k key) {
	s.nodes[k] = true
	h := sha256.Sum256(k[:])
	for i, b := range h {
		s.digest[i] ^= b
	}
}

// note keeps what was wrong and reports whether anything was.
func (s *space) note(m *machine, how *trail) bool {
	for _, w := range m.wrong {
		for _, name := range peerNames {
			w = strings.ReplaceAll(w, " "+name, " a peer")
		}
		if _, known := s.wrong[w]; !known {
			s.wrong[w] = how
		}
	}
	return len(m.wrong) > 0
}

// recover lets all be well: who is a member is there, verified and fast, and this node
// has what it needs. Every incident must close: those of attestations within the
// policy's quiet time, a high rate of failures within the minute that counts, all
// others at once; and no action may go on for ever.
func (s *space) recover(m *machine, how *trail) {
	s.recoveries++
	m.heal()
	m.wait(int(time.Duration(m.loop.cfg.Policy.Quiet)/Tick)+2, Tick)
	for _, i := range m.loop.cases.open {
		if i.Type != metric.HighFailureRate {
			m.complain("an incident of type %q is open although all is well", i.Type)
		}
	}
	if s.note(m, how) {
		return
	}
	if len(m.loop.cases.open)+len(m.loop.running)+len(m.loop.failed) == 0 {
		return
	}
	k := sum(m)
	if s.rested[k] {
		return
	}
	s.rested[k] = true
	for range int(rateWindow/time.Second) + 2 {
		m.wait(1, time.Second)
		for p, t := range m.peers {
			if t.member {
				m.give(signal{Verified, p, false})
			}
		}
	}
	if n := len(m.loop.cases.open); n > 0 {
		m.complain("an incident of type %q is open a minute after all is well", m.loop.cases.open[0].Type)
	}
	if n := len(m.loop.running) + len(m.loop.failed); n > 0 {
		m.complain("%d actions go on a minute after all is well", n)
	}
	s.note(m, how)
}

// heal gives the signals of peers that are well.
func (m *machine) heal() {
	if m.short {
		m.give(signal{Loaded, 0, false})
	}
	for p := range m.peers {
		t := &m.peers[p]
		if !t.member {
			continue
		}
		if !t.reachable {
			m.give(signal{Returned, p, false})
		}
		if t.slow {
			m.give(signal{RoundTrip, p, false})
		}
		m.give(signal{Verified, p, false})
	}
}

// TestSequences enumerates all sequences of up to three signals, and with MESH_CERTIFY
// all that the certificate names.
func TestSequences(t *testing.T) {
	cert, err := certify.Certificate{
		Name: "mapek",
		Claim: "Of every sequence: each incident closes once all is well, no two about one kind and peer are open, nothing is planned without an incident, " +
			"started without a plan or done to a healthy peer, and no memory grows with what happens.",
		Space: "Sequences of signals of three peers and this node after a mesh that was whole, each after one of the gaps of its family, with the built-in policy drawn together, " +
			"and with actions that work, hang, or are refused. States that differ in the names of peers, or in nothing that a rule asks, are one.",
		Packages: []string{"github.com/x0tta6bl4/mesh/meshnode/internal/mapek"},
		Tests:    []string{"*_certify_test.go"},
	}.Begin()
	if err != nil {
		t.Fatal(err)
	}
	c := newCommon(drawnTogether())
	all := sha256.New()
	for i := range families {
		f := &families[i]
		for e := range endEffects {
			depth := 3
			if certify.Full() {
				depth = f.depth[e]
			}
			start := time.Now()
			s := enumerate(c, f, e, depth)
			t.Logf("%s, %v: new states by number of signals %v, %d transitions, %d recoveries in %v", f.name, e, s.states, s.transitions, s.recoveries, time.Since(start))
			for w, how := range s.wrong {
				t.Errorf("%s, %v: %s: %v", f.name, e, w, how)
			}
			all.Write(s.digest[:])
			cert.Parts = append(cert.Parts, certify.Part{Name: fmt.Sprintf("%s, actions: %v", f.name, e), Counts: map[string]int{
				"signals": depth, "states": len(s.nodes), "transitions": s.transitions, "recoveries": s.recoveries,
			}})
		}
	}
	if cert.Digest = hex.EncodeToString(all.Sum(nil)); certify.Full() && !t.Failed() {
		if err := cert.Write("../../certificates"); err != nil {
			t.Fatal(err)
		}
	}
}
