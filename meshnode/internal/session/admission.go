package session

import (
	"net/netip"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
)

// Admission is what the kernel has to know to let first contact through a flood, see the
// verifier's documentation. Methods must not block for long and may be called
// concurrently. To put what is there and to delete what is not is no error.
type Admission interface {
	// PutSecrets sets what cookies are made with, and were made with before.
	PutSecrets(current, previous frame.Key) error
	// PutCall makes a message known that was sent to an address: what comes from there
	// and shows the message's id as its token is let through. Of one id the last call counts.
	PutCall(id [16]byte, to netip.Addr) error
	DeleteCall(id [16]byte) error
	// PutPeer makes an address known as that of a peer: it has a share of its own.
	PutPeer(a netip.Addr) error
	DeletePeer(a netip.Addr) error
}

// NoAdmission is the Admission where no kernel judges first contact.
type NoAdmission struct{}

// PutSecrets tells nobody.
func (NoAdmission) PutSecrets(_, _ frame.Key) error { return nil }

// PutCall tells nobody.
func (NoAdmission) PutCall([16]byte, netip.Addr) error { return nil }

// DeleteCall tells nobody.
func (NoAdmission) DeleteCall([16]byte) error { return nil }

// PutPeer tells nobody.
func (NoAdmission) PutPeer(netip.Addr) error { return nil }

// DeletePeer tells nobody.
func (NoAdmission) DeletePeer(netip.Addr) error { return nil }

// expect tells the kernel of a message sent to an address whose answers are to come.
// What comes by relay does not pass the kernel: then there is no address, and nothing to
// tell. It needs m.mu.
func (m *Manager) expect(id messageID, to netip.AddrPort) {
	if !to.IsValid() {
		return
	}
	if err := m.cfg.Admission.PutCall(id, to.Addr()); err != nil {
		m.log.Error("call not made known to the kernel: under a flood its answers may be lost", "error", err)
	}
}

// expectNoMore ends that. It needs m.mu.
func (m *Manager) expectNoMore(id messageID) {
	if err := m.cfg.Admission.DeleteCall(id); err != nil {
		m.log.Error("call not deleted from the kernel's table", "error", err)
	}
}

// close forgets a half-open handshake. It needs m.mu.
func (m *Manager) close(half *halfOpen) {
	delete(m.halfOpen, half.id)
	if half.session != nil {
		delete(m.unfinished, half.answer)
		m.expectNoMore(half.answer)
	}
}

// admission keeps what the kernel knows current: the cookies' secrets, and where the
// peers are: those of discovery and those that have proven themselves. It needs m.mu.
func (m *Manager) admission(now time.Duration) {
	if m.cookies.rotate(now) {
		m.secretsKnown = false
		m.acquaint = now
	}
	if now < m.acquaint {
		return
	}
	m.acquaint = now + housekeeping // what fails here is tried again then
	if !m.secretsKnown {
		err := m.cfg.Admission.PutSecrets(m.cookies.current, m.cookies.previous)
		if m.secretsKnown = err == nil; err != nil {
			m.log.Error("cookies' secrets not made known to the kernel", "error", err)
		}
	}
	at := make(map[netip.Addr]bool)
	for _, e := range m.peers {
		for _, a := range []netip.Addr{e.connect.Addr(), e.addr.Addr()} {
			if a.IsValid() {
				at[a] = true
			}
		}
	}
	for a := range at {
		if m.acquainted[a] {
			continue
		}
		if err := m.cfg.Admission.PutPeer(a); err != nil {
			m.log.Error("peer's address not made known to the kernel", "address", a, "error", err)
			delete(at, a) // the next look tries again
		}
	}
	for a := range m.acquainted {
		if at[a] {
			continue
		}
		if err := m.cfg.Admission.DeletePeer(a); err != nil {
			m.log.Error("peer's address not deleted from the kernel's table", "address", a, "error", err)
		}
	}
	m.acquainted = at
}
