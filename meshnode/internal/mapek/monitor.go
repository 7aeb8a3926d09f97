package mapek

import (
	"maps"
	"slices"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/internal/mutant"
)

// PeerView is what Monitor knows of a peer.
type PeerView struct {
	Met       bool // reachable at some time and not gone since
	Suspected bool
	Reachable bool
	Verified  bool  // attested since it was last met or returned
	Failures  int   // attestations failed in a row
	slow      latch // round trips take too long
	trips     roundTrips
	mute      bool   // since it was lost nothing of it has come by relay
	failing   bool   // too large a share of attestations failed
	session   string // the one whose attestation failed last
	up        uptime
	back      time.Time // when it last was heard again after it had been lost
}

// sample is one verdict on an attestation.
type sample struct {
	peer string
	at   time.Time
	ok   bool
}

// View is Monitor's memory.
type View struct {
	Peers   map[string]*PeerView
	samples []sample
	// exhausted is this node's own condition, peak the most that was measured in it.
	exhausted latch
	peak      Load
	// conditions are the kinds of those that are on, by type and subject.
	conditions map[[2]string]string
}

// NewView returns a View that knows no peer.
func NewView() *View { return &View{Peers: make(map[string]*PeerView)} }

func (v *View) peer(name string) *PeerView {
	p := v.Peers[name]
	if p == nil {
		p = &PeerView{}
		v.Peers[name] = p
	}
	return p
}

// met counts the peers that this node knows as members.
func (v *View) met() int {
	n := 0
	for _, p := range v.Peers {
		if p.Met {
			n++
		}
	}
	return n
}

// suspects reports whether any peer is suspected at the moment.
func (v *View) suspects() bool {
	for _, p := range v.Peers {
		if p.Suspected {
			return true
		}
	}
	return false
}

// rateWindow and maxSamples bound the memory of verdicts.
const (
	rateWindow = time.Minute
	maxSamples = 4096
)

// share counts the attestations of a peer and those of them that failed.
type share struct{ failed, total int }

// shares counts the attestations of the last minute by peer.
func (v *View) shares(now time.Time) map[string]share {
	i := 0
	for i < len(v.samples) && now.Sub(v.samples[i].at) > rateWindow {
		i++
	}
	v.samples = v.samples[max(i, len(v.samples)-maxSamples):]
	all := map[string]share{}
	for _, s := range v.samples {
		t := all[s.peer]
		t.total++
		if !s.ok {
			t.failed++
		}
		all[s.peer] = t
	}
	return all
}

// rates returns the changes of peers whose attestations fail too often. The
// condition ends at half the rate that begins it, for while an attack goes on and
// its sessions come and go the rate swings around any one limit.
func (v *View) rates(now time.Time, policy *Policy) []Symptom {
	var symptoms []Symptom
	shares := v.shares(now)
	for _, name := range slices.Sorted(maps.Keys(v.Peers)) {
		p, n := v.Peers[name], shares[name]
		kind := ""
		switch {
		case (!p.failing || mutant.IncidentPerSample) && n.failed >= policy.RateMin && float64(n.failed) > policy.Rate*float64(n.total):
			kind = event.FailuresHigh
		case p.failing && float64(n.failed) <= policy.Rate/2*float64(n.total):
			kind = event.FailuresNormal
		default:
			continue
		}
		p.failing = kind == event.FailuresHigh
		symptoms = append(symptoms, Symptom{Kind: kind, Peer: name, Time: now, Since: now, Session: p.session, Share: n})
	}
	return symptoms
}

// forget drops all that is known of a peer.
func (v *View) forget(name string) {
	delete(v.Peers, name)
	v.samples = slices.DeleteFunc(v.samples, func(s sample) bool { return s.peer == name })
}

// Monitor notes signals in the view and returns the changes of condition among
// them, and those that time alone makes. A signal that repeats what is known is no
// symptom.
func Monitor(now time.Time, policy *Policy, v *View, signals []Signal) []Symptom {
	var symptoms []Symptom
	for _, s := range signals {
		if s.Kind == Loaded {
			if short, since, changed := v.loaded(&policy.Resources, s); changed {
				kind := event.ResourcesNormal
				if v.exhausted.on {
					kind = event.ResourcesShort
				}
				symptoms = append(symptoms, Symptom{Kind: kind, Peer: s.Peer, Time: s.Time, Since: since, Resource: short.resource, Reason: short.reason, Load: v.peak})
			}
			continue
		}
		if s.Kind == Conditioned {
			if symptom, changed := v.conditioned(s); changed {
				symptoms = append(symptoms, symptom)
			}
			continue
		}
		_, known := v.Peers[s.Peer]
		p := v.peer(s.Peer)
		add := func(kind string) {
			symptoms = append(symptoms, Symptom{Kind: kind, Peer: s.Peer, Time: s.Time, Since: s.Since, SeenBy: s.SeenBy, Missed: s.Missed, Failures: p.Failures, Session: s.Session,
				Typical: p.trips.typical, Episode: p.trips.mean()})
		}
		switch s.Kind {
		case Met:
			if !p.Met {
				p.Met, p.Reachable = true, true
				p.up.begin(s.Time)
				add(event.PeerReachable)
			}
		case Suspected:
			p.Suspected = true
		case Cleared:
			p.Suspected = false
		case Unreachable:
			p.Suspected = false
			if p.Met && p.Reachable {
				verified := p.Verified
				p.Reachable, p.Verified = false, false
				p.up.fell(s.Since)
				add(event.PeerUnreachable)
				if verified {
					add(event.SessionLost)
				}
			}
		case Returned:
			if p.Met && !p.Reachable {
				p.Reachable, p.Verified, p.mute, p.back = true, false, false, s.Time
				p.up.rose(s.Time)
				add(event.PeerReturned)
			}
		case Mute:
			if p.Met && !p.Reachable && !p.mute {
				p.mute = true
				add(event.PeerMute)
			}
		case Restarted:
			p.Verified = false
			if p.Met && p.Reachable && !s.Missed {
				p.back = s.Time
				p.up.fell(s.Since)
				p.up.rose(s.Time)
			}
			add(event.PeerRestarted)
		case Gone:
			// Also of one that was never met there may be an incident.
			if known {
				add(event.PeerLeft)
			}
			v.forget(s.Peer)
			v.forgetConditions(s.Peer)
		case Verified:
			v.samples = append(v.samples, sample{s.Peer, s.Time, true})
			p.Failures = 0
			// A signature that was under way when the peer fell silent says
			// nothing about now.
			if !p.Verified && (p.Reachable || !p.Met) {
				p.Verified = true
				add(event.SessionVerified)
			}
		case VerificationFailed:
			v.samples = append(v.samples, sample{s.Peer, s.Time, false})
			p.Failures++
			p.Verified, p.session = false, s.Session
			add(event.SessionFailed)
		case ProvenBad:
			add(event.ProvenBad)
		case RoundTrip:
			if !p.Met {
				break
			}
			high := s.RTT > time.Duration(policy.Latency)
			p.trips.sample(s.RTT, high, p.slow.on)
			if _, changed := p.slow.sample(s.Time, high, policy.LatencyFor); changed {
				kind := event.LatencyNormal
				if p.slow.on {
					kind = event.LatencyHigh
				}
				add(kind)
			}
		case TimedOut:
			if p.Verified {
				p.Verified = false
				add(event.SessionTimeout)
			}
		}
	}
	return append(symptoms, v.rates(now, policy)...)
}
