package mapek

import (
	"slices"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/internal/mutant"
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
	sub.Verified, sub.Session = false, s.Session
	i.last, i.told = s.Time, false
	acting := c.acting(i, s.Peer)
	acting.Subjects[s.Peer].Session = s.Session
	if sub.Failures == p.Failures {
		findings = append(findings, Finding{Moment: Repeated, Incident: acting, Peers: []string{s.Peer}})
		if mutant.RotateDuringAttack {
			findings = append(findings, Finding{Moment: Quiet, Incident: acting, Peers: []string{s.Peer}})
		}
	}
	return findings
}

// proven notes that a failure was the peer's own doing.
func (c *Cases) proven(s Symptom) {
	if i := c.find(metric.VerificationFailed, s.Peer); i != nil {
		i.Subjects[s.Peer].Proven = true
		c.acting(i, s.Peer).Subjects[s.Peer].Proven = true
	}
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
// and ends it when the peer has been verified since, or is no member: of one that has
// left, a verdict may come late, and nothing after it.
func (c *Cases) calm(now time.Time, p *Policy, v *View, i *Incident) []Finding {
	if i.Type != metric.VerificationFailed || now.Sub(i.last) < time.Duration(p.Quiet) {
		return nil
	}
	var findings []Finding
	if !i.told {
		i.told = true
		for _, peer := range i.Peers() {
			s, acting := i.Subjects[peer], c.acting(i, peer)
			// Where the rate is high every failure has cost the keys their trust.
			if s.Failures < p.Failures && acting == i {
				continue
			}
			s.Failures, s.Proven = 0, false // those of the session that follows count anew
			if mutant.RotateDuringAttack {
				continue
			}
			acting.Subjects[peer].Proven = false
			findings = append(findings, Finding{Moment: Quiet, Incident: acting, Peers: []string{peer}})
		}
	}
	stranger := func(peer string) bool { return v.Peers[peer] == nil || !v.Peers[peer].Met }
	if i.settled() || !slices.ContainsFunc(i.Peers(), func(peer string) bool { return !stranger(peer) }) {
		findings = append(findings, c.resolve(now, i))
	}
	return findings
}

// failing files a peer whose attestations fail too often: one incident per episode,
// whoever joins it. It takes over from verification_failed what is to be done
// about the peer.
func (c *Cases) failing(now time.Time, s Symptom) []Finding {
	i, moment := c.find(metric.HighFailureRate, ""), extended
	if i == nil || mutant.IncidentPerSample {
		i, moment = c.add(&Incident{Type: metric.HighFailureRate, Since: s.Since, Opened: now}), Opened
	}
	i.Subjects[s.Peer] = &Subject{Session: s.Session, Failures: s.Share.failed}
	if before := c.find(metric.VerificationFailed, s.Peer); before != nil {
		i.Subjects[s.Peer].Proven = before.Subjects[s.Peer].Proven
	}
	return []Finding{{Moment: moment, Incident: i, Peers: []string{s.Peer}}}
}

// sound ends the incident when the attestations of none of its peers fail any more.
func (c *Cases) sound(now time.Time, s Symptom) []Finding {
	i := c.find(metric.HighFailureRate, s.Peer)
	if i == nil {
		return nil
	}
	i.Subjects[s.Peer].Verified = true
	if !i.settled() {
		return nil
	}
	return []Finding{c.resolve(now, i)}
}

// acting returns the incident under which something is done about the failures of
// a peer: that of its high failure rate if there is one, for it is the worse.
func (c *Cases) acting(i *Incident, peer string) *Incident {
	if high := c.find(metric.HighFailureRate, peer); high != nil {
		return high
	}
	return i
}
