package scenario

import (
	"testing"

	"github.com/x0tta6bl4/mesh/e2e/ground/fault"
	"github.com/x0tta6bl4/mesh/e2e/observe/probe/echo"
)

// What a fixture may ask for must be what the bars and the probers can tell.
func TestFixturesAreRefusedByTheBarsInForce(t *testing.T) {
	if fault.Shortest != AlertFor {
		t.Errorf("a fault lasts %v at least, an alert takes %v", fault.Shortest, AlertFor)
	}
	if fault.ShortestSpike != SpikeFor {
		t.Errorf("an attack lasts %v at least, its alert takes %v", fault.ShortestSpike, SpikeFor)
	}
	if fault.LeastInjected != BarBadSignatures {
		t.Errorf("an attacker sends %d bad signatures at least, %d are to be counted", fault.LeastInjected, BarBadSignatures)
	}
	if fault.ShortestStress != BarScaledUp {
		t.Errorf("a stress lasts %v at least, the autoscaler may take %v", fault.ShortestStress, BarScaledUp)
	}
	if fault.LeastDelay != BarLatencyShift || fault.LeastDelay <= prompt {
		t.Errorf("a delay is %v at least; the bar is %v, a busy network's is %v", fault.LeastDelay, BarLatencyShift, prompt)
	}
	if 2*fault.MostDelay > echo.Silence {
		t.Errorf("a round trip with a delay of %v at each end takes a peer for cut after %v", fault.MostDelay, echo.Silence)
	}
	if fault.ShortestRest < WaitRestart {
		t.Errorf("a schedule rests %v at least, a pod may take %v to come back", fault.ShortestRest, WaitRestart)
	}
}
