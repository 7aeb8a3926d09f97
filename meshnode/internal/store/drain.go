package store

import (
	"context"
	"errors"
	"time"
)

// drainEvery is how often a leaving node asks what the others hold.
const drainEvery = 100 * time.Millisecond

// Drain spreads what no other store holds yet. It returns when a reachable peer
// holds every record that this store has now, when no peer is reachable, or
// with an error when ctx ends.
func (r *Replicator) Drain(ctx context.Context) error {
	mine := r.store.Vector()
	held := make(chan struct{})
	lacking := map[string]map[string]bool{} // by peer, the origins of which it may lack a record
	r.mu.Lock()
	r.draining = func(peer string, s *summary) {
		if lacking[peer] == nil {
			lacking[peer] = make(map[string]bool)
			for origin := range mine {
				lacking[peer][origin] = true
			}
		}
		for origin, e := range mine {
			if s.covers(origin) && len(e.without(s.Have[origin])) == 0 {
				delete(lacking[peer], origin)
			}
		}
		if len(lacking[peer]) == 0 {
			r.draining = nil
			close(held)
		}
	}
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.draining = nil
		r.mu.Unlock()
	}()
	ticker := time.NewTicker(drainEvery)
	defer ticker.Stop()
	for {
		reachable := r.peers.Reachable()
		if len(reachable) == 0 {
			return nil
		}
		for _, p := range reachable {
			r.sendVector(p, flagReply|flagEcho)
		}
		select {
		case <-held:
			return nil
		case <-ctx.Done():
			return errors.New("no peer confirmed in time that it holds every record of this node")
		case <-ticker.C:
		}
	}
}

// heardSummary tells a Drain what a peer holds.
func (r *Replicator) heardSummary(peer string, s *summary) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining != nil {
		r.draining(peer, s)
	}
}
