package session

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/attest"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
)

// challenge is one that was sent and not answered well.
type challenge struct {
	epoch    uint64
	value    [32]byte
	sent     time.Duration
	deadline time.Duration
	overdue  bool          // ChallengeOverdue was reported
	decide   time.Duration // an overdue challenge counts as a timeout then
	lost     bool          // timed out; a late answer still counts
	settled  bool          // answered badly, or shed: no timeout follows
	reverify bool          // a handshake follows if the answer is late
	attempts int           // answers that were verified
}

const (
	challengesMax = 8               // outstanding per session
	answersMax    = 4               // verified per challenge
	challengeKeep = 5 * time.Second // after which a late answer is stale
	handshakeFrom = 4               // timeouts in a row after which the backoff also tries handshakes
	callLimit     = time.Second     // for such a handshake
)

// sendChallenge challenges the peer of s. It needs m.mu.
func (m *Manager) sendChallenge(now time.Duration, s *session, reverify bool) {
	s.epoch++
	c := &challenge{epoch: s.epoch, sent: now, deadline: now + s.peer.estimator.deadline(), reverify: reverify}
	rand.Read(c.value[:])
	if len(s.challenges) == challengesMax {
		s.challenges = slices.Delete(s.challenges, 0, 1)
	}
	s.challenges = append(s.challenges, c)
	s.challenge = now + m.jitter(m.cfg.Limits.Challenge)
	if s.backoff > 0 {
		s.challenge = now + m.backoff(s.backoff+1)
	}
	payload := binary.BigEndian.AppendUint64(make([]byte, 0, challengeSize), c.epoch)
	payload = append(payload, c.value[:]...)
	if err := m.sendOn(s, s.peer.addr, frame.Challenge, [][]byte{payload}); err != nil {
		m.log.Debug("challenge not sent", "peer", s.peer.name, "error", err)
	}
}

// attestation moves the challenges of s on. It needs m.mu.
func (m *Manager) attestation(now time.Duration, s *session) {
	e := s.peer
	for _, c := range s.challenges {
		switch {
		case c.settled || c.lost:
		case !c.overdue && now >= c.deadline:
			c.overdue, c.decide = true, now+m.cfg.Limits.Overdue
			m.emit(Event{Kind: ChallengeOverdue, Peer: e.name, Session: s.id, Latency: now - c.sent})
			if c.reverify {
				m.call(now, e, ReasonReverify)
			}
		case c.overdue && now >= c.decide:
			c.lost = true
			s.backoff++
			s.challenge = now + m.backoff(s.backoff)
			m.cfg.Metrics.VerificationTimeout()
			m.emit(Event{Kind: ChallengeTimeout, Peer: e.name, Session: s.id, Latency: now - c.sent})
		}
	}
	s.challenges = slices.DeleteFunc(s.challenges, func(c *challenge) bool {
		return (c.lost || c.settled) && now-c.sent >= challengeKeep
	})
	if now < s.challenge {
		return
	}
	m.sendChallenge(now, s, false)
	if s.backoff >= handshakeFrom {
		// Perhaps the peer lost the session: one call goes with the challenge.
		m.initiate(now, e, ReasonConnect, callLimit)
	}
}

// nextAttestation returns when attestation has something to do. It needs m.mu.
func (s *session) nextAttestation() time.Duration {
	next := s.challenge
	for _, c := range s.challenges {
		switch {
		case c.settled || c.lost:
		case c.overdue:
			next = min(next, c.decide)
		default:
			next = min(next, c.deadline)
		}
	}
	return next
}

// answering makes one signature at a time for a session; of challenges that
// come meanwhile the newest is kept.
type answering struct {
	mu   sync.Mutex
	busy bool
	next []byte
}

// challenged answers a challenge of the peer.
func (m *Manager) challenged(s *session, payload []byte) {
	if len(payload) != challengeSize {
		return
	}
	payload = append([]byte(nil), payload...)
	s.answer.mu.Lock()
	defer s.answer.mu.Unlock()
	if s.answer.busy {
		s.answer.next = payload
		return
	}
	s.answer.busy = true
	m.submit(attest.Critical, func() { m.sign(s, payload) })
}

func (m *Manager) sign(s *session, payload []byte) {
	epoch := binary.BigEndian.Uint64(payload)
	msg := attestationMessage(s.id, s.role, [32]byte(payload[8:]), epoch)
	answer := append(payload[:8:8], s.credential.Key.Sign(identity.ContextAttestation, msg)...)
	m.mu.RLock()
	addr := s.peer.addr
	m.mu.RUnlock()
	if err := m.sendSignature(s, addr, answer); err != nil {
		m.log.Debug("attestation not sent", "peer", s.peer.name, "error", err)
	}
	s.answer.mu.Lock()
	defer s.answer.mu.Unlock()
	if next := s.answer.next; next != nil {
		s.answer.next = nil
		m.submit(attest.Critical, func() { m.sign(s, next) })
		return
	}
	s.answer.busy = false
}

// sendSignature sends answer in the clear under tagged headers.
func (m *Manager) sendSignature(s *session, addr netip.AddrPort, answer []byte) error {
	parts := transport.Split(answer, frame.MaxPayload)
	first, ok := s.reserve(len(parts), 2*m.cfg.Limits.SequenceLimit)
	if !ok {
		return ErrNoSession
	}
	buf := frames.Get().(*[]byte)
	defer frames.Put(buf)
	for i, part := range parts {
		h := frame.Header{
			Type: frame.AttestationSignature, Length: uint16(len(part)), Session: s.id,
			Fragment: uint8(i), Fragments: uint8(len(parts)), Sequence: first + uint64(i),
		}
		b := (*buf)[:frame.HeaderLen]
		h.Put(b, s.sealHeader)
		if err := m.cfg.Transport.WriteTo(append(b, part...), addr); err != nil {
			return err
		}
	}
	return nil
}

// readSignatures takes fragments from the kernel, which has checked their tags.
func (m *Manager) readSignatures(ctx context.Context) error {
	for {
		f, err := m.cfg.Signatures.ReadFragment(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("signature fragments from the kernel: %w", err)
		}
		m.signatureFragment(f)
	}
}

// signatureFrame is the socket path of signature frames: it does what the
// kernel does elsewhere. b is the whole datagram.
func (m *Manager) signatureFrame(now time.Duration, s *session, h frame.Header, b []byte) {
	want := binary.BigEndian.AppendUint64(nil, frame.Tag(b, s.openHeader))
	if !hmac.Equal(want, b[frame.TagOffset:frame.HeaderLen]) {
		return
	}
	m.signatureFragment(attest.Fragment{
		Session: h.Session, Sequence: h.Sequence, Fragment: h.Fragment, Fragments: h.Fragments,
		Time: now, Payload: b[frame.HeaderLen:],
	})
}

// signatureFragment handles a fragment with a good tag.
func (m *Manager) signatureFragment(f attest.Fragment) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, s := m.cfg.Now(), m.sessions[f.Session]
	if !s.live(now) || f.Fragment >= f.Fragments {
		return
	}
	if fresh, _ := s.signatures.accept(f.Sequence); !fresh {
		m.emit(Event{Kind: Replayed, Peer: s.peer.name, Session: s.id})
		return
	}
	message, complete := m.answers.Add(now, f.Session, f.Sequence-uint64(f.Fragment), f.Fragment, f.Fragments, f.Payload)
	if complete {
		m.answered(now, s, message)
	}
}

// answered handles a whole attestation. It needs m.mu.
func (m *Manager) answered(now time.Duration, s *session, message []byte) {
	epoch, signature, ok := parseAnswer(message)
	if !ok || epoch > s.epoch {
		detail := "unsolicited"
		if !ok {
			detail = "malformed"
		}
		m.cfg.Metrics.Verification(false, attest.Critical)
		m.emit(Event{Kind: VerificationFailed, Peer: s.peer.name, Session: s.id, Detail: detail})
		return
	}
	i := slices.IndexFunc(s.challenges, func(c *challenge) bool { return c.epoch == epoch })
	if i < 0 {
		return // an answer that came too late, or twice
	}
	c := s.challenges[i]
	if c.attempts == answersMax {
		return
	}
	c.attempts++
	// Half of the time that a signature counts may pass in re-attestations that
	// are shed; then the session's next one is as critical as its first.
	priority := attest.Critical
	if time.Duration(s.verifiedUntil.Load())-now > m.cfg.Limits.Verified/2 {
		priority = attest.Low
	}
	signature = append([]byte(nil), signature...)
	err := m.pool.Submit(priority, func() {
		msg := attestationMessage(s.id, s.role.other(), c.value, c.epoch)
		m.verdict(s, c, s.certificate.PublicKey.Verify(identity.ContextAttestation, msg, signature), priority)
	})
	if err != nil {
		c.settled = true
		m.cfg.Metrics.VerificationShed(priority)
	}
}

// verdict acts on a verified attestation.
func (m *Manager) verdict(s *session, c *challenge, ok bool, priority attest.Priority) {
	m.cfg.Metrics.Verification(ok, priority)
	m.mu.Lock()
	defer m.mu.Unlock()
	e, now := s.peer, m.cfg.Now()
	latency := now - c.sent
	m.cfg.Metrics.VerificationLatency(latency)
	if !ok {
		c.settled = true // the challenge stays open for a good answer
		m.emit(Event{Kind: VerificationFailed, Peer: e.name, Session: s.id, Latency: latency, Detail: "signature"})
		return
	}
	e.estimator.sample(latency)
	i := slices.Index(s.challenges, c)
	if i < 0 || !s.live(now) || m.sessions[s.id] != s {
		return // given up meanwhile: suspended, replaced or invalidated
	}
	s.challenges = slices.Delete(s.challenges, i, i+1)
	until := min(now+m.cfg.Limits.Verified, s.expires)
	if err := m.cfg.Table.SetVerifiedUntil(s.id, until); err != nil {
		m.log.Error("verified time not set in the kernel", "peer", e.name, "session", s.id, "error", err)
		return
	}
	s.verifiedUntil.Store(int64(until))
	e.suspended = false
	if s.backoff > 0 {
		s.backoff = 0
		s.challenge = now + m.jitter(m.cfg.Limits.Challenge)
		m.poke()
	}
	m.emit(Event{Kind: Verified, Peer: e.name, Session: s.id, Latency: latency})
}
