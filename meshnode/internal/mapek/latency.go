package mapek

import (
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// roundTrips sums up the round trips of a link.
type roundTrips struct {
	typical time.Duration // smoothed, of those that are not too long
	sum     time.Duration // of those that are, in this episode
	count   int
}

// typicalGain is the gain of the smoothed typical round trip (RFC 6298).
const typicalGain = 1.0 / 8

// sample notes a round trip and whether it is too long; slow is whether the link is
// in an episode of that.
func (t *roundTrips) sample(rtt time.Duration, high, slow bool) {
	switch {
	case high:
		t.sum += rtt
		t.count++
	case slow: // perhaps the end
	case t.typical == 0:
		t.typical, t.sum, t.count = rtt, 0, 0
	default:
		t.typical += time.Duration(typicalGain * float64(rtt-t.typical))
		t.sum, t.count = 0, 0
	}
}

// mean is that of the round trips that are too long.
func (t *roundTrips) mean() time.Duration {
	if t.count == 0 {
		return 0
	}
	return t.sum / time.Duration(t.count)
}

// slow files a peer whose round trips take too long: one incident at a time for
// all of them.
func (c *Cases) slow(now time.Time, s Symptom) Finding {
	i, moment := c.find(metric.LatencySLO, ""), extended
	if i == nil {
		i, moment = c.add(&Incident{Type: metric.LatencySLO, Since: s.Since, Opened: now}), Opened
	}
	i.last = s.Time
	i.Subjects[s.Peer] = &Subject{Typical: s.Typical, Episode: s.Episode}
	return Finding{Moment: moment, Incident: i, Peers: []string{s.Peer}}
}

// normal takes a peer out of the incident, which is over with the last one. A
// peer that cannot be reached is no matter of latency any more.
func (c *Cases) normal(now time.Time, s Symptom) []Finding {
	i := c.find(metric.LatencySLO, s.Peer)
	if i == nil {
		return nil
	}
	findings := []Finding{{Moment: PeerReturned, Incident: i, Peers: []string{s.Peer}}}
	sub := i.Subjects[s.Peer]
	sub.Verified, sub.Episode = true, max(sub.Episode, s.Episode)
	if i.settled() {
		findings = append(findings, c.resolve(now, i))
	}
	return findings
}
