package detect

import (
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
)

// Tick sends heartbeats and judges silence. It must be called at least every
// 100 ms; what is later counts as a stall of this node, and only after the
// messages that wait have been given to Receive.
func (d *Detector) Tick(now time.Time) Output {
	var out Output
	if !d.lastTick.IsZero() {
		if stall := now.Sub(d.lastTick) - maxTick; stall > 0 {
			d.excuse(now, stall)
		}
	}
	d.lastTick = now
	for _, name := range d.order {
		p := d.peers[name]
		p.excuse(now)
		switch p.status {
		case Reachable:
			if now.Sub(p.lastHeard) >= d.suspicion(now, p) {
				d.suspect(now, p, &out)
			}
		case Suspect:
			if now.Sub(p.suspectAt) >= d.cfg.ProbeTimeout {
				d.change(now, p, Unreachable, &out)
			}
		}
		if !now.Before(p.nextBeat) {
			d.beat(now, p, heartbeat{}, &out)
		}
	}
	return out
}

// excuse moves everyone's last sign of life forward by a stall of our own.
func (d *Detector) excuse(now time.Time, stall time.Duration) {
	for _, p := range d.peers {
		p.lastHeard = earlier(p.lastHeard.Add(stall), now)
		p.lastEcho = earlier(p.lastEcho.Add(stall), now)
		p.suspectAt = earlier(p.suspectAt.Add(stall), now)
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// suspect asks the suspected peer itself and others about it.
func (d *Detector) suspect(now time.Time, p *peer, out *Output) {
	d.change(now, p, Suspect, out)
	p.suspectAt, p.probeID, p.seenBy = now, d.cfg.Rand.Uint64(), nil
	d.beat(now, p, heartbeat{}, out)
	var helpers []string
	for _, name := range d.order {
		if name != p.name && d.peers[name].status == Reachable {
			helpers = append(helpers, name)
		}
	}
	d.cfg.Rand.Shuffle(len(helpers), func(i, j int) { helpers[i], helpers[j] = helpers[j], helpers[i] })
	question := probe{id: p.probeID, target: p.name}
	p.asked = helpers[:min(len(helpers), d.cfg.Indirect)]
	for _, name := range p.asked {
		out.Send = append(out.Send, Message{To: name, Type: frame.ProbeRequest, Payload: question.encode()})
	}
}

// beat sends a heartbeat and plans the next one.
func (d *Detector) beat(now time.Time, p *peer, h heartbeat, out *Output) {
	p.seq++
	i := p.seq % window
	p.sent[i], p.echoed[i], p.void[i] = now, false, false
	p.nextBeat = now.Add(d.cfg.Interval)
	h.incarnation, h.seq = d.cfg.Incarnation, p.seq
	out.Send = append(out.Send, Message{To: p.name, Type: frame.Heartbeat, Payload: h.encode()})
}
