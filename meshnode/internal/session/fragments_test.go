package session

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
)

var handshakeTypes = []frame.Type{frame.HandshakeInit, frame.HandshakeReply, frame.HandshakeFinish}

// fragmentOf returns the place of a datagram in its message.
func fragmentOf(p []byte) (index, count int) { return int(p[6]), int(p[7]) }

// TestEachLostFragmentIsMadeUpFor loses every fragment of a handshake once, one
// in each run.
func TestEachLostFragmentIsMadeUpFor(t *testing.T) {
	for _, typ := range handshakeTypes {
		for index, count := 0, 1; index < count; index++ {
			bubble.Test(t, func(t *testing.T) {
				w := newMesh(t)
				defer w.stopAll()
				a, b := w.start("a", netip.AddrPort{}), w.start("b", netip.AddrPort{})
				lost := 0
				w.net.SetFilter(func(_, _ netip.AddrPort, p []byte) []byte {
					if frame.Type(p[3]) != typ {
						return p
					}
					var i int
					if i, count = fragmentOf(p); i == index && lost == 0 {
						lost++
						return nil
					}
					return p
				})
				w.connectAll()
				what := fmt.Sprintf("verified without fragment %d of type %#x", index, typ)
				w.within(3*time.Second, what, func() bool { return a.verifies(b) && b.verifies(a) })
				if lost != 1 {
					t.Errorf("%d fragments lost", lost)
				}
				if a.count(VerificationFailed)+b.count(VerificationFailed) != 0 {
					t.Error("loss looks like a forgery")
				}
			})
			if count < 2 {
				t.Fatalf("messages of type %#x have %d fragments: nothing is tested", typ, count)
			}
		}
	}
}

// TestFragmentsInReverse delivers every burst of handshake frames backwards.
func TestFragmentsInReverse(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a, b := w.start("a", netip.AddrPort{}), w.start("b", netip.AddrPort{})
		type datagram struct {
			from, to netip.AddrPort
			b        []byte
		}
		var mu sync.Mutex
		var held []datagram
		through := false
		w.net.SetFilter(func(from, to netip.AddrPort, p []byte) []byte {
			mu.Lock()
			defer mu.Unlock()
			if through || !slices.Contains(handshakeTypes, frame.Type(p[3])) {
				return p
			}
			held = append(held, datagram{from, to, p})
			return nil
		})
		w.connectAll()
		backwards := map[frame.Type]int{}
		w.within(3*time.Second, "verified by frames that come backwards", func() bool {
			mu.Lock()
			burst := held
			held, through = nil, true
			mu.Unlock()
			slices.Reverse(burst)
			for i, d := range burst {
				index, _ := fragmentOf(d.b)
				if i > 0 {
					if before, _ := fragmentOf(burst[i-1].b); before == index+1 {
						backwards[frame.Type(d.b[3])]++
					}
				}
				w.net.Inject(d.from, d.to, d.b)
			}
			mu.Lock()
			through = false
			mu.Unlock()
			return a.verifies(b) && b.verifies(a)
		})
		for _, typ := range handshakeTypes {
			if backwards[typ] == 0 {
				t.Errorf("no message of type %#x came backwards", typ)
			}
		}
	})
}
