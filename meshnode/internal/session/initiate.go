package session

import (
	"crypto/hmac"
	"crypto/rand"
	"fmt"
	"net/netip"
	"time"

	"github.com/cloudflare/circl/kem/xwing"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/attest"
	"github.com/x0tta6bl4/mesh/meshnode/internal/avx"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
)

// initiation is an own handshake under way: first the init message is repeated
// until a reply comes, then the finish message until the peer uses the session.
type initiation struct {
	id         messageID
	peer       *peer
	reason     string
	addr       netip.AddrPort
	credential *identity.Credential
	init       []byte
	kem        *xwing.PrivateKey
	generation uint64
	frames     [][]byte // what is repeated
	sent       int
	last       time.Duration // ktime of the last transmission
	resend     time.Duration // ktime of the next one
	deadline   time.Duration // ktime
	replies    int           // handed to the pool
	cookies    int           // taken
	cookie     messageID     // the last one
	pending    *session      // after the reply
}

// The attempts of others that one handshake puts up with: bad replies cost a
// verification each, cookies a retransmission.
const (
	repliesMax = 8
	cookiesMax = 3
)

// call starts a handshake with e at once, or gives one that is under way new
// vigour. It needs m.mu.
func (m *Manager) call(now time.Duration, e *peer, reason string) {
	o := e.out
	if o == nil {
		m.initiate(now, e, reason, 0)
		return
	}
	if o.pending == nil {
		o.reason = reason
	}
	o.deadline = max(o.deadline, now+m.cfg.Limits.Handshake)
	o.sent = 0
	m.transmit(o)
}

// initiate starts a handshake with e; it fails after limit, 0 for the usual.
// It needs m.mu.
func (m *Manager) initiate(now time.Duration, e *peer, reason string, limit time.Duration) {
	way := m.pathTo(e.name, e.addr, frame.HandshakeInit)
	if e.out != nil || !way.addr.IsValid() || m.blocked[e.name] > now {
		return
	}
	if limit <= 0 {
		limit = m.cfg.Limits.Handshake
	}
	sk, pk, err := xwing.GenerateKeyPair(rand.Reader)
	avx.Release()
	if err != nil {
		m.log.Error("ephemeral key", "error", err)
		return
	}
	o := &initiation{
		peer: e, reason: reason, addr: e.addr, kem: sk, generation: e.generation(),
		credential: m.cfg.Identity.Credential(), deadline: now + limit,
	}
	msg := initMessage{
		generation: o.generation, kem: make([]byte, xwing.PublicKeySize),
		responder: string(e.name), certificate: o.credential.Certificate,
	}
	rand.Read(msg.nonce[:])
	pk.Pack(msg.kem)
	o.init = msg.encode()
	o.id = idOf(o.init)
	o.frames = handshakeFrames(frame.HandshakeInit, o.init, messageID{})
	e.out = o
	m.outgoing[o.id] = e
	m.expect(o.id, o.addr)
	m.transmit(o)
}

// retransmitMax is the longest pause between two transmissions of a message.
const retransmitMax = 2 * time.Second

// transmit sends o's frames and schedules the next time: exponential backoff
// with jitter. They go straight in any case: to the routes a link is as good as cut
// when only the session over it has ended, and a relay that has no verified session
// with the peer itself drops them. It needs m.mu.
func (m *Manager) transmit(o *initiation) {
	straight := path{addr: o.addr}
	m.writeAll(straight, o.frames)
	if way := m.pathTo(o.peer.name, o.addr, frame.HandshakeInit); way != straight {
		m.writeAll(way, o.frames)
	}
	pause := min(m.cfg.Limits.Retransmit<<min(o.sent, 8), max(retransmitMax, m.cfg.Limits.Retransmit))
	o.last = m.cfg.Now()
	o.resend = o.last + m.jitter(pause)
	o.sent++
}

func (m *Manager) writeAll(way path, frames [][]byte) {
	for _, f := range frames {
		if err := m.write(way, f); err != nil {
			m.log.Debug("handshake frame not sent", "to", way.addr, "error", err)
			return // a retransmission follows
		}
	}
}

// abandon ends e's own handshake. It needs m.mu.
func (m *Manager) abandon(e *peer) {
	if e.out == nil {
		return
	}
	delete(m.outgoing, e.out.id)
	m.expectNoMore(e.out.id)
	if s := e.out.pending; s != nil && !s.confirmed.Load() {
		m.drop(s.id)
	}
	e.out = nil
}

// cookieFrame takes a responder's cookie and repeats the init message with it.
// It needs m.mu.
func (m *Manager) cookieFrame(token messageID, payload []byte, from netip.AddrPort) {
	e := m.outgoing[token]
	if e == nil || e.out.pending != nil || e.out.addr != from || len(payload) != len(messageID{}) || e.out.cookies == cookiesMax {
		return
	}
	if messageID(payload) == e.out.cookie {
		return // answers to several transmissions, and one that the call shows already
	}
	e.out.cookies++
	e.out.cookie = messageID(payload)
	setToken(e.out.frames, e.out.cookie)
	m.transmit(e.out)
}

// replied hands a whole reply message to the pool. It needs m.mu.
func (m *Manager) replied(e *peer, message []byte) {
	o := e.out
	if o.pending != nil || o.replies == repliesMax {
		return
	}
	o.replies++
	message = append([]byte(nil), message...)
	m.submit(e.name, attest.Critical, func() {
		s, finish, err := m.verifyReply(e.name, o, message)
		m.cfg.Metrics.Verification(err == nil, attest.Critical)
		if err != nil {
			m.handshakeFailed(e.name, err)
			return
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		now := m.cfg.Now()
		if e.out != o || o.pending != nil || m.sessions[s.id] != nil {
			return
		}
		if e.superseded(s.certificate) {
			m.handshakeFailed(e.name, errSuperseded)
			return
		}
		s.peer, s.reason = e, o.reason
		if err := m.install(now, s); err != nil {
			m.log.Error("session not installed in the kernel", "peer", e.name, "error", err)
			return
		}
		o.pending = s
		o.frames, o.sent = finish, 0
		o.deadline = now + m.cfg.Limits.Handshake
		m.transmit(o)
		m.poke()
	})
}

// verifyReply checks everything about a reply and makes the session and the
// frames of the finish message. It holds no lock: of o it reads what never changes.
func (m *Manager) verifyReply(want Peer, o *initiation, message []byte) (*session, [][]byte, error) {
	reply, err := parseReply(message)
	if err != nil {
		return nil, nil, err
	}
	cert := reply.certificate
	if Peer(cert.Name) != want {
		return nil, nil, fmt.Errorf("%s answered in place of %s", cert.Name, want)
	}
	if reply.generation > generationMax {
		return nil, nil, fmt.Errorf("%w: generation %d", errHandshake, reply.generation)
	}
	if err := m.cfg.Identity.Verify(cert); err != nil {
		return nil, nil, &unknownPeerError{err}
	}
	transcript := replyHash(o.init, reply.core)
	if !cert.PublicKey.Verify(identity.ContextResponder, signedBy(transcript, reply.confirmation), reply.signature) {
		return nil, nil, fmt.Errorf("bad signature of the responder")
	}
	packed := make([]byte, xwing.PrivateKeySize)
	o.kem.Pack(packed)
	secret := xwing.Decapsulate(reply.ciphertext, packed)
	avx.Release()
	clear(packed)
	k, err := deriveKeys(secret, transcript)
	if err != nil {
		return nil, nil, err
	}
	if !hmac.Equal(k.confirmation(responder, transcript), reply.confirmation) {
		return nil, nil, fmt.Errorf("bad key confirmation of the responder")
	}
	s, err := newSession(k, initiator)
	if err != nil {
		return nil, nil, err
	}
	s.credential, s.certificate = o.credential, cert
	s.generation = max(o.generation, reply.generation) + 1
	s.anew = reply.generation == 0 && o.generation > 0

	final := finishHash(transcript, reply.confirmation, reply.signature)
	finish := k.confirmation(initiator, final)
	finish = append(finish, o.credential.Key.Sign(identity.ContextInitiator, signedBy(final, finish))...)
	return s, handshakeFrames(frame.HandshakeFinish, finish, idOf(message)), nil
}

// signedBy is the message of a handshake signature: the transcript and the
// signer's key confirmation.
func signedBy(transcript [32]byte, confirmation []byte) []byte {
	return append(transcript[:], confirmation...)
}
