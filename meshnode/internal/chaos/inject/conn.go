package inject

import (
	"net/netip"
	"sync"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
)

// quota says for how many messages to an address something is done, and for how many it
// was.
type quota struct {
	mu         sync.Mutex
	open, used map[netip.AddrPort]int
}

func (q *quota) allow(to netip.AddrPort, n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.open == nil {
		q.open, q.used = map[netip.AddrPort]int{}, map[netip.AddrPort]int{}
	}
	q.open[to] += n
}

// take uses one up, if there is one left.
func (q *quota) take(to netip.AddrPort) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.open[to] == 0 {
		return false
	}
	q.open[to]--
	q.used[to]++
	return true
}

func (q *quota) left(to netip.AddrPort) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.open[to]
}

func (q *quota) count(to netip.AddrPort) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.used[to]
}

// spoilAt is the byte of an attestation's first fragment in which a bit is flipped;
// the signature begins at byte 8.
const spoilAt = 64

// spoiler is a Conn that spoils attestations on their way out, as far as its quota
// goes. They travel in clear under a tag that covers their headers only.
type spoiler struct {
	transport.Conn
	quota

	sent sync.Mutex
	// kept holds one spoiled frame of each session, by target.
	kept map[netip.AddrPort][][]byte
}

// WriteTo implements transport.Conn.
func (s *spoiler) WriteTo(b []byte, to netip.AddrPort) error {
	h, payload, err := frame.Parse(b)
	if err == nil && h.Type == frame.AttestationSignature && h.Fragment == 0 && len(payload) > spoilAt && s.take(to) {
		b = append([]byte(nil), b...)
		b[frame.HeaderLen+spoilAt] ^= 1
		s.keep(b, to)
	}
	return s.Conn.WriteTo(b, to)
}

func (s *spoiler) keep(b []byte, to netip.AddrPort) {
	s.sent.Lock()
	defer s.sent.Unlock()
	if s.kept == nil {
		s.kept = map[netip.AddrPort][][]byte{}
	}
	s.kept[to] = append(s.kept[to], b)
}

// again sends what was kept for a target once more, under sessions that it has ended.
func (s *spoiler) again(to netip.AddrPort) error {
	s.sent.Lock()
	kept := s.kept[to]
	s.sent.Unlock()
	for _, b := range kept {
		if err := s.Conn.WriteTo(b, to); err != nil {
			return err
		}
	}
	return nil
}

// gate is a Conn that lets calls out, as far as its quota goes, and nothing else: a
// manager repeats them. The frames of a call are written one after the other.
type gate struct {
	transport.Conn
	quota

	passing sync.Mutex
	pass    map[netip.AddrPort]bool // the call that is being written
}

// WriteTo implements transport.Conn.
func (g *gate) WriteTo(b []byte, to netip.AddrPort) error {
	h, _, err := frame.Parse(b)
	if err != nil || h.Type != frame.HandshakeInit {
		return nil
	}
	g.passing.Lock()
	if h.Fragment == 0 {
		g.pass[to] = g.take(to)
	}
	pass := g.pass[to]
	g.passing.Unlock()
	if !pass {
		return nil
	}
	return g.Conn.WriteTo(b, to)
}
