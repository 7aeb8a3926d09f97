package main

import (
	"context"
	"net/netip"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/bpf/verifier"
	"github.com/x0tta6bl4/mesh/meshnode/internal/attest"
	"github.com/x0tta6bl4/mesh/meshnode/internal/node"
	"github.com/x0tta6bl4/mesh/meshnode/internal/session"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
)

// kernelGate makes the eBPF verifier the node's gate. The socket behind it is bound to
// the interface that it guards: nothing reaches it unjudged by another one.
type kernelGate struct {
	v    *verifier.Verifier
	conn *transport.UDP
}

var _ node.Gate = kernelGate{}

func (g kernelGate) Put(id frame.SessionID, e session.Entry) error {
	return g.v.Put(id, verifier.Session(e))
}
func (g kernelGate) Delete(id frame.SessionID) error { return g.v.Delete(id) }
func (g kernelGate) Revoke(id frame.SessionID) error { return g.v.Revoke(id) }
func (g kernelGate) SetVerifiedUntil(id frame.SessionID, t time.Duration) error {
	return g.v.SetVerifiedUntil(id, t)
}
func (g kernelGate) PutSecrets(current, previous frame.Key) error {
	return g.v.PutSecrets(current, previous)
}
func (g kernelGate) PutCall(id [16]byte, to netip.Addr) error { return g.v.PutCall(id, to) }
func (g kernelGate) DeleteCall(id [16]byte) error             { return g.v.DeleteCall(id) }
func (g kernelGate) PutPeer(a netip.Addr) error               { return g.v.PutPeer(a) }
func (g kernelGate) DeletePeer(a netip.Addr) error            { return g.v.DeletePeer(a) }

func (g kernelGate) Mode() string { return g.v.Mode() }

// Healthy is about the socket behind the verifier, too.
func (g kernelGate) Healthy() error {
	if err := g.v.Healthy(); err != nil {
		return err
	}
	return g.conn.Bound()
}

// Reattach also binds the socket to an interface that has come in the place of the old
// one, once that is guarded.
func (g kernelGate) Reattach() error {
	if err := g.v.Reattach(); err != nil {
		return err
	}
	return g.conn.Rebind()
}

func (g kernelGate) Counters() (map[string]uint64, error)  { return g.v.Counters() }
func (g kernelGate) Malformed() (map[string]uint64, error) { return g.v.Malformed() }

// kernelSignatures reads signature fragments from the verifier.
type kernelSignatures struct{ v *verifier.Verifier }

func (s kernelSignatures) ReadFragment(ctx context.Context) (attest.Fragment, error) {
	f, err := s.v.ReadSignature(ctx)
	return attest.Fragment{
		Session: f.Session, Sequence: f.Sequence, Fragment: f.Fragment, Fragments: f.Fragments, Time: f.Time,
		More: f.More, Payload: f.Payload,
	}, err
}

// kernelReports reads drop reports from the verifier.
type kernelReports struct{ v *verifier.Verifier }

func (r kernelReports) ReadVerdict(ctx context.Context) (string, error) {
	report, err := r.v.ReadReport(ctx)
	return report.Verdict, err
}
