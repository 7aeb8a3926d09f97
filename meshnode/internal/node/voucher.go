package node

import (
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
)

// voucher signs and checks the anchors of routes with the nodes' identities.
type voucher struct{ id *identity.Node }

// Vouch implements route.Voucher.
func (v voucher) Vouch(statement func(issued time.Time) []byte) (certificate, signature []byte) {
	c := v.id.Credential() // once: it may be renewed meanwhile
	return c.Certificate.Bytes(), c.Key.Sign(identity.ContextRoute, statement(c.Certificate.NotBefore))
}

// Confirm implements route.Voucher.
func (v voucher) Confirm(certificate, signature, statement []byte) (string, time.Time, error) {
	c, err := identity.ParseCertificate(certificate)
	if err == nil {
		err = v.id.Verify(c)
	}
	if err == nil && !c.PublicKey.Verify(identity.ContextRoute, statement, signature) {
		err = identity.ErrForged
	}
	if err != nil {
		return "", time.Time{}, err
	}
	return c.Name, c.NotBefore, nil
}
