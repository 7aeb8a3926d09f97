package home

import (
	"os"
	"testing"
	"time"
)

// TestRandomSchedules lets clients work while nodes crash and lose their
// memory, leave, come back, hand over what they are home of, and links are cut, under
// message loss, duplication and reordering, and in every second seed with clocks that are
// wrong. What is promised must hold in every answer, and at the end every session must be
// there, the same at every node. A failing seed replays.
func TestRandomSchedules(t *testing.T) {
	seeds := 200
	if os.Getenv("MESH_TEST_LONG") != "" {
		seeds = 10000
	}
	migrated, acks := 0, 0
	for seed := range seeds {
		m, a := randomSchedule(t, uint64(seed))
		migrated, acks = migrated+m, acks+a
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("%d seeds: %d operations acknowledged, %d sessions migrated", seeds, acks, migrated)
	if migrated < seeds || acks < 100*seeds {
		t.Error("too little happened for a verdict")
	}
}

func randomSchedule(t *testing.T, seed uint64) (migrated, acks int) {
	s := newSim(t, seed, seed%4 != 0, "a", "b", "c", "d", "e")
	if seed%2 == 1 {
		s.skew()
	}
	s.run(2 * time.Second)
	registers := s.open(8)
	s.loss = float64(seed%3) * 0.05
	for range 60 {
		s.disturb()
		for range 5 {
			s.work(registers, 2, 60*time.Millisecond)
		}
	}
	s.loss = 0
	clear(s.cut)
	for _, n := range s.names {
		if !s.nodes[n].up {
			s.start(n)
		}
	}
	s.look()
	s.run(5 * time.Second)
	for _, r := range registers {
		for _, n := range s.names {
			res := s.must(n, Request{Op: Read, ID: r.id}, 2*time.Second)
			if res.Code != Done || res.Version < r.acked || res.Version > r.newest || string(res.Body) != string(r.bodies[res.Version]) {
				t.Errorf("%s at %s in the end: %+v; acknowledged %d, tried %d", r.id, n, res, r.acked, r.newest)
			}
		}
		acks += r.acks
	}
	return s.migrated, acks
}

// disturb changes something, within what is promised: fewer than half of the
// nodes are without memory at a time.
func (s *sim) disturb() {
	n := s.names[s.rng.IntN(len(s.names))]
	x := s.nodes[n]
	switch s.rng.IntN(8) {
	case 0:
		if x.up && s.absent() < 2 {
			s.crash(n)
		}
	case 1, 2:
		if !x.up {
			s.start(n)
		}
	case 3:
		if x.up && s.absent() < 2 {
			s.leave(n)
		}
	case 4:
		m := s.names[s.rng.IntN(len(s.names))]
		if m != n {
			s.cut[[2]string{n, m}] = true
			s.look()
		}
	case 5:
		for _, m := range s.names {
			if m != n {
				s.cut[[2]string{n, m}] = true
			}
		}
		s.look()
	case 6:
		clear(s.cut)
		s.look()
	case 7:
		if x.up {
			s.out(n, x.Yield(s.at(n), !x.yields))
		}
	}
}
