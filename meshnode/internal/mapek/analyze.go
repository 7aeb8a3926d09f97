package mapek

import (
	"slices"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// Analyze groups symptoms into incidents and returns what became of them. It
// must also be called without symptoms, for time alone can decide a case.
//
// Peers that fall silent within policy.Settle of each other, or within
// policy.Correlate of an open incident's last one, belong together, for a fault
// reaches the peers one after the other:
//
//	two or more, or all that this node knows   network_partition
//	one, and another peer still hears it       link_failure
//	one, and no other peer hears it            node_crash
//	one, said to be heard, and nothing comes   node_crash, as soon as that is clear:
//	by relay                                   a witness can lie
//	one, back with a new incarnation           node_crash, at once: what others hear
//	                                           may be the successor
//
// A lone peer is judged after policy.Settle, or at once if another hears it and
// no one else is suspected: every wait delays the way around the link. An
// incident that turns out to be worse changes its type and keeps its id.
func Analyze(now time.Time, p *Policy, v *View, c *Cases, symptoms []Symptom) []Finding {
	var findings []Finding
	for _, s := range symptoms {
		switch s.Kind {
		case event.PeerUnreachable:
			findings = append(findings, c.fell(p, s)...)
		case event.PeerMute:
			findings = append(findings, c.muted(s)...)
		case event.PeerRestarted:
			findings = append(findings, c.restarted(now, p, s)...)
		case event.PeerReturned, event.PeerLeft, event.SessionVerified:
			if s.Kind == event.PeerLeft {
				delete(c.back, s.Peer)
			}
			findings = append(findings, c.recovered(now, s)...)
		case event.SessionFailed:
			findings = append(findings, c.failed(now, p, s)...)
		case event.FailuresHigh:
			findings = append(findings, c.failing(now, s)...)
		case event.FailuresNormal:
			findings = append(findings, c.sound(now, s)...)
		case event.ProvenBad:
			c.proven(s)
		}
		switch s.Kind {
		case event.LatencyHigh:
			findings = append(findings, c.slow(now, s))
		case event.LatencyNormal, event.PeerUnreachable, event.PeerLeft:
			findings = append(findings, c.normal(now, s)...)
		case event.ConditionRaised:
			findings = append(findings, c.raised(now, s)...)
		case event.ConditionEnded:
			findings = append(findings, c.ended(now, s)...)
		case event.ResourcesShort:
			findings = append(findings, c.strained(now, s)...)
		case event.ResourcesNormal:
			findings = append(findings, c.rested(now, s)...)
		}
	}
	findings = append(findings, c.level(now, v)...)
	for _, i := range slices.Clone(c.open) {
		if i.Type == "" || connectivity(i.Type) {
			findings = append(findings, c.classify(now, p, v, i)...)
		} else {
			findings = append(findings, c.calm(now, p, v, i)...)
			findings = append(findings, c.lasts(now, p, i)...)
		}
	}
	return findings
}

// fell files a peer that became unreachable.
func (c *Cases) fell(p *Policy, s Symptom) []Finding {
	i := c.silence(s.Peer)
	for _, o := range slices.Backward(c.open) {
		if i == nil && (o.Type == "" || connectivity(o.Type) && s.Time.Sub(o.last) <= time.Duration(p.Correlate)) {
			i = o
		}
	}
	if i == nil {
		i = c.add(&Incident{Since: s.Since, due: s.Time.Add(time.Duration(p.Settle))})
	}
	i.last = s.Time
	i.Subjects[s.Peer] = &Subject{Unreachable: true, SeenBy: s.SeenBy}
	if i.Type == "" {
		return nil
	}
	return []Finding{{Moment: extended, Incident: i, Peers: []string{s.Peer}}}
}

// restarted files a peer that came back with a new incarnation and without a
// goodbye. It crashed, and what it held in memory is gone. If it was missed, there
// is or was an incident, and a failed link turns out to be a crash: who heard the peer
// heard its successor. If that incident is over already, the crash is another.
func (c *Cases) restarted(now time.Time, p *Policy, s Symptom) []Finding {
	for _, i := range c.open {
		sub := i.Subjects[s.Peer]
		if sub == nil || i.Type != "" && !connectivity(i.Type) {
			continue
		}
		sub.Verified = false
		if !s.Missed || len(i.Subjects) > 1 || i.Type != "" && i.Type != metric.LinkFailure {
			return nil
		}
		i.Type = metric.NodeCrash
		if i.Opened.IsZero() {
			i.Opened = now
		}
		return []Finding{{Moment: Opened, Incident: i, Peers: i.Peers()}}
	}
	if back, ok := c.back[s.Peer]; s.Missed && (!ok || now.Sub(back) > time.Duration(p.Correlate)) {
		return nil
	}
	i := c.add(&Incident{Type: metric.NodeCrash, Since: s.Since, Opened: now, last: s.Time})
	i.Subjects[s.Peer] = &Subject{}
	return []Finding{{Moment: Opened, Incident: i, Peers: i.Peers()}, {Moment: PeerReturned, Incident: i, Peers: i.Peers()}}
}

// recovered notes that a peer is back, verified, or no member any more.
func (c *Cases) recovered(now time.Time, s Symptom) []Finding {
	var findings []Finding
	for _, i := range slices.Clone(c.open) {
		sub := i.Subjects[s.Peer]
		if sub == nil || i.Type == metric.LatencySLO || i.Type == metric.HighFailureRate && s.Kind != event.PeerLeft {
			continue
		}
		switch s.Kind {
		case event.PeerLeft:
			delete(i.Subjects, s.Peer)
		case event.PeerReturned:
			sub.Unreachable = false
			if i.Type == "" {
				c.back[s.Peer] = now
				delete(i.Subjects, s.Peer) // it was shorter than what counts as an incident
			} else if connectivity(i.Type) {
				findings = append(findings, Finding{Moment: PeerReturned, Incident: i, Peers: []string{s.Peer}})
			}
		case event.SessionVerified:
			sub.Verified = true
		}
		switch {
		case i.Type == "" && len(i.Subjects) == 0:
			c.drop(i)
		case (connectivity(i.Type) || i.Type == metric.HighFailureRate) && i.settled():
			findings = append(findings, c.resolve(now, i))
		}
	}
	return findings
}

func (c *Cases) resolve(now time.Time, i *Incident) Finding {
	i.Resolved = now
	if i.Type == metric.LinkFailure {
		for peer := range i.Subjects {
			c.back[peer] = now
		}
	}
	c.drop(i)
	return Finding{Moment: Over, Incident: i, Peers: i.Peers()}
}

// classify decides what an incident of silent peers is.
func (c *Cases) classify(now time.Time, p *Policy, v *View, i *Incident) []Finding {
	n := i.unreachable()
	var typ string
	switch {
	case n >= 2 || n >= 1 && n == v.met():
		typ = metric.NetworkPartition
	case i.Type != "" || n == 0:
		return nil
	case now.Before(i.due) && !i.seen(), v.suspects() && now.Before(i.due.Add(time.Duration(p.Settle))):
		return nil // others may follow
	default:
		typ = metric.NodeCrash
		if i.seen() {
			typ = metric.LinkFailure
		}
	}
	if i.Type == typ {
		return nil
	}
	i.Type = typ
	if i.Opened.IsZero() {
		i.Opened = now
	}
	return []Finding{{Moment: Opened, Incident: i, Peers: i.unwell()}}
}
