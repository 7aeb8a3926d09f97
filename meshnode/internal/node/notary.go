package node

import (
	"errors"
	"fmt"

	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
	"github.com/x0tta6bl4/mesh/meshnode/internal/store"
)

// notary signs and checks records with the nodes' identities.
type notary struct{ id *identity.Node }

// Sign implements store.Notary.
func (n notary) Sign(statement []byte) (certificate, signature []byte) {
	c := n.id.Scribe()
	return c.Certificate.Bytes(), c.Key.Sign(identity.ContextRecord, statement)
}

// Trust implements store.Notary.
func (n notary) Trust() any { return n.id.Trust() }

// Identify implements store.Notary. When a certificate was valid does not matter: records
// are kept for longer.
func (n notary) Identify(certificate []byte) (string, func(statement, signature []byte) bool, error) {
	c, err := identity.ParseCertificate(certificate)
	if err != nil {
		return "", nil, fmt.Errorf("%w: %w", store.ErrForged, err)
	}
	trust := n.id.Trust()
	if err := c.VerifyIssuer(append([]*identity.PublicKey{trust.Root}, trust.Former...)...); err != nil {
		kind := store.ErrForged
		if errors.Is(err, identity.ErrForeign) {
			kind = store.ErrUnknownRoot
		}
		return c.Name, nil, fmt.Errorf("%w: %w", kind, err)
	}
	return c.Name, func(statement, signature []byte) bool {
		return c.PublicKey.Verify(identity.ContextRecord, statement, signature)
	}, nil
}
