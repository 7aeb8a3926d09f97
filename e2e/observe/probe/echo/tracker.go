package echo

import "time"

// maxOutstanding bounds what a tracker remembers of unanswered requests; only
// the oldest decides, so forgetting the rest loses nothing.
const maxOutstanding = 64

// tracker follows one peer. It has no clock of its own: its methods take the
// time, and each tells whether the peer changed by it.
type tracker struct {
	peer        string
	known       bool // a first verdict was reached
	up          bool
	outstanding []time.Time // sending times of unanswered requests, oldest first
	lastReply   time.Time
	heard       time.Time // when the peer's last request arrived
	rtt         time.Duration
	sent        uint64
	answered    uint64
}

// change is a transition of a peer.
type change struct {
	up bool
	at time.Time
}

// request notes that a request was sent at t.
func (k *tracker) request(t time.Time) {
	k.sent++
	if len(k.outstanding) < maxOutstanding {
		k.outstanding = append(k.outstanding, t)
	}
}

// reply notes that the answer to the request of time sent arrived at t.
func (k *tracker) reply(sent, t time.Time) (change, bool) {
	k.answered++
	k.rtt = t.Sub(sent)
	k.lastReply = t
	// Requests before the answered one were lost or overtaken: either way
	// the path is open now.
	n := 0
	for n < len(k.outstanding) && !k.outstanding[n].After(sent) {
		n++
	}
	k.outstanding = append(k.outstanding[:0], k.outstanding[n:]...)
	if k.up {
		return change{}, false
	}
	k.known, k.up = true, true
	return change{up: true, at: sent}, true
}

// check looks at the clock: a peer is down when its oldest unanswered request
// and its last reply are both at least Silence old.
func (k *tracker) check(t time.Time) (change, bool) {
	if k.known && !k.up {
		return change{}, false
	}
	if len(k.outstanding) == 0 || t.Sub(k.outstanding[0]) < Silence || t.Sub(k.lastReply) < Silence {
		return change{}, false
	}
	at := k.lastReply
	if at.IsZero() { // never answered at all
		at = k.outstanding[0]
	}
	k.known, k.up = true, false
	return change{at: at}, true
}

func (k *tracker) state() PeerState {
	return PeerState{Peer: k.peer, Up: k.up, RTT: k.rtt, Heard: k.heard, Sent: k.sent, Answered: k.answered}
}
