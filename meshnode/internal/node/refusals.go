package node

import (
	"errors"
	"sync"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/internal/crash"
	"github.com/x0tta6bl4/mesh/meshnode/internal/mapek"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

const (
	// A member misbehaves that sent refusedMost messages within refusedWithin that no
	// sound node sends, until it has sent none for refusedQuiet.
	refusedMost   = 5
	refusedWithin = 10 * time.Second
	refusedQuiet  = 20 * time.Second
)

var errMalformedRelay = errors.New("malformed relay message")

// refusals counts what was refused, by the peer whose session it came over: no other
// name gets here. The zero value is ready.
type refusals struct {
	mu    sync.Mutex
	peers map[string]*refusal
}

type refusal struct {
	since time.Time // of the count
	count int
	last  time.Time
	told  bool
}

// refuse notes a message of a peer that no sound node sends. Any goroutine may call it.
func (n *Node) refuse(peer, kind string, err error) {
	n.metrics.MessagesRefused.WithLabelValues(peer, kind).Inc()
	if c, ok := errors.AsType[*crash.Error](err); ok {
		n.log.Error("a message could not be handled", "peer", peer, "type", kind, "error", err, "stack", string(c.Stack))
	} else {
		n.log.Debug("message refused", "peer", peer, "type", kind, "error", err)
	}
	now := time.Now()
	r := &n.refusals
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.peers[peer]
	if p == nil {
		if r.peers == nil {
			r.peers = map[string]*refusal{}
		}
		p = &refusal{since: now}
		r.peers[peer] = p
	}
	if now.Sub(p.since) > refusedWithin && !p.told {
		p.since, p.count = now, 0
	}
	before := p.count
	if p.count++; kind == metric.MessageRecord {
		p.count += refusedMost // a signature leaves no doubt
	}
	p.last = now
	if before < refusedMost && p.count >= refusedMost {
		n.log.Warn("a member sends what no sound node sends", "peer", peer, "type", kind, "error", err)
	}
}

// judgeRefusals tells the loop who misbehaves, and who has ceased to.
func (n *Node) judgeRefusals(now time.Time) {
	r := &n.refusals
	r.mu.Lock()
	defer r.mu.Unlock()
	for peer, p := range r.peers {
		if !p.told && p.count >= refusedMost {
			p.told = true
			n.condition(now, peer, mapek.Condition{Type: metric.Misbehaviour, On: true, Reason: "messages that no sound node sends"})
		}
		if now.Sub(p.last) > refusedQuiet {
			if p.told {
				n.condition(now, peer, mapek.Condition{Type: metric.Misbehaviour})
			}
			delete(r.peers, peer)
		}
	}
}

func (r *refusals) forget(peer string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.peers, peer)
}

// condition tells the loop that a condition about a node has come about or gone.
func (n *Node) condition(now time.Time, subject string, c mapek.Condition) {
	n.signals = append(n.signals, mapek.Signal{Kind: mapek.Conditioned, Peer: subject, Time: now, Since: now, Condition: c})
}
