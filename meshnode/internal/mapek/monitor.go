package mapek

import (
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/event"
)

// PeerView is what Monitor knows of a peer.
type PeerView struct {
	Met       bool // reachable at some time and not gone since
	Suspected bool
	Reachable bool
	Verified  bool // attested since it was last met or returned
	Failures  int  // attestations failed in a row
	Slow      bool // round trips take too long
	// turned is since when round trips say the opposite of Slow; zero if the
	// newest one agrees with it.
	turned time.Time
}

// sample is one verdict on an attestation.
type sample struct {
	at time.Time
	ok bool
}

// View is Monitor's memory.
type View struct {
	Peers   map[string]*PeerView
	samples []sample
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

// failures returns how many attestations of the last minute failed, and of how
// many.
func (v *View) failures(now time.Time) (failed, total int) {
	i := 0
	for i < len(v.samples) && now.Sub(v.samples[i].at) > rateWindow {
		i++
	}
	v.samples = v.samples[max(i, len(v.samples)-maxSamples):]
	for _, s := range v.samples {
		if !s.ok {
			failed++
		}
	}
	return failed, len(v.samples)
}

// roundTrip notes a round trip and reports whether the peer turned slow or
// normal: when every one of the policy's time said so. A single one that does
// not (a machine that was busy) begins the time anew.
func (p *PeerView) roundTrip(policy *Policy, s Signal) bool {
	if slow := s.RTT > time.Duration(policy.Latency); slow == p.Slow {
		p.turned = time.Time{}
		return false
	}
	if p.turned.IsZero() {
		p.turned = s.Time
	}
	if s.Time.Sub(p.turned) < time.Duration(policy.LatencyFor) {
		return false
	}
	p.Slow, p.turned = !p.Slow, time.Time{}
	return true
}

// Monitor notes signals in the view and returns the changes of condition among
// them. A signal that repeats what is known is no symptom.
func Monitor(policy *Policy, v *View, signals []Signal) []Symptom {
	var symptoms []Symptom
	for _, s := range signals {
		p := v.peer(s.Peer)
		add := func(kind string) {
			symptoms = append(symptoms, Symptom{Kind: kind, Peer: s.Peer, Time: s.Time, Since: s.Since, SeenBy: s.SeenBy, Failures: p.Failures})
		}
		switch s.Kind {
		case Met:
			if !p.Met {
				p.Met, p.Reachable = true, true
				add(event.PeerReachable)
			}
		case Suspected:
			p.Suspected = true
		case Cleared:
			p.Suspected = false
		case Unreachable:
			p.Suspected = false
			if p.Met && p.Reachable {
				p.Reachable, p.Verified = false, false
				add(event.PeerUnreachable)
			}
		case Returned:
			if p.Met && !p.Reachable {
				p.Reachable, p.Verified = true, false
				add(event.PeerReturned)
			}
		case Restarted:
			p.Verified = false
			add(event.PeerRestarted)
		case Gone:
			if p.Met {
				add(event.PeerLeft)
			}
			delete(v.Peers, s.Peer)
		case Verified:
			v.samples = append(v.samples, sample{s.Time, true})
			p.Failures = 0
			// A signature that was under way when the peer fell silent says
			// nothing about now.
			if !p.Verified && (p.Reachable || !p.Met) {
				p.Verified = true
				add(event.SessionVerified)
			}
		case VerificationFailed:
			v.samples = append(v.samples, sample{s.Time, false})
			p.Failures++
			p.Verified = false
			add(event.SessionFailed)
		case RoundTrip:
			if p.Met && p.roundTrip(policy, s) {
				kind := event.LatencyNormal
				if p.Slow {
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
	return symptoms
}
