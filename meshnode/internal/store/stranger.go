package store

import (
	"slices"
	"time"
)

const (
	// rootsSettle is how far apart nodes learn that a root has come or was taken away, with
	// a margin: kubelets take some 2 minutes to show a trust bundle to all pods.
	rootsSettle = 5 * time.Minute
	// maxStrange bounds the spans of refused records that are kept of one peer. What one
	// root's members signed takes about one span for each of their stores.
	maxStrange = 4096
)

// strangers is what peers hand over that is signed under roots which are not known here. The
// records are not taken. As long as the trust is what it is they count as if they were here
// when stores are compared, and are not asked for again: per peer, so that what one makes up
// keeps nothing of another away.
//
// A peer may know another trust bundle for a while, before this node or after it. Who is not
// excused by a change within rootsSettle, before or after, signs under a root of his own.
type strangers struct {
	trust any
	since time.Time // the trust is what it is
	peers map[string]*stranger
}

type stranger struct {
	refused Vector
	spans   int
	first   time.Time // of what nothing excuses so far; zero: none
	why     error
	guilty  bool
}

// follow forgets what was refused under another trust.
func (s *strangers) follow(now time.Time, trust any) {
	if s.peers == nil || s.trust != trust {
		*s = strangers{trust: trust, since: now, peers: map[string]*stranger{}}
	}
}

// refuse notes that a record of a peer was not taken. It reports whether it is the first time,
// and whether the peer is to blame now.
func (s *strangers) refuse(now time.Time, peer string, p position, why error) (fresh, guilty bool) {
	g := s.peers[peer]
	if g == nil {
		g = &stranger{refused: Vector{}}
		s.peers[peer] = g
	}
	if e := g.refused[p.origin]; !e.holds(p.seq) && g.spans < maxStrange {
		g.refused[p.origin] = e.with(p.seq)
		g.spans += len(g.refused[p.origin]) - len(e)
		fresh = true
	}
	if g.first.IsZero() && now.Sub(s.since) >= rootsSettle {
		g.first, g.why = now, why
	}
	return fresh, g.guilty
}

// convict returns the peers that nothing has excused in time, and why, each once.
func (s *strangers) convict(now time.Time) map[string]error {
	guilty := map[string]error{}
	for peer, g := range s.peers {
		if !g.guilty && !g.first.IsZero() && now.Sub(g.first) >= rootsSettle {
			g.guilty = true
			guilty[peer] = g.why
		}
	}
	return guilty
}

// of returns a copy of what was refused of a peer.
func (s *strangers) of(peer string) Vector {
	g := s.peers[peer]
	if g == nil {
		return nil
	}
	v := make(Vector, len(g.refused))
	for origin, e := range g.refused {
		v[origin] = slices.Clone(e)
	}
	return v
}

// withStrangers has f look at what was refused of peers under the trust as it is now, under
// r.mu.
func (r *Replicator) withStrangers(f func(now time.Time, s *strangers)) {
	trust := r.store.currentTrust()
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.strangers.follow(now, trust)
	f(now, &r.strangers)
}

// refusedOf returns what a peer need not send again.
func (r *Replicator) refusedOf(peer string) (refused Vector) {
	r.withStrangers(func(_ time.Time, s *strangers) { refused = s.of(peer) })
	return refused
}

// wants reports whether a peer's summary names what is neither here nor refused.
func (r *Replicator) wants(peer string, s *summary) bool {
	return r.store.Vector().lacks(s, r.refusedOf(peer))
}

// strange refuses a record under an unknown root. It reports whether that was not known yet.
func (r *Replicator) strange(rec *received, why error) (fresh bool) {
	guilty := false
	r.withStrangers(func(now time.Time, s *strangers) {
		fresh, guilty = s.refuse(now, rec.from, rec.position(), why)
	})
	if guilty {
		r.peers.Refused(rec.from, why)
	} else {
		r.logger.Debug("record under an unknown root", "peer", rec.from, "error", why)
	}
	return fresh
}

// convict tells of the peers that sign under roots of their own.
func (r *Replicator) convict() {
	var guilty map[string]error
	r.withStrangers(func(now time.Time, s *strangers) { guilty = s.convict(now) })
	for peer, why := range guilty {
		r.peers.Refused(peer, why)
	}
}
