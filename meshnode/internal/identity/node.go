package identity

import (
	"crypto/tls"
	"crypto/x509"
	"sync/atomic"
	"time"
)

// Trust is the public trust bundle of a mesh: what a node or a client needs in
// order to recognise the others.
type Trust struct {
	Root   *PublicKey     // signs the nodes' certificates
	APICA  *x509.CertPool // signs the TLS certificates of the CA and of the client API
	Former []*PublicKey   // earlier roots, newest first; nil: not known; see TrustFormerFile
}

// Credential is a node's key, its certificate and the TLS certificate of its
// client API. It never changes; renewal makes a new one.
type Credential struct {
	Key         Signer
	Certificate *Certificate
	TLS         *tls.Certificate // nil where no client API is served
}

// renewAt returns the moment at which the credential should be renewed: after
// two thirds of its life.
func (c *Credential) renewAt() time.Time {
	life := c.Certificate.NotAfter.Sub(c.Certificate.NotBefore)
	return c.Certificate.NotBefore.Add(life / 3 * 2)
}

// Node is the identity of a running node. Its credential is replaced on
// renewal while sessions go on with the one they were made with.
//
// It keeps the mesh's time, which is the authority's: what a certificate says when it was
// issued, and what has passed here since. The clock of the node's machine has no part in
// it, so that a node whose clock is wrong judges certificates as all others do.
type Node struct {
	credential atomic.Pointer[Credential]
	trust      atomic.Pointer[Trust]
	epoch      atomic.Pointer[epoch]
	succession atomic.Pointer[succession]
}

// epoch is a moment of the mesh's time and of this process's.
type epoch struct {
	mesh  time.Time
	local time.Time // with a monotonic reading, which no clock that is set changes
}

func (e *epoch) now() time.Time { return e.mesh.Add(time.Since(e.local)) }

// NewNode returns the identity of a node that holds c and trusts t.
func NewNode(c *Credential, t *Trust) *Node {
	n := new(Node)
	n.Update(c, t)
	return n
}

// Update replaces the credential and the trust bundle.
func (n *Node) Update(c *Credential, t *Trust) {
	if last := n.Trust(); last != nil && !last.Root.Equal(t.Root) {
		n.succession.Store(&succession{n.Scribe(), last.Root, time.Now().Add(formerSigns)})
	}
	if old := n.credential.Load(); old == nil || old.Certificate.Serial != c.Certificate.Serial {
		n.epoch.Store(&epoch{mesh: c.Certificate.NotBefore, local: time.Now()})
	}
	n.credential.Store(c)
	n.Adopt(t)
}

// Now returns the mesh's time.
func (n *Node) Now() time.Time { return n.epoch.Load().now() }

// Name returns the node's name.
func (n *Node) Name() string { return n.Credential().Certificate.Name }

// Zone returns the node's zone.
func (n *Node) Zone() string { return n.Credential().Certificate.Zone }

// Credential returns the current credential.
func (n *Node) Credential() *Credential { return n.credential.Load() }

// Trust returns the current trust bundle.
func (n *Node) Trust() *Trust { return n.trust.Load() }

// Verify checks a peer's certificate against the current trust bundle and time.
func (n *Node) Verify(c *Certificate) error { return c.Verify(n.Trust().Root, n.Now()) }

// TLSConfig returns the configuration of the node's client API server: TLS 1.3
// with the current TLS certificate, also after renewals.
func (n *Node) TLSConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return n.Credential().TLS, nil
		},
	}
}
