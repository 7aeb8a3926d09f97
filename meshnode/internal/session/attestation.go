package session

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/attest"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
	"github.com/x0tta6bl4/mesh/meshnode/internal/mutant"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
)

// challenge is one that was sent and not answered well.
type challenge struct {
	priority attest.Priority
	epoch    uint64
	value    [32]byte
	sent     time.Duration
	deadline time.Duration
	limit    time.Duration // no deadline goes beyond it
	extended bool          // the deadline is longer than that of the estimate
	overdue  bool          // ChallengeOverdue was reported
	decide   time.Duration // until then an overdue challenge is no timeout
	looks    int           // of Judge since it became overdue
	lost     bool          // timed out; a late answer still counts
	settled  bool          // answered badly, or its answer was shed: no timeout follows
	reverify bool          // a handshake follows if the answer is late
	attempts int           // answers that were verified
	repeated bool          // sent more than once
	asked    bool          // for a proof; see demandProof
	proven   bool          // a proof came
}

// awaited reports whether the answer to c has a deadline that has not passed.
func (c *challenge) awaited() bool {
	return !c.overdue && !c.lost && !c.settled && c.priority == attest.Critical
}

// late reports whether the deadline has passed and nothing has come of it yet.
func (c *challenge) late() bool { return c.overdue && !c.lost && !c.settled }

const (
	challengesMax = 8               // outstanding per session and priority
	answersMax    = 4               // verified per challenge
	challengeKeep = 5 * time.Second // after which a late answer is stale
	extendedMax   = 3 * time.Second // from the sending of a challenge to the last deadline that it can get
	handshakeFrom = 4               // timeouts in a row after which the backoff also tries handshakes
	callLimit     = time.Second     // for such a handshake
	looksMin      = 3               // at an overdue challenge before it is a timeout
)

// sendChallenge sends the peer of s a critical challenge, out of turn or in
// turn, and sets when the next one is due. It needs m.mu.
func (m *Manager) sendChallenge(now time.Duration, s *session, reverify bool) {
	m.sendChallengeOver(now, s, []path{m.challengePath(s)}, reverify)
}

// sendChallengeOver does so on given ways.
func (m *Manager) sendChallengeOver(now time.Duration, s *session, ways []path, reverify bool) {
	deadline := now + s.peer.deadline()
	m.send(now, s, ways, &challenge{
		priority: attest.Critical, deadline: deadline, limit: max(deadline, now+extendedMax), extended: s.peer.allowance > 0, reverify: reverify,
	})
	// The times of a session's challenges lie around a grid, so that one that
	// goes out late does not make the next ones late.
	period := m.cfg.Limits.Challenge
	if mutant.ShedCritical && m.shedding.Load() {
		period *= 2
	}
	if s.slot += period; s.slot <= now || s.slot > now+period+period/4 {
		s.slot = now + period
	}
	s.challenge = s.slot + m.jitter(period) - period
	if s.backoff > 0 {
		s.challenge = now + m.backoff(s.backoff+1)
	}
	if mutant.ExtendWithoutEnd && s.peer.allowance > 0 {
		s.challenge = max(s.challenge, deadline)
	}
}

// send sends a challenge and keeps it in place of the oldest of its priority if
// there are too many. It needs m.mu.
func (m *Manager) send(now time.Duration, s *session, ways []path, c *challenge) {
	s.epoch++
	c.epoch, c.sent = s.epoch, now
	rand.Read(c.value[:])
	oldest, count := 0, 0
	for i := len(s.challenges) - 1; i >= 0; i-- {
		if s.challenges[i].priority == c.priority {
			oldest = i
			count++
		}
	}
	if count == challengesMax {
		s.challenges = slices.Delete(s.challenges, oldest, oldest+1)
	}
	s.challenges = append(s.challenges, c)
	for _, way := range ways {
		m.transmitChallenge(s, way, c)
	}
}

// challengePath returns the way of challenges to the peer of s by the routes. It needs
// m.mu.
func (m *Manager) challengePath(s *session) path {
	return m.pathTo(s.peer.name, s.peer.addr, frame.Challenge)
}

// challengeSmall in a challenge's last byte, beside its priority, asks for an answer in
// frames that every path carries: those of an earlier one have not come through.
const challengeSmall = 0x40

func (m *Manager) transmitChallenge(s *session, way path, c *challenge) {
	how := byte(c.priority)
	if c.repeated || s.backoff > 0 {
		how |= challengeSmall
	}
	m.writeChallenge(s, way, c, how)
}

func (m *Manager) writeChallenge(s *session, way path, c *challenge, how byte) {
	payload := binary.BigEndian.AppendUint64(make([]byte, 0, challengeSize), c.epoch)
	payload = append(append(payload, c.value[:]...), how)
	if err := m.sendOn(s, way, frame.Challenge, payload); err != nil {
		m.log.Debug("challenge not sent", "peer", s.peer.name, "error", err)
	}
}

// attestation moves the challenges of s on. It needs m.mu.
func (m *Manager) attestation(now time.Duration, s *session) {
	e := s.peer
	for _, c := range s.challenges {
		if !c.awaited() || now < c.deadline {
			continue
		}
		c.overdue, c.decide, c.looks = true, now+m.cfg.Limits.Overdue, 0
		m.emit(Event{Kind: ChallengeOverdue, Peer: e.name, Session: s.id, Latency: now - c.sent})
		if c.reverify {
			m.call(now, e, ReasonReverify)
		}
	}
	s.challenges = slices.DeleteFunc(s.challenges, func(c *challenge) bool {
		return (c.lost || c.settled || c.priority != attest.Critical) && now-c.sent >= challengeKeep
	})
	m.reattest(now, s)
	if now < s.challenge {
		return
	}
	m.sendChallenge(now, s, false)
	if s.backoff >= handshakeFrom || now-time.Duration(s.verifiedUntil.Load()) >= m.cfg.Limits.Verified {
		// Perhaps the peer lost the session, or has taken up another one that we do not
		// know: one call goes with the challenge. That cannot wait for timeouts only: who
		// is unreachable gets more time for each, and seems so to whom it has no session
		// in common with.
		m.initiate(now, e, ReasonConnect, callLimit)
	}
}

// Judge counts the overdue challenges whose grace is over as timeouts. Who extends
// deadlines calls it after that, at short intervals, and has a few turns for it: what
// is late because this node was kept from working is no timeout.
func (m *Manager) Judge() {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.cfg.Now()
	for _, e := range m.peers {
		s := e.current
		if !s.live(now) {
			continue
		}
		for _, c := range s.challenges {
			if !c.late() {
				continue
			}
			if c.looks++; c.looks < looksMin || now < c.decide {
				continue
			}
			c.lost = true
			if c.sent >= s.timedOut { // several that were under way at once are one failure
				s.timedOut = now
				s.backoff++
				s.challenge = now + m.backoff(s.backoff)
				m.poke()
			}
			m.cfg.Metrics.VerificationTimeout()
			m.emit(Event{Kind: ChallengeTimeout, Peer: e.name, Session: s.id, Latency: now - c.sent})
		}
	}
}

// nextAttestation returns when attestation has something to do. It needs m.mu.
func (s *session) nextAttestation() time.Duration {
	next := s.challenge
	if s.reattest > 0 {
		next = min(next, s.reattest)
	}
	for _, c := range s.challenges {
		if c.awaited() {
			next = min(next, c.deadline)
		}
	}
	return next
}

// answering makes one signature at a time for a session and priority; of
// challenges that come meanwhile the newest is kept.
type answering struct {
	mu   sync.Mutex
	busy bool
	next []byte
	free time.Duration // while shedding, no answer of low priority before
}

// challenged answers a challenge of the peer, and reports whether it is one.
func (m *Manager) challenged(s *session, payload []byte) bool {
	if len(payload) != challengeSize {
		return false
	}
	how := payload[challengeSize-1]
	p, sealed := attest.Priority(how&^(challengeProof|challengeSmall)), how&challengeProof != 0
	if p > attest.Low {
		return false
	}
	if how&challengeSmall != 0 && s.peer.route.fallBack() {
		m.poke()
	}
	payload = append([]byte(nil), payload...)
	a := &s.answers[p]
	if sealed {
		a = &s.proofs // what is asked beside must not keep a challenge from its answer
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if p == attest.Low && m.shedding.Load() {
		now := m.cfg.Now()
		if now < a.free {
			m.shed(p)
			return true
		}
		a.free = now + m.cfg.Limits.Challenge
	}
	if a.busy {
		a.next = payload
		return true
	}
	a.busy = m.submit(s.peer.name, p, func() { m.sign(s, a, p, payload) })
	return true
}

// sign answers a challenge in its turn.
func (m *Manager) sign(s *session, a *answering, p attest.Priority, payload []byte) {
	defer m.signNext(s, a, p)
	epoch := binary.BigEndian.Uint64(payload)
	msg := attestationMessage(s.id, s.role, [32]byte(payload[8:]), epoch)
	answer := append(payload[:8:8], s.credential.Key.Sign(identity.ContextAttestation, msg)...)
	way := m.answerPath(s)
	send := m.sendSignature
	if payload[challengeSize-1]&challengeProof != 0 {
		send = m.sendProof
	}
	if err := send(s, way, answer); err != nil {
		m.log.Debug("attestation not sent", "peer", s.peer.name, "error", err)
	}
}

// signNext answers the challenge that came meanwhile, if one did.
func (m *Manager) signNext(s *session, a *answering, p attest.Priority) {
	a.mu.Lock()
	defer a.mu.Unlock()
	next := a.next
	a.next = nil
	a.busy = next != nil && m.submit(s.peer.name, p, func() { m.sign(s, a, p, next) })
}

// answerPath returns the way of attestations to the peer of s by the routes.
func (m *Manager) answerPath(s *session) path {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.pathTo(s.peer.name, s.peer.addr, frame.AttestationSealed)
}

// sendSignature sends answer in the clear under tagged headers. By relay it is
// sealed, in frames of a type of their own, so that no relay can spoil it and have the
// signer blamed.
func (m *Manager) sendSignature(s *session, way path, answer []byte) error {
	if way.relay != nil {
		return m.sendOn(s, way, frame.AttestationSealed, answer)
	}
	parts := transport.Split(answer, m.room(s, way))
	defer s.inOrder(way)()
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
		if err := m.write(way, append(b, part...)); err != nil {
			m.refused(s.peer, way, err)
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
		m.pool.Attend(f, func(f attest.Fragment) {
			contain(m, f.Session, func() { m.signatureFragment(f) })
		})
	}
}

// signatureFrame is the socket path of signature frames: it does what the
// kernel does elsewhere. b is the whole datagram.
func (m *Manager) signatureFrame(now time.Duration, s *session, h frame.Header, b []byte) {
	if !s.tagged(b) {
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
	// Only what came in clear is joined here, and only what came sealed in session.join: what
	// somebody between the nodes can change is never part of what its signer answers for.
	message, complete := m.answers.Add(now, f.Session, f.Sequence-uint64(f.Fragment), f.Fragment, f.Fragments, f.Payload)
	if complete {
		m.answered(s, message, false)
	}
}

// answered handles a whole attestation, sealed or in clear. It needs m.mu.
func (m *Manager) answered(s *session, message []byte, sealed bool) {
	epoch, signature, ok := parseAnswer(message)
	if !ok || epoch > s.epoch {
		detail := "unsolicited"
		if !ok {
			detail = "malformed"
		}
		m.cfg.Metrics.Verification(false, attest.Critical)
		m.emit(Event{Kind: VerificationFailed, Peer: s.peer.name, Session: s.id, Detail: detail})
		if sealed {
			m.emit(Event{Kind: ProvenBad, Peer: s.peer.name, Session: s.id, Detail: detail})
		}
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
	signature = append([]byte(nil), signature...)
	if !m.submit(s.peer.name, c.priority, func() {
		msg := attestationMessage(s.id, s.role.other(), c.value, c.epoch)
		m.verdict(s, c, s.certificate.PublicKey.Verify(identity.ContextAttestation, msg, signature), sealed)
	}) {
		c.settled = true
	}
}

// verdict acts on a verified attestation.
func (m *Manager) verdict(s *session, c *challenge, ok, sealed bool) {
	m.cfg.Metrics.Verification(ok, c.priority)
	m.mu.Lock()
	defer m.mu.Unlock()
	e, now := s.peer, m.cfg.Now()
	latency := now - c.sent
	if c.priority == attest.Critical { // others may wait long behind more urgent work
		m.cfg.Metrics.VerificationLatency(latency)
	}
	if !ok {
		c.settled = true // the challenge stays open for a good answer
		m.emit(Event{Kind: VerificationFailed, Peer: e.name, Session: s.id, Latency: latency, Detail: "signature"})
		if sealed {
			m.emit(Event{Kind: ProvenBad, Peer: e.name, Session: s.id, Latency: latency, Detail: "signature"})
		} else {
			m.demandProof(s, c)
		}
		return
	}
	if c.priority == attest.Critical && !c.repeated {
		e.estimator.sample(latency)
	}
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
	s.doubted, e.suspended = false, false
	if s.backoff > 0 {
		s.backoff = 0
		s.challenge = now + m.jitter(m.cfg.Limits.Challenge)
		m.poke()
	}
	m.emit(Event{Kind: Verified, Peer: e.name, Session: s.id, Latency: latency, Priority: c.priority})
}
