package mapek

import (
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// slow files a peer whose round trips take too long: one incident at a time for
// all of them.
func (c *Cases) slow(now time.Time, s Symptom) Finding {
	i, moment := c.find(metric.LatencySLO, ""), extended
	if i == nil {
		i, moment = c.add(&Incident{Type: metric.LatencySLO, Since: s.Since, Opened: now}), Opened
	}
	i.last = s.Time
	i.Subjects[s.Peer] = &Subject{}
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
	i.Subjects[s.Peer].Verified = true
	if i.settled() {
		findings = append(findings, c.resolve(now, i))
	}
	return findings
}
