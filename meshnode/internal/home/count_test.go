package home

import (
	"os"
	"testing"
	"time"
)

// TestEveryMigrationIsCounted: when a home dies under its clients' work, every session
// that it was home of is counted as taken over, once, by whoever is home after it. It was
// not where a client asked a claimant under the ballot that its peers had promised
// already: that ended the claim, and the next one was of a session that was its own.
func TestEveryMigrationIsCounted(t *testing.T) {
	seeds := 100
	if os.Getenv("MESH_TEST_LONG") != "" {
		seeds = 3000
	}
	migrated := 0
	for seed := range seeds {
		s := newSim(t, uint64(seed), true, "a", "b", "c", "d", "e")
		s.run(2 * time.Second)
		registers := s.open(12)
		for range 10 {
			s.work(registers, 4, 20*time.Millisecond)
		}
		homed := 0
		for _, r := range registers {
			if e := s.nodes["c"].entries[r.id]; e != nil && e.lead != nil {
				homed++
			}
		}
		s.migrated = 0
		s.crash("c")
		for range 100 {
			s.work(registers, 4, 20*time.Millisecond)
		}
		s.run(time.Second)
		if s.migrated != homed {
			t.Errorf("seed %d: %d sessions were at home on the dead node, %d are counted as migrated", seed, homed, s.migrated)
		}
		migrated += homed
	}
	if migrated < seeds {
		t.Errorf("only %d sessions migrated in %d seeds: too little for a verdict", migrated, seeds)
	}
}
