package store

import (
	"errors"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/crash"
)

// received is a whole record that came from a peer.
type received struct {
	Record
	from  string
	flags byte
}

// keepEach stores records and confirms them. One that brings the node to panic is its
// sender's, and costs the others nothing but the time to store them again.
func (r *Replicator) keepEach(records []received) {
	if len(records) == 0 {
		return
	}
	err := crash.Contain(func() error { r.keep(records); return nil })
	switch {
	case err == nil:
	case len(records) == 1:
		r.complain(records[0].from, err)
	default:
		for i := range records {
			r.keepEach(records[i : i+1])
		}
	}
}

// keep stores records and confirms them.
func (r *Replicator) keep(records []received) {
	plain := make([]Record, len(records))
	for i := range records {
		plain[i] = records[i].Record
	}
	before := r.store.Vector()
	n, err := r.store.Add(plain...)
	refused, some := errors.AsType[Refusals](err)
	if err != nil && !some {
		r.logger.Error("records of peers not stored", "records", len(records), "error", err)
		return
	}
	r.replicated(n)
	if n > 0 {
		r.behind.progressed(time.Now())
	}
	type source struct {
		peer   string
		signer certificateID
	}
	asked := map[source]bool{}
	for i := range records {
		rec := &records[i]
		from := source{rec.from, rec.proof.signer}
		switch why := refused[i]; {
		case why == nil:
			if !before[rec.Origin].holds(rec.Seq) {
				r.progressed(time.Now(), rec.from)
			}
			r.reply(rec.from, frame.DataAck, encodeAck(&rec.Record))
			r.goOn(rec)
		case errors.Is(why, ErrUnknownRoot):
			// What is turned away, and known to be, would come again at once and for ever.
			if r.strange(rec, why) {
				r.goOn(rec)
			}
		case !errors.Is(why, errNoCertificate):
			r.turnAway(rec, why)
		case !asked[from]:
			asked[from] = true
			r.reply(rec.from, frame.Data, encodeWant(rec.position()))
		}
	}
}

// goOn asks for what comes after a record if it was the last one of an answer. The question tells all that is here: who has
// had its share of that can say that of any record.
func (r *Replicator) goOn(last *received) {
	now := time.Now()
	if last.flags&flagReply == 0 || !r.answers.due(now, last.from) {
		return
	}
	var flags byte
	if !r.caughtUp.Load() {
		flags = r.question()
	}
	r.answers.gave(now, last.from, r.sendVector(last.from, flags))
}

// reply sends what may be lost.
func (r *Replicator) reply(peer string, t frame.Type, payload []byte) {
	if err := r.peers.Send(peer, t, payload); err != nil {
		r.logger.Debug("answer not sent", "peer", peer, "type", t, "error", err)
	}
}

// turnAway tells whose fault it is that a record is refused: of two records that an origin
// signed under one number it is the origin's, else that of who sent it.
func (r *Replicator) turnAway(rec *received, why error) {
	switch {
	case errors.Is(why, ErrTwice) && rec.Node == r.store.node:
		r.logger.Error("this node has used a number twice: its disk held an older copy", "error", why)
	case errors.Is(why, ErrTwice):
		r.peers.Refused(rec.Node, why)
	case errors.Is(why, ErrForged), errors.Is(why, ErrInvalid):
		r.peers.Refused(rec.from, why)
	default:
		r.logger.Error("record of a peer not stored", "peer", rec.from, "error", why)
	}
}

// show sends a peer a record with the certificate of its signer, if the peer has not had its
// share. The peer has turned away what else that one signed: it asks for it when it has this one.
func (r *Replicator) show(peer string, p position) error {
	if !r.answers.due(time.Now(), peer) {
		return nil
	}
	rec, err := r.store.proven(p)
	if errors.Is(err, ErrNotFound) {
		return nil // the peer may have asked another node's former self
	}
	if err == nil {
		r.answers.gave(time.Now(), peer, weight(rec))
		r.push(peer, &rec, flagReply)
	}
	return err
}
