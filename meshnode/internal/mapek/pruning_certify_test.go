package mapek

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// walk is a random sequence: gaps and signals by number, for any machine.
func walk(rng *rand.Rand, f *family, n int) []trail {
	letters := f.alphabet()
	var w []trail
	for range n {
		w = append(w, trail{gap: f.gaps[rng.IntN(len(f.gaps))], signal: letters[rng.IntN(len(letters))]})
	}
	return w
}

// play plays a walk, what is possible of it, and returns what the loop made of it: its
// incidents and actions by type and peer, without ids.
func (m *machine) play(w []trail, order [machinePeers]int) []string {
	var told []string
	for _, s := range w {
		m.wait(s.gap, Tick)
		if letter := s.signal; m.possible(renamed(letter, order)) {
			m.give(renamed(letter, order))
		}
		var acts []string
		for _, a := range m.loop.running {
			acts = append(acts, fmt.Sprint(a.Name, slices.Index(order[:], slices.Index(peerNames[:], a.Peer)), a.Attempt))
		}
		slices.Sort(acts)
		for _, i := range m.loop.cases.open {
			acts = append(acts, i.Type)
			for slot, o := range order {
				acts = append(acts, fmt.Sprint(slot, i.Subjects[peerNames[o]] != nil))
			}
		}
		told = append(told, strings.Join(acts, " "))
	}
	return told
}

func renamed(s signal, order [machinePeers]int) signal {
	if s.kind != Loaded {
		s.peer = order[s.peer]
	}
	return s
}

// TestPruningIsSound: two machines with one key, which the enumeration takes for one,
// do the same whatever follows. They come from random walks that end in the same
// state by different ways, or with the peers renamed.
func TestPruningIsSound(t *testing.T) {
	c := newCommon(drawnTogether())
	rng := rand.New(rand.NewPCG(1, 2))
	same := [machinePeers]int{0, 1, 2}
	merged, visible := 0, 0
	for i := range families {
		f := &families[i]
		for e := range endEffects {
			seen := map[string]*machine{}
			for range 250 {
				m := newMachine(c, e)
				m.wait(f.gaps[len(f.gaps)-1], Tick)
				first := walk(rng, f, 1+rng.IntN(4))
				m.play(first, same)
				k := string(m.encode(same))
				if other := seen[k]; other == nil {
					seen[k] = m
				} else {
					merged++
					rest := walk(rng, f, 4)
					a, b := other.clone(), m.clone()
					ta, tb := a.play(rest, same), b.play(rest, same)
					if !slices.Equal(ta, tb) || !bytes.Equal(a.encode(same), b.encode(same)) {
						t.Fatalf("%s, %v: one state, two futures after %v and then %v:\n%q\n%q", f.name, e, first, rest, ta, tb)
					}
					if ta[len(ta)-1] != "" {
						visible++
					}
				}
				order := permutations[rng.IntN(len(permutations))]
				r := newMachine(c, e)
				r.wait(f.gaps[len(f.gaps)-1], Tick)
				r.play(first, order)
				if r.key() != m.key() {
					t.Fatalf("%s, %v: %v has another key with the peers renamed to %v", f.name, e, first, order)
				}
			}
		}
	}
	t.Logf("%d pairs, %d of them with something to see at the end", merged, visible)
	if visible < 100 {
		t.Errorf("only %d pairs of states with anything to see: this proves little", visible)
	}
}
