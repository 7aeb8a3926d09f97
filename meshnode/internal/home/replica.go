package home

import (
	"fmt"
	"time"
)

// Receive handles a message from a peer.
func (t *Table) Receive(now time.Time, from string, payload []byte) (Output, error) {
	var out Output
	m, err := decode(payload)
	if err != nil {
		return out, err
	}
	switch m.Kind {
	case propose:
		err = t.proposed(now, from, m, &out)
	case accepted:
		t.acknowledged(now, from, m, &out)
	case prepare:
		err = t.prepared(now, from, m, &out)
	case promise:
		t.promised(now, from, m, &out)
	case page:
		t.sendPage(now, from, m, &out)
	case copies:
		t.received(now, from, m, &out)
	case request:
		t.serve(now, from, m, &out)
	case response:
		t.answered(now, from, m, &out)
	case handover:
		t.handedOver(now, m, &out)
	}
	return out, err
}

// proposed holds a state for its home. A node whose word does not count yet
// holds it too, but does not say so.
func (t *Table) proposed(now time.Time, from string, m *message, out *Output) error {
	if m.Ballot.Home != from {
		return fmt.Errorf("home: %s proposes under the ballot of %s", from, m.Ballot.Home)
	}
	e := t.find(now, m.ID)
	if e == nil {
		return fmt.Errorf("%w: %d sessions, no room for another of %s", errNotTaken, len(t.entries), from)
	}
	if e.leaps(m.Ballot) {
		return fmt.Errorf("%w: %s proposes under epoch %d after %d", errNotTaken, from, m.Ballot.Epoch, e.promised.Epoch)
	}
	answer := &message{Kind: accepted, ID: m.ID, Ballot: m.Ballot, Highest: e.promised}
	if m.Ballot.less(e.promised) {
		out.send(from, answer)
		return nil
	}
	if e.promised != m.Ballot {
		t.depose(now, e, m.Ballot, out)
	}
	m.Copy.Accepted = m.Ballot
	t.merge(now, e, m.Copy)
	if t.settled {
		answer.Round, answer.Highest = m.Round, m.Ballot
		out.send(from, answer)
	}
	return nil
}

// prepared promises a claimant that no proposal under a lower ballot is held
// from now on, and tells it what is held. With a zero ballot it only tells.
func (t *Table) prepared(now time.Time, from string, m *message, out *Output) error {
	e := t.entries[m.ID]
	answer := &message{Kind: promise, ID: m.ID, Ballot: m.Ballot, Settled: t.settled}
	if (m.Ballot != Ballot{}) {
		switch {
		case m.Ballot.Home != from:
			return fmt.Errorf("home: %s claims a session for %s", from, m.Ballot.Home)
		case !t.settled:
			return nil
		}
		if e == nil {
			if e = t.find(now, m.ID); e == nil {
				return fmt.Errorf("%w: %d sessions, no room for a promise to %s", errNotTaken, len(t.entries), from)
			}
		}
		if e.leaps(m.Ballot) {
			return fmt.Errorf("%w: %s claims epoch %d after %d", errNotTaken, from, m.Ballot.Epoch, e.promised.Epoch)
		}
		if e.promised.less(m.Ballot) {
			t.depose(now, e, m.Ballot, out)
		}
	}
	if e != nil {
		answer.Highest = e.promised
		if e.version > 0 && (m.Have.less(e.accepted) || m.Have == e.accepted && m.HaveVersion < e.version) {
			answer.Copy = t.copyOf(now, e)
		}
	}
	out.send(from, answer)
	return nil
}

// leaps reports whether a ballot is further ahead than claims that were missed explain.
func (e *entry) leaps(b Ballot) bool { return b.Epoch > e.promised.Epoch+maxLeap }
