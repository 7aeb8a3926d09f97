package node

import (
	"errors"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
	"github.com/x0tta6bl4/mesh/meshnode/internal/store"
)

// TestSignaturesOutliveCertificates: what was signed under a certificate that has expired, or
// under a root that the mesh has had before, counts; and no longer once that root is taken
// away.
func TestSignaturesOutliveCertificates(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		node := func(a *identity.Authority, name string) *identity.Node {
			t.Helper()
			n, err := a.NewNode(name, "", time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		mesh, next := authority(t), authority(t)
		signer, reader := node(mesh, zoneNames[0]), node(mesh, zoneNames[1])
		statement := []byte("statement")
		certificate, signature := notary{signer}.Sign(statement)
		expect := func(what string, known bool) {
			t.Helper()
			name, verify, err := notary{reader}.Identify(certificate)
			switch {
			case known && (err != nil || name != zoneNames[0] || !verify(statement, signature) || verify(statement[1:], signature)):
				t.Errorf("%s: %q, %v", what, name, err)
			case !known && !errors.Is(err, store.ErrUnknownRoot):
				t.Errorf("%s: %q, %v", what, name, err)
			}
		}
		expect("at once", true)
		time.Sleep(3 * time.Hour)
		if err := reader.Verify(signer.Credential().Certificate); !errors.Is(err, identity.ErrExpired) {
			t.Errorf("for a session the certificate is: %v", err)
		}
		expect("after its certificate's time", true)
		before := notary{reader}.Trust()
		fresh := node(next, zoneNames[1])
		reader.Update(fresh.Credential(), fresh.Trust())
		expect("under a new root", true)
		if (notary{reader}).Trust() == before {
			t.Error("nobody notices that the root is another")
		}
		reader.Adopt(&identity.Trust{Root: fresh.Trust().Root, APICA: fresh.Trust().APICA, Former: []*identity.PublicKey{}})
		expect("when the former root is taken away", false)
	})
}

func authority(t *testing.T) *identity.Authority {
	t.Helper()
	a, err := identity.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	return a
}
