package mapek

import (
	"fmt"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// Load is how short of resources this node is. Shares are 0 to 1, and 0 if they
// cannot be measured.
type Load struct {
	CPU       float64       // used, of the container's limit
	Throttled float64       // share of the limit's periods in which the container had to wait
	Memory    float64       // used, of the container's limit
	Queued    time.Duration // the oldest public-key operation has been waiting for a core
	Lag       time.Duration // the loop came late
	// The container's limits, 0 if there are none: cores and bytes.
	CPULimit, MemoryLimit float64
}

// most keeps the larger of each value, and the present limits.
func (l *Load) most(o Load) {
	l.CPU, l.Throttled, l.Memory = max(l.CPU, o.CPU), max(l.Throttled, o.Throttled), max(l.Memory, o.Memory)
	l.Queued, l.Lag = max(l.Queued, o.Queued), max(l.Lag, o.Lag)
	l.CPULimit, l.MemoryLimit = o.CPULimit, o.MemoryLimit
}

// shortage is what this node is short of, and by how much in words.
type shortage struct{ resource, reason string }

// pressure is the load relative to the policy's limits, of the resource that is
// shortest: 1 at the limit.
func (l *ResourceLimits) pressure(load Load) (pressure float64, short shortage) {
	for _, r := range []struct {
		of       float64
		resource string
		format   string
		value    any
	}{
		{load.CPU / l.CPU, event.ResourceCPU, "CPU: %.2f of the limit in use", load.CPU},
		{load.Throttled / l.Throttled, event.ResourceCPU, "CPU: throttled in %.2f of the periods", load.Throttled},
		{load.Memory / l.Memory, event.ResourceMemory, "memory: %.2f of the limit in use", load.Memory},
		{float64(load.Queued) / float64(l.Queued), event.ResourceVerification, "verification: waits for a core for %v", load.Queued},
		{float64(load.Lag) / float64(l.Lag), event.ResourceScheduling, "scheduling: late by %v", load.Lag},
	} {
		if r.of > pressure {
			pressure, short = r.of, shortage{r.resource, fmt.Sprintf(r.format, r.value)}
		}
	}
	return pressure, short
}

// latch is a condition that changes only when every sample of a while says so. A
// single one that does not begins the while anew.
type latch struct {
	on bool
	// turned is since when samples say the opposite; zero if the newest one
	// does not.
	turned time.Time
}

// sample notes a sample and reports whether the condition changed, and since when
// samples have been saying so.
func (l *latch) sample(now time.Time, on bool, while Duration) (since time.Time, changed bool) {
	if on == l.on {
		l.turned = time.Time{}
		return now, false
	}
	if l.turned.IsZero() {
		l.turned = now
	}
	if now.Sub(l.turned) < time.Duration(while) {
		return now, false
	}
	since = l.turned
	l.on, l.turned = !l.on, time.Time{}
	return since, true
}

// loaded notes this node's load and reports whether it became too much, or came
// to rest. Rest is below Release of the limits, so that a load at a limit is one
// episode.
func (v *View) loaded(l *ResourceLimits, s Signal) (short shortage, since time.Time, changed bool) {
	pressure, short := l.pressure(s.Load)
	while, on := l.For, pressure >= 1
	if v.exhausted.on {
		while, on = l.Rest, pressure >= l.Release
	} else if !on {
		v.peak = Load{}
	}
	v.peak.most(s.Load)
	since, changed = v.exhausted.sample(s.Time, on, while)
	return short, since, changed
}

// strained opens the incident of this node's exhaustion.
func (c *Cases) strained(now time.Time, s Symptom) []Finding {
	if c.find(metric.ResourceExhaustion, "") != nil {
		return nil
	}
	i := c.add(&Incident{Type: metric.ResourceExhaustion, Since: s.Since, Opened: now, Resource: s.Resource, Reason: s.Reason, Peak: s.Load})
	i.Subjects[s.Peer] = &Subject{}
	return []Finding{{Moment: Opened, Incident: i, Peers: i.Peers()}}
}

// rested ends it.
func (c *Cases) rested(now time.Time, s Symptom) []Finding {
	i := c.find(metric.ResourceExhaustion, s.Peer)
	if i == nil {
		return nil
	}
	i.Subjects[s.Peer].Verified = true
	i.Peak = s.Load
	return []Finding{c.resolve(now, i)}
}
