package inject

import (
	"net/netip"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
	"github.com/x0tta6bl4/mesh/meshnode/internal/session"
)

// rogueName is what the unknown keys call themselves.
const rogueName = "unknown-key"

// rogueLife is how long the certificates of unknown keys count: only the root that
// signed them is wrong.
const rogueLife = time.Hour

// rogue calls nodes with certificates of a root of its own.
type rogue struct {
	root    *identity.Authority
	id      *identity.Node
	gate    *gate
	manager *session.Manager
}

func newRogue(cfg Config) (*rogue, error) {
	root, err := identity.NewAuthority()
	if err != nil {
		return nil, err
	}
	id, err := root.NewNode(rogueName, "", rogueLife)
	if err != nil {
		return nil, err
	}
	conn, err := cfg.Listen()
	if err != nil {
		return nil, err
	}
	g := &gate{Conn: conn, pass: map[netip.AddrPort]bool{}}
	m, err := newManager(id, g, cfg.Logger)
	return &rogue{root, id, g, m}, err
}

// call makes a new key and calls every target with it, once.
func (r *rogue) call(targets []Target) error {
	fresh, err := r.root.NewNode(rogueName, "", rogueLife)
	if err != nil {
		return err
	}
	for _, t := range targets {
		r.manager.Forget(session.Peer(t.Name)) // what is under way was made with the last key
	}
	r.id.Update(fresh.Credential(), fresh.Trust())
	for _, t := range targets {
		r.gate.allow(t.Addr, 1)
		r.manager.Connect(session.Peer(t.Name), t.Addr)
		r.manager.Rotate(session.Peer(t.Name), reason)
	}
	return nil
}
