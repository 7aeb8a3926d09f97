package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/mutant"
)

// Accept stores content under an id and returns its record and its holders once
// it is on this disk and on that of a reachable peer, or on this one alone if no
// peer is reachable; and on as many disks as copies says, if that is more. Errors:
// ErrConflict, ErrNoHolder, ErrTooFew, ErrQuota, the context's, the disk's.
func (r *Replicator) Accept(ctx context.Context, id string, body []byte, copies int) (Record, []string, error) {
	if n := len(r.peers.Reachable()) + 1; copies > n {
		return Record{}, nil, fmt.Errorf("record %q: %w: %d, %d are asked for", id, ErrTooFew, n, copies)
	}
	if mutant.AckBeforeFsync {
		time.AfterFunc(2*time.Second, func() { _, _, _ = r.store.Put(id, body) })
		return Record{ID: id, Node: r.store.node, Time: r.store.clock(), Body: body}, []string{r.store.node}, nil
	}
	rec, _, err := r.store.Put(id, body)
	if err != nil {
		return Record{}, nil, err
	}
	pos := rec.position()
	w := r.await(pos, rec.digest())
	defer r.release(pos, w)
	ctx, cancel := context.WithTimeoutCause(ctx, AcceptTimeout, ErrNoHolder)
	defer cancel()
	check := time.NewTicker(checkPeers)
	defer check.Stop()
	for {
		reachable := r.peers.Reachable()
		others, news := r.holders(w)
		holders := append([]string{r.store.node}, others...)
		need := copies
		if len(reachable) > 0 {
			need = max(need, 2)
		}
		if len(holders) >= need {
			return rec, holders, nil
		}
		now := time.Now()
		for _, p := range reachable {
			if !slices.Contains(others, p) && r.due(now, p, pos) {
				r.push(p, r.packed(p, rec), 0)
			}
		}
		select {
		case <-news:
		case <-ctx.Done():
			return rec, nil, fmt.Errorf("record %q: %w", id, context.Cause(ctx))
		case <-check.C:
		}
	}
}

func (r *Replicator) await(p position, d digest) *wait {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.waits[p]
	if w == nil {
		w = &wait{digest: d, news: make(chan struct{})}
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

// holders returns who has confirmed so far, and what is closed when one more does.
func (r *Replicator) holders(w *wait) ([]string, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(w.holders), w.news
}

// packed returns a record as a peer needs it: without the certificate of its signer if the
// peer has that, as it has of every record that it has confirmed. A peer that has lost its
// disk since asks for it.
func (r *Replicator) packed(peer string, rec Record) *Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.has[peer] == rec.proof.signer {
		rec.proof.certificate = nil
	}
	return &rec
}

// due tells whether a record is to be sent to a peer.
func (r *Replicator) due(now time.Time, peer string, p position) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.flights.due(now, peer, p)
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
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flights.left(time.Now(), peer, rec.position())
}
