package mapek

import (
	"slices"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/internal/mutant"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// Threat is a peer whose attestations failed too often. Somebody on the path can have
// a peer listed, by spoiling what it sends; but nobody else can have it blocked:
// only times of which it is proven that the peer itself signed wrongly are strikes.
type Threat struct {
	Peer    string `json:"peer"`
	Type    string `json:"type,omitempty"` // of the worst incident
	Count   int    `json:"count"`          // attestations that failed, as far as they are known
	Strikes int    `json:"strikes"`        // times that its failures reached the policy's limit in a row, by its own doing
	// First is when it was listed, Last when its failures last reached a limit.
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	// Until is when its block ends; zero if it was never blocked.
	Until time.Time `json:"blocked_until"`
}

// maxThreats bounds the list: the one that was quiet for longest gives way, those
// that are blocked last.
const maxThreats = 256

// Blocked returns the peers that are blocked at a time.
func (k *Knowledge) Blocked(now time.Time) []Threat {
	return slices.DeleteFunc(slices.Clone(k.Threats), func(t Threat) bool { return !now.Before(t.Until) })
}

// Recall takes back what lies too far ahead: the clock may have been set back since it was
// written down, and nothing is planned for a peer that is blocked.
func (k *Knowledge) Recall(now time.Time, p *Policy) {
	end := now.Add(time.Duration(p.Block))
	for i := range k.Threats {
		t := &k.Threats[i]
		if t.Until.After(end) {
			t.Until = end
		}
		if t.Last.After(now) {
			t.Last = now
		}
	}
}

// blocked reports whether a peer is blocked at a time.
func (k *Knowledge) blocked(now time.Time, peer string) bool {
	t := k.threat(peer)
	return t != nil && now.Before(t.Until)
}

func (k *Knowledge) threat(peer string) *Threat {
	if i := slices.IndexFunc(k.Threats, func(t Threat) bool { return t.Peer == peer }); i >= 0 {
		return &k.Threats[i]
	}
	return nil
}

// proven reports whether a finding's incident holds a proof that what failed was a
// peer's own doing.
func (f *Finding) proven(peer string) bool {
	s := f.Incident.Subjects[peer]
	return s != nil && s.Proven
}

// list returns the entry of a peer whose failures have reached a limit, and makes
// one if there is none.
func (k *Knowledge) list(now time.Time, p *Policy, f Finding, peer string) *Threat {
	t := k.threat(peer)
	if t == nil {
		entry := Threat{Peer: peer, First: now}
		if s := f.Incident.Subjects[peer]; s != nil { // it may have left in the same step
			entry.Count = s.Failures
		}
		k.Threats = append(k.Threats, entry)
		t = &k.Threats[len(k.Threats)-1]
	}
	if now.Sub(t.Last) > time.Duration(p.StrikeWindow) {
		t.Strikes = 0
	}
	if t.Type != metric.HighFailureRate {
		t.Type = f.Incident.Type
	}
	t.Last = now
	return t
}

// forgive drops what has expired, and what is too much.
func (k *Knowledge) forgive(now time.Time, p *Policy) {
	k.Threats = slices.DeleteFunc(k.Threats, func(t Threat) bool {
		return now.Sub(t.Last) > time.Duration(p.StrikeWindow) && !now.Before(t.Until)
	})
	k.boundThreats()
}

func (k *Knowledge) boundThreats() {
	for len(k.Threats) > maxThreats {
		oldest := 0
		for i, t := range k.Threats {
			o := k.Threats[oldest]
			if t.Until.Before(o.Until) || t.Until.Equal(o.Until) && t.Last.Before(o.Last) {
				oldest = i
			}
		}
		k.Threats = slices.Delete(k.Threats, oldest, oldest+1)
	}
}

// count counts the failed attestations of peers that are listed.
func (k *Knowledge) count(symptoms []Symptom) {
	for _, s := range symptoms {
		if t := k.threat(s.Peer); s.Kind == event.SessionFailed && t != nil {
			t.Count++
		}
	}
}

// relapses adds the moment Relapsed for the peers that reach the limit of
// failures for the policy's number of times.
func (k *Knowledge) relapses(now time.Time, p *Policy, findings []Finding) []Finding {
	all := findings
	for _, f := range findings {
		if f.Moment != Repeated {
			continue
		}
		peers := slices.DeleteFunc(slices.Clone(f.Peers), func(peer string) bool {
			t := k.threat(peer)
			before := 0
			if t != nil && now.Sub(t.Last) <= time.Duration(p.StrikeWindow) {
				before = t.Strikes
			}
			return before+1 < p.Strikes || !f.proven(peer)
		})
		if len(peers) > 0 {
			all = append(slices.Clip(all), Finding{Moment: Relapsed, Incident: f.Incident, Peers: peers})
		}
	}
	return all
}

// learnThreats notes strikes and blocks, and reports whether there were any.
func (k *Knowledge) learnThreats(now time.Time, p *Policy, findings []Finding, ended []Outcome) bool {
	learned := false
	for _, f := range findings {
		high := f.Incident.Type == metric.HighFailureRate && (f.Moment == Opened || f.Moment == extended)
		if !high && f.Moment != Repeated || mutant.ForgetAttacker {
			continue
		}
		for _, peer := range f.Peers {
			t := k.list(now, p, f, peer)
			if f.Moment == Repeated && f.proven(peer) {
				t.Strikes++
			}
			learned = true
		}
	}
	for _, o := range ended {
		if t := k.threat(o.Peer); o.Name == metric.BlockPeer && o.Err == nil && t != nil {
			t.Until = o.Started.Add(time.Duration(p.Block))
		}
	}
	k.forgive(now, p)
	return learned
}

// Threatens reports whether a peer is on the list of threats.
func (l *Loop) Threatens(peer string) bool {
	return slices.ContainsFunc(l.cfg.Knowledge.Threats, func(t Threat) bool { return t.Peer == peer })
}
