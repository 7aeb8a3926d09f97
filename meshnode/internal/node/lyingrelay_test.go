package node

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	lies "github.com/x0tta6bl4/mesh/meshnode/internal/hostile"
)

// apart reports whether no honest way connects two honest nodes.
func (m *testMesh) apart(a, b string) bool {
	return slices.Contains(m.side, a) != slices.Contains(m.side, b)
}

// divide cuts one or two of the honest nodes from the others, so that a member that is none of them is the only way between
// them, and waits until it relays. It returns both sides, the larger one last.
func (m *testMesh) divide(rng *rand.Rand, honest []string) [][]string {
	m.t.Helper()
	mixed := slices.Clone(honest)
	rng.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
	few := 1 + rng.IntN(len(mixed)/2)
	near, far := mixed[:few], mixed[few:]
	for _, a := range near {
		for _, b := range far {
			m.net.Cut(m.nodes[a].addr, m.nodes[b].addr)
		}
	}
	m.side = near
	m.within(10*time.Second, "the only relay", func() error {
		for _, a := range near {
			for _, b := range far {
				if arrivals(m.nodes[a], m.nodes[b]) == 0 || arrivals(m.nodes[b], m.nodes[a]) == 0 {
					return errors.New("brings nothing of " + a + " or of " + b)
				}
			}
		}
		return nil
	})
	return [][]string{near, far}
}

// reunite undoes divide.
func (m *testMesh) reunite() {
	m.net.HealAll()
	m.side = nil
}

// relaying is how a random liar treats what it is to pass on: it drops, delays, repeats, replays and changes it,
// and hands it to others under other names.
type relaying struct {
	h      *hostile
	honest []string

	mu      sync.Mutex
	rng     *rand.Rand
	rate    float64  // share of the messages that it spoils
	kept    [][]byte // older ones, to be passed on again
	late    []func() // pass on what was kept back
	spoiled float64  // how many it did
}

func (l *relaying) pass(_ string, message []byte, take func([]byte)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.late) > 0 && l.rng.IntN(3) == 0 {
		l.rng.Shuffle(len(l.late), func(i, j int) { l.late[i], l.late[j] = l.late[j], l.late[i] })
		for _, pass := range l.late {
			pass()
		}
		l.late = nil
	}
	if l.rng.Float64() > l.rate {
		take(message)
		return
	}
	l.spoiled++
	if len(l.kept) < 64 {
		l.kept = append(l.kept, message)
	}
	switch l.rng.IntN(6) {
	case 0: // lost
	case 1:
		l.late = append(l.late, func() { take(message) })
	case 2:
		take(message)
		take(message)
	case 3:
		take(message)
		take(l.kept[l.rng.IntN(len(l.kept))])
	case 4:
		for _, bad := range lies.Twist(l.rng, message, 4) {
			l.hand(bad)
		}
	default: // names are of one length
		l.hand(bytes.ReplaceAll(message, []byte(l.anybody()), []byte(l.anybody())))
	}
}

func (l *relaying) anybody() string { return l.honest[l.rng.IntN(len(l.honest))] }

// hand hands a message over without the liar's own node looking at it first.
func (l *relaying) hand(message []byte) {
	_ = l.h.send(l.anybody(), frame.Relay, message) // some are too long, or find no session
}

// count returns how many messages it has spoiled.
func (l *relaying) count() float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.spoiled
}
