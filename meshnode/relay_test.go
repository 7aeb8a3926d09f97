package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// isolate cuts the bridge's ports of some nodes from each other, and only these
// from each other, or joins them again.
func (c *cluster) isolate(state string, names ...string) {
	c.t.Helper()
	for _, n := range names {
		c.ip("-n", c.hub, "link", "set", "dev", c.procs[n].port, "type", "bridge_slave", "isolated", state)
	}
}

// TestRealRelay: of three processes with the real verifier only the link of two
// is cut. Their frames go on by way of the third, whose verifier has to let
// them pass, and their sessions stay verified for longer than an attestation
// counts; then the link is used again.
func TestRealRelay(t *testing.T) {
	c := newCluster(t, "a-0", "a-1", "b-0")
	for _, n := range c.names {
		c.start(n)
	}
	c.within(20*time.Second, "every pair verified", c.whole)
	ends := [][2]string{{"a-0", "a-1"}, {"a-1", "a-0"}}
	count := func(name, m, label, value string) (float64, error) {
		want := map[string]string{}
		if label != "" {
			want[label] = value
		}
		return c.metric(name, m, want)
	}
	before := map[string]float64{} // refused while sessions and routes were being made
	for _, n := range c.names {
		v, err := count(n, metric.RelayRefusedTotal, "", "")
		if err != nil {
			t.Fatal(err)
		}
		before[n] = v
	}
	c.isolate("on", ends[0][:]...)
	cut := time.Now()
	c.within(3*time.Second, "frames of both ends by relay", func() error {
		for _, e := range ends {
			if v, err := count(e[0], metric.FramesByRelayTotal, metric.LabelPeer, e[1]); err != nil || v == 0 {
				return fmt.Errorf("%s has %v frames of %s: %v", e[0], v, e[1], err)
			}
		}
		return nil
	})
	t.Logf("frames by relay %v after the cut", time.Since(cut).Round(time.Millisecond))
	for hold := time.NewTimer(time.Until(cut.Add(7 * time.Second))); ; {
		if err := c.whole(); err != nil {
			t.Fatalf("%v after the cut: %v", time.Since(cut), err)
		}
		select {
		case <-time.After(100 * time.Millisecond):
			continue
		case <-hold.C:
		}
		break
	}
	for _, e := range ends {
		if v, err := count(e[0], metric.AnomaliesDetected, metric.LabelType, metric.LinkFailure); err != nil || v != 1 {
			t.Errorf("%s: %v link failures, %v", e[0], v, err)
		}
	}
	if v, err := count("b-0", metric.FramesRelayedTotal, "", ""); err != nil || v == 0 {
		t.Errorf("the relay passed on %v frames, %v", v, err)
	}
	for _, n := range c.names {
		if v, err := count(n, metric.RelayRefusedTotal, "", ""); err != nil || v != before[n] {
			t.Errorf("%s refused %v frames, %v before the cut: %v", n, v, before[n], err)
			for _, reason := range metric.RefusedReasons() {
				v, err := count(n, metric.RelayRefusedTotal, metric.LabelReason, reason)
				t.Logf("%s: %v for %s, %v", n, v, reason, err)
			}
		}
	}
	c.isolate("off", ends[0][:]...)
	var last float64
	c.within(15*time.Second, "the direct way again", func() error {
		v, err := count("b-0", metric.FramesRelayedTotal, "", "")
		if err != nil || v != last {
			err = fmt.Errorf("%v frames relayed since the last look, %v", v-last, err)
			last = v
			<-time.After(2 * time.Second)
		}
		return err
	})
	if err := c.whole(); err != nil {
		t.Error(err)
	}
}
