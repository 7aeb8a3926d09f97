package store

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/crash"
	"github.com/x0tta6bl4/mesh/meshnode/internal/share"
)

// Peers is the way to the other stores.
type Peers interface {
	// Send sends a message; it may be lost. It must not block.
	Send(peer string, t frame.Type, payload []byte) error
	// Reachable returns the peers that are not known to be unreachable.
	Reachable() []string
	// Refused is told of a message that no sound peer sends. It must not block.
	Refused(peer string, err error)
}

const (
	// AcceptTimeout bounds how long Accept waits for a second holder; below a
	// client's retry budget of 2 s, and between two looks at who is reachable, so that
	// it is never open which of them comes first.
	AcceptTimeout = 1790 * time.Millisecond
	// pushAgain is the time after which a record that was not confirmed is sent again, where confirmations take less.
	pushAgain = 250 * time.Millisecond
	// checkPeers is how often Accept looks whether anyone is reachable.
	checkPeers = 50 * time.Millisecond
	// syncEvery is the time between vectors sent to a random peer.
	syncEvery = time.Second
	// batch is how many records answer one vector.
	batch = 64
	// inbox is how many messages may wait, and half of it how many of one peer; more are
	// dropped and repaired later.
	inbox = 1024
	// transfers is how many records in parts are kept per peer.
	transfers = 16
)

// ErrNoHolder says that reachable peers exist and none confirmed in time. The
// record is on this node's disk and spreads; to ask again is safe.
var ErrNoHolder = errors.New("no reachable peer confirmed the record in time")

// ErrTooFew says that more copies are asked for than nodes are within reach. Nothing was
// stored.
var ErrTooFew = errors.New("too few nodes are within reach")

// Replicator spreads a store's records and repairs what is missing.
type Replicator struct {
	store  *Store
	peers  Peers
	logger *slog.Logger
	// replicated is told how many records came from others.
	replicated func(int)
	// chance returns a random number below n.
	chance func(n int) int

	inbox chan inbound
	room  *share.Room // in inbox
	sync  chan string

	caughtUp atomic.Bool
	behind   behind  // Run's own
	answers  answers // Run's own

	mu        sync.Mutex
	waits     map[position]*wait
	has       map[string]certificateID // by peer: whose certificate it has, of the record that it confirmed last
	lacks     map[string]*lack         // by peer
	flights   flights
	strangers strangers
	draining  func(peer string, s *summary) // told what peers hold, while Drain waits
}

type inbound struct {
	from    string
	typ     frame.Type
	payload []byte
}

// wait collects the peers that confirmed a record.
type wait struct {
	users   int
	digest  digest
	holders []string
	news    chan struct{} // closed and replaced at every confirmation
}

// NewReplicator returns a Replicator; Run makes it work.
func NewReplicator(s *Store, p Peers, replicated func(int), logger *slog.Logger) *Replicator {
	return &Replicator{
		store: s, peers: p, logger: logger, replicated: replicated, chance: rand.IntN,
		inbox: make(chan inbound, inbox), room: share.New(inbox), sync: make(chan string, inbox), waits: make(map[position]*wait), lacks: make(map[string]*lack),
		behind: newBehind(), answers: make(answers), has: make(map[string]certificateID), flights: newFlights(),
	}
}

// Receive takes a Data or DataAck payload, which it copies. It does not block.
func (r *Replicator) Receive(from string, t frame.Type, payload []byte) {
	if r.room.Take(from) { // and so in the channel
		r.inbox <- inbound{from, t, slices.Clone(payload)}
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
	r.behind.start(time.Now())
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-r.inbox:
			r.handle(m, parts)
		case p := <-r.sync:
			r.sendVector(p, r.question())
		case <-every.C:
			r.convict()
			r.mu.Lock()
			r.flights.forget(time.Now())
			r.mu.Unlock()
			r.answers.forget(time.Now())
			peers := r.peers.Reachable()
			r.judge(time.Now(), peers)
			if peers = r.toAsk(peers); len(peers) > 0 {
				r.sendVector(peers[r.chance(len(peers))], r.question())
			}
		}
	}
}

// sendVector says what is here, and returns how many bytes that took.
func (r *Replicator) sendVector(peer string, flags byte) (bytes int) {
	for _, part := range r.store.Vector().summaries(r.refusedOf(peer)) {
		b, err := encodeSummary(&part, flags)
		if err == nil {
			bytes += len(b)
			err = r.peers.Send(peer, frame.Data, b)
		}
		if err != nil {
			r.logger.Debug("vector not sent", "peer", peer, "error", err)
		}
	}
	return bytes
}

// handle handles m and whatever else waits already, so that many records cost
// one write to disk.
func (r *Replicator) handle(m inbound, parts map[string][]*assembly) {
	var records []received
	for n := 0; ; n++ {
		r.room.Give(m.from)
		var rec *received
		err := crash.Contain(func() (err error) {
			rec, err = r.dispatch(m, parts)
			return err
		})
		if err != nil {
			r.complain(m.from, err)
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
	r.keepEach(records)
}

// complain tells whose fault it is that a message could not be handled.
func (r *Replicator) complain(from string, err error) {
	_, crashed := errors.AsType[*crash.Error](err)
	if crashed || errors.Is(err, errMessage) || errors.Is(err, ErrInvalid) {
		r.peers.Refused(from, err)
		return
	}
	r.logger.Error("message of a peer not handled", "peer", from, "error", err)
}

func (r *Replicator) dispatch(m inbound, parts map[string][]*assembly) (*received, error) {
	if m.typ == frame.DataAck {
		p, d, err := decodeAck(m.payload)
		if err == nil {
			err = r.confirm(m.from, p, d)
		}
		return nil, err
	}
	if len(m.payload) > 0 && m.payload[0] == kindVector {
		s, flags, err := decodeSummary(m.payload)
		if err != nil {
			return nil, err
		}
		lacks := r.wants(m.from, s)
		r.compare(time.Now(), m.from, s, lacks)
		r.compareLack(time.Now(), m.from, s, lacks)
		r.heardSummary(m.from, s)
		return nil, r.answer(m.from, s, flags, lacks)
	}
	if len(m.payload) > 0 && m.payload[0] == kindWant {
		p, err := decodeWant(m.payload)
		if err != nil {
			return nil, err
		}
		return nil, r.show(m.from, p)
	}
	c, err := decodeChunk(m.payload)
	if err != nil {
		return nil, err
	}
	return assemble(parts, m.from, c)
}

// confirm notes that a peer holds a record, with the content that was accepted here, and the
// certificate of who signed it.
func (r *Replicator) confirm(peer string, p position, d digest) error {
	signer, err := r.store.signerAt(p)
	if errors.Is(err, ErrNotFound) {
		return nil // an answer to this node's former self
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.has[peer] = signer
	}
	w := r.waits[p]
	if w == nil || w.digest == d {
		r.flights.landed(time.Now(), peer, p)
	}
	if w != nil && w.digest == d && !slices.Contains(w.holders, peer) {
		w.holders = append(w.holders, peer)
		close(w.news)
		w.news = make(chan struct{})
	}
	return err
}

// answer sends a peer what it lacks, and asks for what this store lacks, if it does. A peer
// that has had its share is told nothing, and asks again.
func (r *Replicator) answer(peer string, s *summary, flags byte, lacks bool) error {
	if !r.answers.due(time.Now(), peer) {
		return nil
	}
	missing, err := r.store.missing(s, batch)
	if err != nil {
		return err
	}
	r.answers.gave(time.Now(), peer, weight(missing...))
	missing = r.withoutComing(peer, missing)
	for i := range missing {
		var f byte
		if i == len(missing)-1 {
			f = flagReply
		}
		r.push(peer, &missing[i], f)
	}
	// An echo is of the whole, and so is due once for all parts of a question.
	if flags&flagEcho != 0 && s.Through == "" || flags&flagReply != 0 && lacks {
		r.answers.gave(time.Now(), peer, r.sendVector(peer, 0))
	}
	return nil
}

// withoutComing leaves out the records that are on their way to a peer.
func (r *Replicator) withoutComing(peer string, records []Record) []Record {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(records, func(rec Record) bool { return r.flights.coming(now, peer, rec.position()) })
}
