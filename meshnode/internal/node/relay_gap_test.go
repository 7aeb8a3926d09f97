package node

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/x0tta6bl4/mesh/meshnode/bubble"
)

// TestTheLongestGapByRelayIsTold: of frames by relay the longest silence between two is told, and that of one cut says
// nothing of the next.
func TestTheLongestGapByRelayIsTold(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		m.up()
		defer m.down()
		a, b := m.nodes[zoneNames[0]], m.nodes[zoneNames[1]]
		told := func() time.Duration {
			return time.Duration(testutil.ToFloat64(b.metrics.RelayGap.WithLabelValues(a.name)) * float64(time.Second))
		}
		at := time.Now()
		comes := func(after time.Duration) {
			at = at.Add(after)
			b.mu.Lock()
			b.relayed(a.name, at)
			b.mu.Unlock()
		}
		for range 2 {
			b.mu.Lock()
			b.silent[a.name] = &silence{since: at}
			b.mu.Unlock()
			comes(time.Second) // how long there was none at first is in the journal
			if got := told(); got != 0 {
				t.Errorf("with the first frame of a cut %v is told", got)
			}
			comes(100 * time.Millisecond)
			comes(3900 * time.Millisecond)
			comes(200 * time.Millisecond)
			if got := told(); got.Round(time.Millisecond) != 3900*time.Millisecond {
				t.Errorf("told %v, want 3.9 s", got)
			}
		}
	})
}
