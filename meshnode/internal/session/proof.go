package session

import (
	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/attest"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
)

// An attestation travels in clear, so that the kernel can hand it to the pool: a bad
// one says that somebody between the two nodes, or its signer, spoilt it. Which of
// them, a proof tells: the same answer, sealed under the session's keys. What opens
// and is bad is the signer's own doing; what does not open is nobody's. A proof says
// nothing else: it verifies no session and no metric counts it.

// challengeProof in a challenge's last byte, beside its priority, asks for a proof.
const challengeProof = 0x80

// demandProof asks for the proof of an answer that was bad in clear, once. It needs
// m.mu.
func (m *Manager) demandProof(s *session, c *challenge) {
	if c.asked || m.sessions[s.id] != s {
		return
	}
	c.asked = true
	m.writeChallenge(s, m.challengePath(s), c, byte(c.priority)|challengeProof)
}

// sendProof sends an answer sealed. By relay every attestation is.
func (m *Manager) sendProof(s *session, way path, answer []byte) error {
	if way.relay != nil {
		return m.sendSignature(s, way, answer)
	}
	return m.sendOn(s, way, frame.AttestationProof, answer)
}

// proofCame handles a whole proof, and reports whether it has the form of one.
func (m *Manager) proofCame(s *session, message []byte) bool {
	epoch, signature, ok := parseAnswer(message)
	if !ok {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var c *challenge
	for _, o := range s.challenges {
		if o.epoch == epoch && o.asked && !o.proven {
			c = o
		}
	}
	if c == nil {
		return true // nobody asked, or it came too late
	}
	c.proven = true
	signature = append([]byte(nil), signature...)
	m.submit(s.peer.name, attest.Critical, func() {
		msg := attestationMessage(s.id, s.role.other(), c.value, c.epoch)
		if s.certificate.PublicKey.Verify(identity.ContextAttestation, msg, signature) {
			m.log.Info("an attestation was spoilt on its way", "peer", s.peer.name, "session", s.id, "epoch", epoch)
			return
		}
		m.emit(Event{Kind: ProvenBad, Peer: s.peer.name, Session: s.id, Detail: "signature"})
	})
	return true
}
