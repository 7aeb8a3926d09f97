package store

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
)

// Peers is the way to the other stores.
type Peers interface {
	// Send sends a message; it may be lost. It must not block.
	Send(peer string, t frame.Type, payload []byte) error
	// Reachable returns the peers that are not known to be unreachable.
	Reachable() []string
}

const (
	// AcceptTimeout bounds how long Accept waits for a second holder; below a
	// client's retry budget of 2 s.
	AcceptTimeout = 1800 * time.Millisecond
	// pushAgain is the time after which a record that no one holds yet is sent
	// again.
	pushAgain = 250 * time.Millisecond
	// checkPeers is how often Accept looks whether anyone is reachable.
	checkPeers = 50 * time.Millisecond
	// syncEvery is the time between vectors sent to a random peer.
	syncEvery = time.Second
	// batch is how many records answer one vector.
	batch = 64
	// inbox is how many messages may wait; more are dropped and repaired later.
	inbox = 1024
	// transfers is how many records in parts are kept per peer.
	transfers = 16
)

// ErrNoHolder says that reachable peers exist and none confirmed in time. The
// record is on this node's disk and spreads; to ask again is safe.
var ErrNoHolder = errors.New("no reachable peer confirmed the record in time")

// Replicator spreads a store's records and repairs what is missing.
type Replicator struct {
	store  *Store
	peers  Peers
	logger *slog.Logger
	// replicated is told how many records came from others.
	replicated func(int)

	inbox chan inbound
	sync  chan string

	mu    sync.Mutex
	waits map[position]*wait
}

type inbound struct {
	from    string
	typ     frame.Type
	payload []byte
}

// wait collects the peers that confirmed a record.
type wait struct {
	users   int
	holders []string
	news    chan struct{} // closed at the first confirmation
}

// NewReplicator returns a Replicator; Run makes it work.
func NewReplicator(s *Store, p Peers, replicated func(int), logger *slog.Logger) *Replicator {
	return &Replicator{
		store: s, peers: p, logger: logger, replicated: replicated,
		inbox: make(chan inbound, inbox), sync: make(chan string, inbox), waits: make(map[position]*wait),
	}
}

// Receive takes a Data or DataAck payload, which it copies. It does not block.
func (r *Replicator) Receive(from string, t frame.Type, payload []byte) {
	select {
	case r.inbox <- inbound{from, t, slices.Clone(payload)}:
	default:
	}
}

// Sync exchanges vectors with a peer soon. It does not block.
func (r *Replicator) Sync(peer string) {
	select {
	case r.sync <- peer:
	default: // the regular exchange comes
	}
}

// Run handles messages until ctx ends.
func (r *Replicator) Run(ctx context.Context) {
	every := time.NewTicker(syncEvery)
	defer every.Stop()
	parts := make(map[string][]*assembly)
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-r.inbox:
			r.handle(m, parts)
		case p := <-r.sync:
			r.sendVector(p, flagReply)
		case <-every.C:
			if peers := r.peers.Reachable(); len(peers) > 0 {
				r.sendVector(peers[rand.IntN(len(peers))], flagReply)
			}
		}
	}
}

func (r *Replicator) sendVector(peer string, flags byte) {
	b, err := encodeVector(r.store.Vector(), flags)
	if err == nil {
		err = r.peers.Send(peer, frame.Data, b)
	}
	if err != nil {
		r.logger.Debug("vector not sent", "peer", peer, "error", err)
	}
}

// handle handles m and whatever else waits already, so that many records cost
// one write to disk.
func (r *Replicator) handle(m inbound, parts map[string][]*assembly) {
	var records []received
	for n := 0; ; n++ {
		rec, err := r.dispatch(m, parts)
		if err != nil {
			r.logger.Warn("bad data from a peer", "peer", m.from, "error", err)
		}
		if rec != nil {
			records = append(records, *rec)
		}
		if n >= batch {
			break
		}
		select {
		case m = <-r.inbox:
			continue
		default:
		}
		break
	}
	if len(records) > 0 {
		r.keep(records)
	}
}

// received is a whole record that came from a peer.
type received struct {
	Record
	from  string
	flags byte
}

func (r *Replicator) dispatch(m inbound, parts map[string][]*assembly) (*received, error) {
	if m.typ == frame.DataAck {
		p, err := decodePosition(m.payload)
		if err == nil {
			r.confirm(m.from, p)
		}
		return nil, err
	}
	if len(m.payload) > 0 && m.payload[0] == kindVector {
		v, flags, err := decodeVector(m.payload)
		if err != nil {
			return nil, err
		}
		return nil, r.answer(m.from, v, flags)
	}
	c, err := decodeChunk(m.payload)
	if err != nil {
		return nil, err
	}
	return assemble(parts, m.from, c)
}

// confirm notes that a peer holds a record.
func (r *Replicator) confirm(peer string, p position) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.waits[p]
	if w == nil || slices.Contains(w.holders, peer) {
		return
	}
	w.holders = append(w.holders, peer)
	if len(w.holders) == 1 {
		close(w.news)
	}
}

// answer sends a peer what it lacks, and asks for what this store lacks.
func (r *Replicator) answer(peer string, have Vector, flags byte) error {
	missing, err := r.store.Missing(have, batch)
	if err != nil {
		return err
	}
	for i := range missing {
		var f byte
		if i == batch-1 {
			f = flagReply // there is more
		}
		r.push(peer, &missing[i], f)
	}
	if flags&flagReply == 0 {
		return nil
	}
	mine := r.store.Vector()
	for origin, seq := range have {
		if mine[origin] < seq {
			r.sendVector(peer, 0)
			break
		}
	}
	return nil
}

// keep stores records and confirms them.
func (r *Replicator) keep(records []received) {
	plain := make([]Record, len(records))
	for i := range records {
		plain[i] = records[i].Record
	}
	n, err := r.store.Add(plain...)
	if errors.Is(err, ErrInvalid) && len(records) > 1 {
		for i := range records { // keep the good ones
			r.keep(records[i : i+1])
		}
		return
	}
	if err != nil {
		r.logger.Error("records of peers not stored", "records", len(records), "error", err)
		return
	}
	r.replicated(n)
	for _, rec := range records {
		if err := r.peers.Send(rec.from, frame.DataAck, position{rec.Origin, rec.Seq}.encode()); err != nil {
			r.logger.Debug("confirmation not sent", "peer", rec.from, "error", err)
		}
		if rec.flags&flagReply != 0 {
			r.sendVector(rec.from, 0)
		}
	}
}
