package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
)

// Accept stores content under an id and returns its record and its holders once
// it is on this disk and on that of a reachable peer, or on this one alone if no
// peer is reachable. Errors: ErrConflict, ErrNoHolder, the context's, the disk's.
func (r *Replicator) Accept(ctx context.Context, id string, body []byte) (Record, []string, error) {
	rec, _, err := r.store.Put(id, body)
	if err != nil {
		return Record{}, nil, err
	}
	pos := position{rec.Origin, rec.Seq}
	w := r.await(pos)
	defer r.release(pos, w)
	ctx, cancel := context.WithTimeoutCause(ctx, AcceptTimeout, ErrNoHolder)
	defer cancel()
	check := time.NewTicker(checkPeers)
	defer check.Stop()
	var pushed time.Time
	for {
		reachable := r.peers.Reachable()
		if len(reachable) == 0 {
			return rec, []string{r.store.node}, nil
		}
		if now := time.Now(); now.Sub(pushed) >= pushAgain {
			pushed = now
			for _, p := range reachable {
				r.push(p, &rec, 0)
			}
		}
		select {
		case <-w.news:
			return rec, append([]string{r.store.node}, r.holders(w)...), nil
		case <-ctx.Done():
			return rec, nil, fmt.Errorf("record %q: %w", id, context.Cause(ctx))
		case <-check.C:
		}
	}
}

func (r *Replicator) await(p position) *wait {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.waits[p]
	if w == nil {
		w = &wait{news: make(chan struct{})}
		r.waits[p] = w
	}
	w.users++
	return w
}

func (r *Replicator) release(p position, w *wait) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w.users--; w.users == 0 {
		delete(r.waits, p)
	}
}

func (r *Replicator) holders(w *wait) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(w.holders)
}

// push sends a record to a peer. Sending may fail or be lost: what is pushed
// and not confirmed is repaired by vectors.
func (r *Replicator) push(peer string, rec *Record, flags byte) {
	messages, err := encodeRecord(rec, rand.Uint64(), flags)
	if err != nil {
		r.logger.Error("record cannot be sent", "error", err)
		return
	}
	for _, m := range messages {
		if err := r.peers.Send(peer, frame.Data, m); err != nil {
			r.logger.Debug("record not sent", "peer", peer, "error", err)
			return
		}
	}
}
