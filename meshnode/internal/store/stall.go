package store

import (
	"slices"
	"time"
)

const (
	// stallAfter is how long a peer may name records that are not here, without one of
	// them coming, before repair from it counts as stalled.
	stallAfter = 30 * time.Second
	// stallHeard is how long what a peer has named counts.
	stallHeard = 30 * time.Second
)

// lack is what a peer has and this store has not.
type lack struct {
	since   time.Time // when it was first so, or when the last record came
	heard   time.Time
	partial bool // a part of the summary under way names something
}

// compareLack notes whether a peer's summary, of which s is a part, names what is not here.
func (r *Replicator) compareLack(now time.Time, peer string, s *summary, lacks bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.lacks[peer]
	if l == nil {
		if !lacks {
			return
		}
		l = &lack{since: now}
		r.lacks[peer] = l
	}
	if s.After == "" {
		l.partial = false
	}
	l.partial, l.heard = l.partial || lacks, now
	if s.Through == "" && !l.partial {
		delete(r.lacks, peer)
	}
}

// progressed notes that a record came from a peer.
func (r *Replicator) progressed(now time.Time, peer string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.lacks[peer]; l != nil {
		l.since = now
	}
}

// Excuse has all peers' time begin anew: it is this store that keeps nothing at the moment.
func (r *Replicator) Excuse(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.lacks {
		l.since = now
	}
}

// Stalled returns the peers from which repair makes no progress, sorted.
func (r *Replicator) Stalled(now time.Time) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var stalled []string
	for peer, l := range r.lacks {
		switch {
		case now.Sub(l.heard) > stallHeard:
			delete(r.lacks, peer)
		case now.Sub(l.since) >= stallAfter:
			stalled = append(stalled, peer)
		}
	}
	slices.Sort(stalled)
	return stalled
}
