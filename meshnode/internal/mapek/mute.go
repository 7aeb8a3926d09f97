package mapek

import "github.com/x0tta6bl4/mesh/meshnode/metric"

// muted makes a crash of a failed link over whose relays nothing comes: that others hear
// the peer is what they say, and what it sends end to end is proof.
func (c *Cases) muted(s Symptom) []Finding {
	for _, i := range c.open {
		if sub := i.Subjects[s.Peer]; sub == nil || !sub.Unreachable || i.Type != metric.LinkFailure {
			continue
		}
		i.Type = metric.NodeCrash
		return []Finding{{Moment: Opened, Incident: i, Peers: i.Peers()}}
	}
	return nil
}
