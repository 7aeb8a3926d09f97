package mapek

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// Latency is what Knowledge keeps of a link that was too slow at times.
type Latency struct {
	Peer    string        `json:"peer"`
	Typical time.Duration `json:"typical_ns"` // round trip while it is not
	Episode time.Duration `json:"episode_ns"` // mean round trip in the last episode
	Count   int           `json:"count"`
	Last    time.Time     `json:"last"` // when the last episode began
}

// Exhaustion is what Knowledge keeps of the episodes in which this node lacked
// resources.
type Exhaustion struct {
	Count  int       `json:"count"`
	Last   time.Time `json:"last"`
	Reason string    `json:"reason"` // of the last one
	// The largest demand of all episodes, in cores and bytes, and the limits at the
	// last one; 0 where there was none that could be read.
	CPU         float64 `json:"cpu"`
	Memory      float64 `json:"memory"`
	CPULimit    float64 `json:"cpu_limit"`
	MemoryLimit float64 `json:"memory_limit"`
}

// maxLinks bounds the latency patterns: the one that was well for longest gives way.
const maxLinks = 256

// learnPatterns notes how links were slow and what this node was short of, and
// reports whether there was anything.
func (k *Knowledge) learnPatterns(now time.Time, findings []Finding) bool {
	learned := false
	for _, f := range findings {
		switch f.Incident.Type {
		case metric.LatencySLO:
			for _, peer := range f.Peers {
				if s := f.Incident.Subjects[peer]; s != nil {
					k.learnLatency(now, f.Moment, peer, s)
					learned = true
				}
			}
		case metric.ResourceExhaustion:
			k.learnExhaustion(now, f.Moment, f.Incident)
			learned = true
		}
	}
	return learned
}

func (k *Knowledge) learnLatency(now time.Time, m Moment, peer string, s *Subject) {
	i := slices.IndexFunc(k.Latency, func(l Latency) bool { return l.Peer == peer })
	if i < 0 {
		i = len(k.Latency)
		k.Latency = append(k.Latency, Latency{Peer: peer})
	}
	l := &k.Latency[i]
	if m == Opened || m == extended {
		l.Count++
		l.Last, l.Episode = now, 0
	}
	if s.Typical > 0 {
		l.Typical = s.Typical
	}
	if s.Episode > 0 {
		l.Episode = s.Episode
	}
	k.boundLatency()
}

func (k *Knowledge) boundLatency() {
	slices.SortStableFunc(k.Latency, func(a, b Latency) int { return a.Last.Compare(b.Last) })
	if n := len(k.Latency) - maxLinks; n > 0 {
		k.Latency = slices.Delete(k.Latency, 0, n)
	}
}

// throttledMax bounds what is made of throttling: a container that waits in all
// periods is taken to need four times of what it got, not more.
const throttledMax = 0.75

// learnExhaustion notes an episode's demand. What a container would use that is held
// back in a share t of the periods is not measured; its use / (1 - t) stands for it.
func (k *Knowledge) learnExhaustion(now time.Time, m Moment, i *Incident) {
	if k.Exhaustion == nil {
		k.Exhaustion = &Exhaustion{}
	}
	e, p := k.Exhaustion, i.Peak
	if m == Opened {
		e.Count++
		e.Last, e.Reason = now, i.Reason
	}
	e.CPU = max(e.CPU, p.CPU*p.CPULimit/(1-min(p.Throttled, throttledMax)))
	e.Memory = max(e.Memory, p.Memory*p.MemoryLimit)
	e.CPULimit, e.MemoryLimit = p.CPULimit, p.MemoryLimit
}

// The steps in which resources are recommended.
const (
	cpuStep    = 0.05     // cores
	memoryStep = 16 << 20 // bytes
)

// recommend says what the container should have been given: so much that the largest
// demand seen would have been at rest by the policy's limits, and never less than
// what it has.
func (e *Exhaustion) recommend(l *ResourceLimits) *api.Recommendation {
	if e == nil || e.Count == 0 {
		return nil
	}
	r := &api.Recommendation{Incidents: e.Count}
	if e.CPULimit > 0 {
		r.CPU = fmt.Sprintf("%.0fm", 1000*stepUp(max(e.CPULimit, e.CPU/(l.CPU*l.Release)), cpuStep))
	}
	if e.MemoryLimit > 0 {
		r.Memory = fmt.Sprintf("%.0fMi", stepUp(max(e.MemoryLimit, e.Memory/(l.Memory*l.Release)), memoryStep)/(1<<20))
	}
	r.Reason = fmt.Sprintf("demand of up to %.2f cores and %.0f MiB under limits of %.2f cores and %.0f MiB; last short of %s",
		e.CPU, e.Memory/(1<<20), e.CPULimit, e.MemoryLimit/(1<<20), e.Reason)
	return r
}

// stepUp rounds up to a multiple of a step; what is a hair above one counts as it.
func stepUp(v, step float64) float64 { return math.Ceil(v/step-1e-9) * step }
