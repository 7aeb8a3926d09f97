package main

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// TestManyWritersAreNoReplays: however many write at once, the real verifiers take none of the sessions' frames for
// replays.
func TestManyWritersAreNoReplays(t *testing.T) {
	const writers = 16
	least := 10_000.0 // frames that each verifier is to judge
	if os.Getenv("MESH_TEST_LONG") != "" {
		least = 100_000
	}
	c := newCluster(t, "a-0", "b-0")
	for _, n := range c.names {
		c.start(n)
	}
	c.within(20*time.Second, "both verified", c.whole)
	verdict := func(node, v string) float64 {
		return c.count(node, metric.PacketsTotal, map[string]string{metric.LabelVerdict: v})
	}
	body := strings.Repeat("x", 48<<10)
	stop := make(chan struct{})
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				path := fmt.Sprintf("%s/record-%d-%d", api.RecordsPath, w, i)
				// A slow disk may have a write wait for too long: that is another test's matter.
				if code, answer, err := c.request(http.MethodPut, c.names[w%2], path, body); err == nil && code != http.StatusCreated && code != http.StatusServiceUnavailable {
					t.Errorf("record %d of writer %d: %d %.200s", i, w, code, answer)
					return
				}
			}
		})
	}
	c.within(10*time.Minute, "enough frames", func() error {
		for _, n := range c.names {
			if passed := verdict(n, "pass"); passed < least {
				return fmt.Errorf("%s has passed %v", n, passed)
			}
		}
		return nil
	})
	close(stop)
	writing.Wait()
	for _, n := range c.names {
		if replays := verdict(n, "replay"); replays > 0 {
			t.Errorf("%s: %v frames of %v are called replays", n, replays, verdict(n, "pass"))
		}
	}
}
