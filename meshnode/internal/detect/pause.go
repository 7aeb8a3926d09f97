package detect

import "time"

// pauseNotices is how often the peer is told of a pause: there is no answer, and no
// later time to tell it again.
const pauseNotices = 3

// Pause is called before this node ends the session with a peer by its own decision, to
// make a new one later. Neither end hears the other then, and neither is to take
// that for a failure: the peer learns of it by the heartbeats that are returned, which
// are to be sent on the old session. The pause ends with Resume, and after Config.Pause
// in any case. From then on silence counts, so that a peer that dies meanwhile is
// found, only later by the length of the pause.
func (d *Detector) Pause(now time.Time, name string) Output {
	var out Output
	p := d.peers[name]
	if p == nil {
		return out
	}
	for range pauseNotices {
		d.beat(now, p, heartbeat{pausing: true}, &out)
	}
	d.pause(now, p, &out)
	return out
}

// Resume ends a pause: there is a session with the peer again.
func (d *Detector) Resume(now time.Time, name string) {
	if p := d.peers[name]; p != nil && !p.paused.IsZero() {
		p.excuse(now)
		p.paused = time.Time{}
	}
}

func (d *Detector) pause(now time.Time, p *peer, out *Output) {
	if p.status == Suspect {
		d.change(now, p, Reachable, out)
	}
	p.paused = now.Add(d.cfg.Pause)
	p.excuse(now)
}

// excuse makes a paused peer's silence begin at now, or at the end of the pause if that
// has passed. The link's quality counts heartbeats from then, too.
func (p *peer) excuse(now time.Time) {
	if p.paused.IsZero() {
		return
	}
	if p.status == Reachable {
		p.lastHeard = earlier(p.paused, now)
		p.lastEcho = p.lastHeard
		p.since = p.seq
	}
	if !now.Before(p.paused) {
		p.paused = time.Time{}
	}
}
