package mapek

import (
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// failed files an attestation that did not verify.
func (c *Cases) failed(now time.Time, p *Policy, s Symptom) []Finding {
	var findings []Finding
	i := c.find(metric.VerificationFailed, s.Peer)
	if i == nil {
		i = c.add(&Incident{Type: metric.VerificationFailed, Since: s.Time, Opened: now})
		i.Subjects[s.Peer] = &Subject{}
		findings = append(findings, Finding{Moment: Opened, Incident: i, Peers: []string{s.Peer}})
	}
	sub := i.Subjects[s.Peer]
	sub.Failures++
	sub.Verified = false
	i.last, i.told = s.Time, false
	if sub.Failures == p.Failures {
		findings = append(findings, Finding{Moment: Repeated, Incident: i, Peers: []string{s.Peer}})
	}
	return findings
}

// find returns the open incident of a type about a peer; any peer if empty.
func (c *Cases) find(typ, peer string) *Incident {
	for _, i := range c.open {
		if i.Type == typ && (peer == "" || i.Subjects[peer] != nil) {
			return i
		}
	}
	return nil
}

// calm notes when an incident of failed attestations has seen no more of them,
// and ends it when the peer has been verified since.
func (c *Cases) calm(now time.Time, p *Policy, i *Incident) []Finding {
	if i.Type != metric.VerificationFailed || now.Sub(i.last) < time.Duration(p.Quiet) {
		return nil
	}
	var findings []Finding
	if !i.told {
		i.told = true
		repeated := false
		for _, s := range i.Subjects {
			if s.Failures >= p.Failures {
				repeated = true
				s.Failures = 0 // those of the session that follows count anew
			}
		}
		if repeated {
			findings = append(findings, Finding{Moment: Quiet, Incident: i, Peers: i.Peers()})
		}
	}
	if i.settled() {
		findings = append(findings, c.resolve(now, i))
	}
	return findings
}

// rate opens and ends the incident of a high failure rate, which is about the
// peers whose attestations fail too often: one per episode, whoever joins it. It
// ends when every peer is at half the rate that opens it, for while an attack
// goes on and its sessions come and go the rate swings around any one limit.
func (c *Cases) rate(now time.Time, p *Policy, v *View) []Finding {
	i := c.find(metric.HighFailureRate, "")
	var high []string
	calm := true
	for peer, n := range v.shares(now) {
		if n.failed >= p.RateMin && float64(n.failed) > p.Rate*float64(n.total) {
			high = append(high, peer)
		}
		calm = calm && float64(n.failed) <= p.Rate/2*float64(n.total)
	}
	switch {
	case len(high) > 0 && i == nil:
		i = c.add(&Incident{Type: metric.HighFailureRate, Since: now, Opened: now})
		for _, peer := range high {
			i.Subjects[peer] = &Subject{}
		}
		return []Finding{{Moment: Opened, Incident: i, Peers: i.Peers()}}
	case i != nil && calm:
		return []Finding{c.resolve(now, i)}
	}
	return nil
}
