package scenario

import (
	"slices"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/ground/fault"
	"github.com/x0tta6bl4/mesh/e2e/observe/probe"
)

// The proof asks the pairs of the victims only, and of each as much as its delays add up to.
func TestRoundTripsTakeADelayForEachDirection(t *testing.T) {
	ways := []fault.Direction{{From: "a-0", To: "b-0"}, {From: "b-0", To: "a-0"}, {From: "b-1", To: "a-0"}}
	all := probe.All([]string{"a-0", "b-0", "b-1"})
	got := roundTrips(ways, all, 150*time.Millisecond)
	for least, want := range map[time.Duration]probe.Pair{
		300 * time.Millisecond: probe.NewPair("a-0", "b-0"),
		150 * time.Millisecond: probe.NewPair("a-0", "b-1"),
		0:                      probe.NewPair("b-0", "b-1"),
	} {
		if pairs := got[least]; !slices.Equal(pairs, []probe.Pair{want}) {
			t.Errorf("%v at least: %v, want %v", least, pairs, want)
		}
	}
	if len(got) != 3 {
		t.Errorf("got %v", got)
	}
	cut := probe.Without(all, []probe.Pair{probe.NewPair("a-0", "b-0")})
	if got := roundTrips(ways, cut, 150*time.Millisecond); len(got[300*time.Millisecond]) > 0 {
		t.Errorf("asks a pair that is cut: %v", got)
	}
	if got := senders(ways); !slices.Equal(got, []string{"a-0", "b-0", "b-1"}) {
		t.Errorf("senders %v", got)
	}
}
