package session

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/internal/attest"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// fragile is a mistake in the code that whatever fails verification brings out.
type fragile struct {
	*metrics
	panics atomic.Int32
}

func (f *fragile) Verification(ok bool, p attest.Priority) {
	if !ok {
		f.panics.Add(1)
		panic("a mistake")
	}
	f.metrics.Verification(ok, p)
}

// ring yields what the kernel would have put into its ring buffer.
type ring chan attest.Fragment

func (r ring) ReadFragment(ctx context.Context) (attest.Fragment, error) {
	select {
	case f := <-r:
		return f, nil
	case <-ctx.Done():
		return attest.Fragment{}, ctx.Err()
	}
}

// put takes a datagram as the verifier does.
func (r ring) put(b []byte) {
	if h, part, err := frame.Parse(b); err == nil {
		r <- attest.Fragment{Session: h.Session, Sequence: h.Sequence, Fragment: h.Fragment, Fragments: h.Fragments, Payload: bytes.Clone(part)}
	}
}

// TestAPanicCostsItsMessageOnly: what a peer sends may bring out a mistake wherever it is worked
// on, by the socket, by the kernel's ring and in the pool. The node goes on, its other peers
// notice nothing, and the same peer is verified as soon as it is honest.
func TestAPanicCostsItsMessageOnly(t *testing.T) {
	for _, kernel := range []bool{false, true} {
		t.Run(fmt.Sprintf("kernel=%v", kernel), func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				w := newMesh(t)
				defer w.stopAll()
				mistake, signatures := &fragile{metrics: newMetrics()}, make(ring, 1024)
				var spoil atomic.Bool
				w.net.SetFilter(func(from, to netip.AddrPort, p []byte) []byte {
					if to != transportAddr("a") || frame.Type(p[3]) != frame.AttestationSignature {
						return p
					}
					if spoil.Load() && from == transportAddr("b") {
						p = bytes.Clone(p)
						p[len(p)-1] ^= 1
					}
					if kernel {
						signatures.put(p)
						return nil
					}
					return p
				})
				a := w.start("a", netip.AddrPort{}, func(c *Config) {
					c.Metrics = mistake
					if kernel {
						c.Signatures = signatures
					}
				})
				b, c := w.start("b", netip.AddrPort{}), w.start("c", netip.AddrPort{})
				w.connectAll()
				w.within(3*time.Second, "verified", w.verified)

				panicked := func(what string, do func()) {
					t.Helper()
					before := mistake.panics.Load()
					do()
					w.pass(3 * time.Second)
					if mistake.panics.Load() == before {
						t.Errorf("%s brought no mistake out", what)
					}
					if !a.verifies(c) || !c.verifies(a) {
						t.Errorf("%s: an honest peer is not verified any more", what)
					}
				}
				s := b.peers["a"].current
				unasked := append(bytes.Repeat([]byte{0x7f}, 8), make([]byte, identity.SignatureSize)...)
				for what, forged := range map[string][]byte{"an answer that nobody asked for": unasked, "half an answer": []byte("short")} {
					panicked(what, func() {
						if err := b.sendSignature(s, path{addr: a.addr}, forged); err != nil {
							t.Fatal(err)
						}
					})
				}
				panicked("a bad signature", func() { spoil.Store(true) })
				spoil.Store(false)
				w.within(30*time.Second, "verified again", func() bool { return a.verifies(b) && b.verifies(a) })
				panicked("a certificate of another root", func() {
					foreign, err := identity.NewAuthority()
					if err != nil {
						t.Fatal(err)
					}
					id, err := foreign.NewNode("d", "zone-a", time.Hour)
					if err != nil {
						t.Fatal(err)
					}
					d := w.startAs(id, netip.AddrPort{})
					d.Connect("a", a.addr)
					w.pass(time.Second)
					d.stop()
					delete(w.nodes, "d")
				})
				e := w.start("e", netip.AddrPort{})
				w.connectAll()
				w.within(10*time.Second, "a newcomer, too", func() bool { return a.verifies(b) && a.verifies(e) && e.verifies(a) })
			})
		})
	}
}

// TestAPanicByRelayIsCounted: a Relay message that brings a mistake out is refused of the neighbour
// that sent it, and a thousand of them fill no log. What its origin has sealed, and the relay has
// only passed on, is not put down to the relay.
func TestAPanicByRelayIsCounted(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		w := newTriangle(t, func(c *Config) {
			if c.Identity.Name() != "b" {
				return
			}
			c.Logger = slog.New(slog.NewTextHandler(&log, nil))
			hear := c.OnMessage
			c.OnMessage = func(p Peer, typ frame.Type, payload []byte) {
				if string(payload) == "mistake" {
					panic("a mistake")
				}
				hear(p, typ, payload)
			}
		})
		defer w.stopAll()
		w.detour()
		const each = 500
		message := w.relayOf(w.a, w.b, frame.Data, "x", func(r *relayed) { r.origin = "mistake" })
		for second := range 2 {
			for range each {
				w.b.relayedMessage("c", message)
			}
			synctest.Wait()
			if n := strings.Count(log.String(), "stack="); n != second+1 {
				t.Errorf("%d stacks in the log in second %d", n, second)
			}
			w.pass(time.Second)
		}
		_, _, refused := w.routes["b"].counts()
		if !maps.Equal(refused, map[string]int{"c " + metric.RefusedMalformed: 2 * each}) {
			t.Errorf("refused: %v", refused)
		}
		w.hand(w.c, w.b, w.relayOf(w.a, w.b, frame.Data, "mistake", nil))
		w.hand(w.c, w.b, w.relayOf(w.a, w.b, frame.Data, "good", nil))
		if _, _, after := w.routes["b"].counts(); !maps.Equal(after, refused) || w.b.received("a good") != 1 {
			t.Errorf("after a mistake that the origin brought out: refused %v, received %v", after, w.b.messages)
		}
	})
}
