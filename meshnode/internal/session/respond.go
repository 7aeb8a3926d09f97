package session

import (
	"crypto/hmac"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/cloudflare/circl/kem/xwing"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/attest"
	"github.com/x0tta6bl4/mesh/meshnode/internal/avx"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
)

// halfOpen is a handshake that a peer started: answered, and kept until the
// finish message comes or deadline passes.
type halfOpen struct {
	id       messageID
	name     Peer // as claimed, until the finish message
	from     sender
	deadline time.Duration
	resent   time.Duration

	// Set by the pool when the init message's certificate is good.
	reply      [][]byte
	answer     messageID // the reply's
	keys       *keys
	transcript [32]byte // for the finish message
	session    *session
	finishes   int
	done       bool
}

const (
	halfOpenLife     = 10 * time.Second
	halfOpenResend   = 100 * time.Millisecond // what a peer's frame makes us repeat is not repeated faster
	finishesMax      = 8                      // finish messages that are verified per handshake
	generationMax    = 1 << 62
	reassemblyCookie = handshakeMessages / 4 // incomplete messages from which cookies are asked for
)

// sender is where a frame of a handshake came from: an address, or a node whose
// frames come by relay.
type sender struct {
	addr netip.AddrPort
	node Peer
}

// waysBack returns the ways of what answers a caller: straight, and that of the routes if
// it is another one. Neither is sure. Over a link that is cut in one direction calls come
// and no answer gets back; and a relay may have no verified session with the caller,
// although one has handed over its call. It needs m.mu.
func (m *Manager) waysBack(half *halfOpen) []path {
	addr := m.addrOf(half)
	straight := path{addr: addr}
	switch routed := m.pathTo(half.name, addr, frame.HandshakeReply); {
	case routed == straight:
		return []path{straight}
	case !addr.IsValid():
		return []path{routed}
	default:
		return []path{straight, routed}
	}
}

// addrOf is where a caller is reached straight: where its call came from, or what is known of
// it if that came by relay. It needs m.mu.
func (m *Manager) addrOf(half *halfOpen) netip.AddrPort {
	if e := m.peers[half.name]; half.from.node != "" && e != nil {
		return e.addr
	}
	return half.from.addr
}

// reply sends the caller the reply message. It needs m.mu.
func (m *Manager) reply(half *halfOpen) {
	for _, way := range m.waysBack(half) {
		m.writeAll(way, half.reply)
	}
}

// sameWay reports whether an own call goes to where a frame came from. It needs
// m.mu.
func (m *Manager) sameWay(o *initiation, from sender) bool {
	if from.node == "" {
		return o.addr == from.addr
	}
	return m.pathTo(o.peer.name, o.addr, frame.HandshakeInit).relay != nil
}

// unknownPeerError marks a certificate that the mesh's root does not vouch for.
type unknownPeerError struct{ error }

func (e *unknownPeerError) Unwrap() error { return e.error }

// handshakeFailed reports a handshake message that did not verify.
func (m *Manager) handshakeFailed(p Peer, err error) {
	kind := HandshakeFailed
	if _, ok := errors.AsType[*unknownPeerError](err); ok {
		kind = UnknownPeer
	}
	m.log.Info("handshake failed", "peer", p, "error", err)
	m.emit(Event{Kind: kind, Peer: p, Detail: err.Error()})
}

// submit hands work on what a peer sent to the pool and reports whether it took it. It never
// refuses critical work; callers bound how much of that they hand over.
func (m *Manager) submit(from Peer, p attest.Priority, job func()) bool {
	if err := m.pool.Submit(p, func() { contain(m, from, job) }); err != nil {
		m.shed(p)
		return false
	}
	return true
}

// handshakeFrame handles one frame of a handshake message, which the neighbour via
// has handed over if it came by relay. The token decides before anything is kept;
// see messageID.
func (m *Manager) handshakeFrame(h frame.Header, payload []byte, from sender, via Peer) {
	id, token, part, ok := cutPrefix(payload)
	if !ok || h.Session != (frame.SessionID{}) || h.Sequence != 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.cfg.Now()
	switch h.Type {
	case frame.HandshakeInit:
		if m.unproven(now, h, id, token, part, from) {
			return
		}
	case frame.HandshakeReply:
		if m.outgoing[token] == nil {
			return
		}
	case frame.HandshakeFinish:
		if m.unfinished[token] == nil {
			return
		}
	case frame.HandshakeCookie:
		m.cookieFrame(token, part, from.addr)
		return
	default:
		return
	}
	key := handshakeKey{from.addr.Port(), from.node, h.Type, id, token}
	source := contact{from.addr.Addr(), from.node, via}
	message, complete := m.incomplete(from).Add(now, source, key, h.Fragment, h.Fragments, part)
	if !complete || idOf(message) != id {
		return
	}
	switch h.Type {
	case frame.HandshakeInit:
		m.called(now, id, message, from)
	case frame.HandshakeReply:
		m.replied(m.outgoing[token], message)
	case frame.HandshakeFinish:
		m.finished(now, m.unfinished[token], message)
	}
}

// called handles a whole init message. It needs m.mu.
func (m *Manager) called(now time.Duration, id messageID, message []byte, from sender) {
	if half := m.halfOpen[id]; half != nil {
		if half.reply != nil && (half.from == from || m.home(half.name, from)) && now-half.resent >= halfOpenResend {
			half.resent = now
			m.reply(half)
		}
		return
	}
	msg, err := parseInit(message)
	if err != nil || Peer(msg.responder) != m.self || msg.generation > generationMax {
		return // not for us: a stale address, or noise
	}
	name := Peer(msg.certificate.Name)
	if from.node != "" && from.node != name {
		return
	}
	if name == m.self || m.blocked[name] > now {
		return
	}
	e := m.peers[name]
	// Simultaneous open: the call of the lesser name stands. It is not given up
	// for an unsigned call, which anybody can make, and another address means
	// that our own call may be going nowhere. The other side has got none of it
	// yet, so it is repeated, however long its pauses have become.
	if e != nil && e.out != nil && e.out.pending == nil && m.self < name && m.sameWay(e.out, from) {
		if now-e.out.last >= halfOpenResend {
			m.transmit(e.out)
		}
		return
	}
	if !m.admit(name, from) {
		return
	}
	var generation uint64
	if e != nil {
		generation = e.generation()
	}
	half := &halfOpen{id: id, name: name, from: from, deadline: now + halfOpenLife, resent: now}
	m.halfOpen[id] = half
	message = append([]byte(nil), message...)
	m.submit(half.name, attest.Critical, func() { m.answerCall(half, message, generation) })
	m.poke()
}

// answerCall verifies the caller's certificate and sends a reply. It runs in
// the pool, in its turn: who has given way to others by then costs nothing more.
func (m *Manager) answerCall(half *halfOpen, message []byte, generation uint64) {
	m.mu.RLock()
	kept := m.halfOpen[half.id] == half
	m.mu.RUnlock()
	if !kept {
		return
	}
	answer, err := m.makeReply(message, generation)
	if err != nil {
		m.cfg.Metrics.Verification(false, attest.Critical)
		m.handshakeFailed(half.name, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.halfOpen[half.id] != half {
		return
	}
	if err != nil {
		m.close(half)
		return
	}
	half.reply, half.answer = answer.reply, answer.answer
	half.keys, half.transcript, half.session = answer.keys, answer.transcript, answer.session
	m.unfinished[half.answer] = half
	m.expect(half.answer, m.addrOf(half))
	m.reply(half)
}

func (m *Manager) makeReply(init []byte, generation uint64) (*halfOpen, error) {
	msg, err := parseInit(init)
	if err != nil {
		return nil, err
	}
	if err := m.cfg.Identity.Verify(msg.certificate); err != nil {
		return nil, &unknownPeerError{err}
	}
	secret, ciphertext, err := xwing.Encapsulate(msg.kem, nil)
	avx.Release()
	if err != nil {
		return nil, fmt.Errorf("%w: KEM key: %w", errHandshake, err)
	}
	cred := m.cfg.Identity.Credential()
	reply := replyMessage{generation: generation, ciphertext: ciphertext, certificate: cred.Certificate}
	rand.Read(reply.nonce[:])
	core := reply.encodeCore()
	transcript := replyHash(init, core)
	k, err := deriveKeys(secret, transcript)
	if err != nil {
		return nil, err
	}
	confirmation := k.confirmation(responder, transcript)
	signature := cred.Key.Sign(identity.ContextResponder, signedBy(transcript, confirmation))
	s, err := newSession(k, responder)
	if err != nil {
		return nil, err
	}
	s.credential, s.certificate, s.reason = cred, msg.certificate, ReasonAccept
	s.generation = max(msg.generation, generation) + 1
	s.anew = msg.generation == 0 && generation > 0
	whole := append(append(core, confirmation...), signature...)
	return &halfOpen{
		reply:      handshakeFrames(frame.HandshakeReply, whole, idOf(init)),
		answer:     idOf(whole),
		keys:       k,
		transcript: finishHash(transcript, confirmation, signature),
		session:    s,
	}, nil
}

// finished handles a whole finish message. It needs m.mu.
func (m *Manager) finished(now time.Duration, half *halfOpen, message []byte) {
	if half.done {
		// The caller has not heard from us yet: any sealed frame confirms.
		if now-half.resent >= halfOpenResend && half.session.live(now) {
			half.resent = now
			m.confirm(now, half)
		}
		return
	}
	if half.finishes == finishesMax {
		return
	}
	half.finishes++
	message = append([]byte(nil), message...)
	m.submit(half.name, attest.Critical, func() {
		err := verifyFinish(half, message)
		m.cfg.Metrics.Verification(err == nil, attest.Critical)
		if err != nil {
			m.handshakeFailed(half.name, err)
			return
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.accept(half)
	})
}

func verifyFinish(half *halfOpen, message []byte) error {
	confirmation, signature, err := parseFinish(message)
	if err != nil {
		return err
	}
	if !hmac.Equal(half.keys.confirmation(initiator, half.transcript), confirmation) {
		return errors.New("bad key confirmation of the initiator")
	}
	key := half.session.certificate.PublicKey
	if !key.Verify(identity.ContextInitiator, signedBy(half.transcript, confirmation), signature) {
		return errors.New("bad signature of the initiator")
	}
	return nil
}

// accept takes up the session of a verified handshake. It needs m.mu.
func (m *Manager) accept(half *halfOpen) {
	now, s := m.cfg.Now(), half.session
	if m.halfOpen[half.id] != half || half.done || m.sessions[s.id] != nil || m.blocked[half.name] > now {
		return
	}
	e := m.peer(half.name)
	if e == nil {
		m.log.Warn("peer not taken up: too many", "peer", half.name, "limit", m.cfg.Limits.Peers)
		return
	}
	if e.superseded(s.certificate) {
		m.handshakeFailed(e.name, errSuperseded)
		return
	}
	half.done, half.reply, half.resent = true, nil, now
	s.peer = e
	if err := m.install(now, s); err != nil {
		m.log.Error("session not installed in the kernel", "peer", e.name, "error", err)
		return
	}
	if half.from.node == "" {
		e.move(half.from.addr)
	}
	if e.out != nil && e.out.pending == nil {
		m.abandon(e)
	}
	m.establish(now, s)
	m.confirm(now, half)
	m.poke()
}

// confirm sends the caller of a new session a sealed frame, for which it waits. It needs
// m.mu.
func (m *Manager) confirm(now time.Duration, half *halfOpen) {
	m.sendChallengeOver(now, half.session, m.waysBack(half), false)
}
