package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// put is a client that writes a record and tries other nodes if one does not
// acknowledge it.
func (s *simulation) put(op int, node string) {
	rng := s.source(fmt.Sprint("client ", op))
	id, body := fmt.Sprintf("%04d", op), fmt.Sprintf("body of %d", op)
	if rng.IntN(15) == 0 { // two clients may choose the same id
		id = fmt.Sprint("contested ", rng.IntN(3))
	}
	if rng.IntN(30) == 0 { // more than a message holds
		body += strings.Repeat(".", chunkSize+rng.IntN(chunkSize))
	}
	s.mu.Lock()
	s.check.attempt(id, body)
	s.mu.Unlock()
	for range 1 + rng.IntN(3) {
		if s.tryPut(node, id, body) {
			return
		}
		s.sleep(time.Millisecond + time.Duration(rng.Int64N(int64(300*time.Millisecond))))
		node = s.names[rng.IntN(len(s.names))]
	}
}

func (s *simulation) tryPut(node, id, body string) (done bool) {
	s.mu.Lock()
	p := s.nodes[node].run
	if over := s.over; p == nil || p.dead || over {
		s.mu.Unlock()
		return over
	}
	disks := s.check.diskCounts()
	p.wg.Add(1)
	s.event("put %q at %s", id, node)
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(p.ctx, 2*time.Second)
	defer cancel()
	_, holders, err := p.repl.Accept(ctx, id, []byte(body), 0)
	p.wg.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case p.dead: // no answer came
		s.check.counts.Unknown++
		return false
	case err == nil:
		if reachable := p.reachable(); len(holders) == 1 && len(reachable) > 0 {
			s.check.fail("%s has %q alone, though it could reach %v", node, id, reachable)
		}
		s.check.acknowledge(time.Since(s.start), id, holders, disks)
		s.event("%s has %q, so have %v", node, id, holders)
		return true
	case errors.Is(err, ErrConflict):
		s.check.counts.Contested++
		return true
	default:
		s.check.counts.Refused++
		s.event("%s refuses %q: %v", node, id, err)
		return false
	}
}

// list reads everything that a node has, in pages.
func (s *simulation) list(node string, page int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.nodes[node].run; p != nil && !p.dead {
		list, err := p.list(page)
		if err != nil {
			s.check.fail("list of %s: %v", node, err)
		}
		s.event("%s lists %d records", node, len(list))
		s.check.read(time.Since(s.start), node, list)
	}
}

func (p *process) list(page int) ([]Record, error) {
	var all []Record
	for after := ""; ; after = all[len(all)-1].ID {
		got, err := p.store.List(after, page)
		if err != nil || len(got) == 0 {
			return all, err
		}
		all = append(all, got...)
	}
}
