package detect

import (
	"fmt"
	"slices"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
)

// Receive handles an opened control frame from a watched peer. The error is
// one of the payload's form; the peer still counts as heard, for its session
// vouches for the frame.
func (d *Detector) Receive(now time.Time, from string, t frame.Type, payload []byte) (Output, error) {
	var out Output
	p := d.peers[from]
	if p == nil {
		return out, nil
	}
	var err error
	switch t {
	case frame.Heartbeat:
		var h heartbeat
		if err = h.decode(payload); err != nil {
			break
		}
		var current bool
		if current, err = d.incarnation(now, p, h.incarnation, &out); !current {
			break
		}
		if h.leaving {
			d.left(now, p, &out)
			return out, nil
		}
		out.Send = append(out.Send, Message{To: from, Type: frame.HeartbeatEcho, Payload: echoOf(payload, d.cfg.Clock())})
		d.heard(now, p, &out)
		if h.pausing {
			d.pause(now, p, &out)
		}
	case frame.HeartbeatEcho:
		var e echo
		if err = e.decode(payload); err != nil {
			break
		}
		d.echo(now, p, e, &out)
	case frame.ProbeRequest:
		var r probe
		if err = r.decode(payload); err != nil {
			break
		}
		d.heard(now, p, &out)
		d.probeFor(now, from, r, &out)
	case frame.ProbeReply:
		var r probe
		if err = r.decode(payload); err != nil {
			break
		}
		d.heard(now, p, &out)
		if s := d.peers[r.target]; s != nil && s.status == Suspect && s.probeID == r.id && s.lives(r.incarnation) &&
			slices.Contains(s.asked, from) && now.Sub(s.suspectAt) <= d.cfg.ProbeTimeout && !slices.Contains(s.seenBy, from) {
			s.seenBy = append(s.seenBy, from)
		}
	default:
		err = fmt.Errorf("detect: frame type %#02x", uint8(t))
	}
	return out, err
}

// incarnation notes a peer's incarnation and reports whether it is current. One
// that follows another too soon is an error: nothing starts that fast.
func (d *Detector) incarnation(now time.Time, p *peer, inc uint64, out *Output) (bool, error) {
	switch {
	case inc == p.incarnation:
	case slices.Contains(p.former, inc):
		return false, nil
	case p.incarnation == 0:
		p.incarnation = inc
	case now.Sub(p.restarted) < restartPause:
		return false, fmt.Errorf("%w: started again within %v", errMessage, restartPause)
	default:
		// Nobody is surprised by one that said goodbye.
		if p.status != Unknown && !p.leaving {
			out.Changes = append(out.Changes, Change{Peer: p.name, From: p.status, To: p.status, Time: now, LastHeard: p.lastHeard, Restarted: true, Missed: p.missed})
		}
		p.rtt, p.lastRTT = 0, 0
		if p.former = append(p.former, p.incarnation); len(p.former) > maxFormer {
			p.former = p.former[1:]
		}
		p.incarnation, p.restarted = inc, now
	}
	p.missed, p.leaving = false, false
	return true, nil
}

// heard notes a sign of life. It does not make an unreachable peer reachable:
// only an echo does, because it proves both directions.
func (d *Detector) heard(now time.Time, p *peer, out *Output) {
	switch p.status {
	case Reachable:
		if gap := now.Sub(p.lastHeard); gap > p.worstGap(now) {
			p.gap, p.gapTime = min(gap, d.maxGap()), now
		}
		p.lastHeard = now
	case Suspect:
		p.gap, p.gapTime = min(now.Sub(p.lastHeard), d.maxGap()), now
		d.change(now, p, Reachable, out)
	case Unknown, Unreachable:
		// Ask at once, at most every quarter of an interval.
		if p.nextBeat.Sub(now) < d.cfg.Interval*3/4 {
			d.beat(now, p, heartbeat{}, out)
		}
	}
	d.answerRelayed(now, p.name, p.incarnation, out)
}

// echo handles the echo of one of our heartbeats.
func (d *Detector) echo(now time.Time, p *peer, h echo, out *Output) {
	if h.incarnation != d.cfg.Incarnation || h.seq == 0 || h.seq > p.seq || p.seq-h.seq >= window {
		return
	}
	i := h.seq % window
	if p.echoed[i] {
		return
	}
	if d.deaf(p) {
		// The link was cut in one direction: what was lost since is no sample of it.
		for s := h.seq - 1; s > p.since && h.seq-s < window && !p.echoed[s%window]; s-- {
			p.void[s%window] = true
		}
	}
	p.echoed[i], p.lastEcho = true, now
	if p.sent[i].After(p.answered) {
		p.answered = p.sent[i]
	}
	rtt := now.Sub(p.sent[i])
	p.lastRTT = rtt
	// The echo was under way for half of the time, give or take that half (RFC 5905, section 8).
	p.clock = Clock{Shows: h.clock.Add(rtt / 2), Error: rtt / 2, At: now}
	if p.rtt == 0 {
		p.rtt = rtt
	} else {
		p.rtt += time.Duration(rttGain * float64(rtt-p.rtt))
	}
	switch p.status {
	case Unknown, Unreachable:
		if h.seq > p.since {
			d.change(now, p, Reachable, out)
		}
	}
	d.heard(now, p, out)
}

// left handles a goodbye, also one of a peer that was not reachable yet: its
// successor must not surprise either.
func (d *Detector) left(now time.Time, p *peer, out *Output) {
	if p.status != Unknown {
		out.Changes = append(out.Changes, Change{Peer: p.name, From: p.status, To: Unknown, Time: now, LastHeard: p.lastHeard, Left: true})
	}
	p.status, p.leaving = Unknown, true
	// Late echoes of earlier heartbeats must not bring it back.
	p.since = p.seq
}

// change sets p's status. The caller gives LastHeard's meaning: before now.
func (d *Detector) change(now time.Time, p *peer, to Status, out *Output) {
	c := Change{Peer: p.name, From: p.status, To: to, Time: now, LastHeard: p.lastHeard}
	if to == Unreachable {
		c.SeenBy = slices.Clone(p.seenBy)
		p.missed = true
		p.since = p.seq
	}
	p.status = to
	if to == Reachable {
		if c.From != Suspect {
			p.since = p.seq
		}
		p.lastHeard, p.lastEcho = now, now
		p.seenBy = nil
	}
	out.Changes = append(out.Changes, c)
}

// relayedProbe is a question of another peer that waits for an answer.
type relayedProbe struct {
	requester, target string
	id                uint64
	deadline          time.Time
}

// lives reports whether who is heard in an incarnation, 0 if that is not known, is the p
// that this node knows. Another one is the successor of a p that is dead, which this node
// has not met yet: that it lives says nothing of the link.
func (p *peer) lives(incarnation uint64) bool {
	return incarnation != 0 && (p.incarnation == 0 || p.incarnation == incarnation)
}

// maxRelayed bounds the questions kept at a time.
const maxRelayed = 256

// probeFor finds out for another peer whether r.target is alive: yes if it is
// heard after the question. Silence is the negative answer.
func (d *Detector) probeFor(now time.Time, requester string, r probe, out *Output) {
	p := d.peers[r.target]
	if p == nil || p.status == Unknown || p.status == Unreachable || len(d.relayed) >= maxRelayed {
		return
	}
	d.relayed = append(d.relayed, relayedProbe{requester: requester, target: r.target, id: r.id, deadline: now.Add(d.cfg.ProbeTimeout)})
	d.beat(now, p, heartbeat{}, out)
}

// answerRelayed answers the questions about a peer that was just heard in an incarnation.
func (d *Detector) answerRelayed(now time.Time, target string, heard uint64, out *Output) {
	d.relayed = slices.DeleteFunc(d.relayed, func(r relayedProbe) bool {
		if r.target != target {
			return now.After(r.deadline)
		}
		if !now.After(r.deadline) {
			answer := probe{id: r.id, incarnation: heard, target: target}
			out.Send = append(out.Send, Message{To: r.requester, Type: frame.ProbeReply, Payload: answer.encode()})
		}
		return true
	})
}
