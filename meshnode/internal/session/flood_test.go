package session

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
)

// TestFloodTakesBoundedMemory: callers that prove their addresses, callers that
// never finish a message and callers with bad certificates, many more than there is
// room for; what a node keeps of them stays below 16 MiB.
func TestFloodTakesBoundedMemory(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a := w.start("a", netip.AddrPort{})
		var certificates []*identity.Certificate
		for i := range 100 {
			id, err := w.authority.NewNode(fmt.Sprint("m", i), "", time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			certificates = append(certificates, id.Credential().Certificate)
		}
		cookies := map[netip.AddrPort]messageID{}
		w.net.SetFilter(func(_, to netip.AddrPort, p []byte) []byte {
			if frame.Type(p[3]) == frame.HandshakeCookie {
				_, _, cookie, ok := cutPrefix(p[frame.HeaderLen:])
				if ok {
					cookies[to] = messageID(cookie)
				}
			}
			return p
		})
		call := func(i int) (netip.AddrPort, [][]byte) {
			msg := initMessage{kem: make([]byte, 1216), responder: "a", certificate: certificates[i%len(certificates)]}
			copy(msg.nonce[:], fmt.Sprint("flood", i))
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)}), 1)
			return from, handshakeFrames(frame.HandshakeInit, msg.encode(), messageID{})
		}
		heap := func() uint64 {
			var s runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&s)
			return s.HeapAlloc
		}
		before := heap()
		const callers = 1000
		for i := range callers {
			from, frames := call(i)
			for range 2 { // again with the cookie that came back
				setToken(frames, cookies[from])
				for _, f := range frames {
					w.net.Inject(from, a.addr, f)
				}
				synctest.Wait()
			}
			// And the first parts of messages that never end.
			cookie := cookies[from]
			for k := range 2 * handshakePerSource {
				_, frames := call(callers + i*2*handshakePerSource + k)
				setToken(frames, cookie)
				w.net.Inject(from, a.addr, frames[0])
			}
			synctest.Wait()
		}
		after := heap()
		a.Manager.mu.RLock()
		half, partial, peers := len(a.halfOpen), a.handshakes.Len(), len(a.peers)
		a.Manager.mu.RUnlock()
		if half > a.cfg.Limits.HalfOpen || partial > handshakeMessages || peers > 0 {
			t.Errorf("%d half open, %d incomplete, %d peers", half, partial, peers)
		}
		if half < a.cfg.Limits.CookieAfter || len(cookies) == 0 {
			t.Errorf("no flood: %d half open, %d cookies", half, len(cookies))
		}
		if grown := int64(after) - int64(before); grown > 16<<20 {
			t.Errorf("a flood of %d callers took %d KiB", callers, grown>>10)
		} else {
			t.Logf("%d half open, %d incomplete: %d KiB", half, partial, grown>>10)
		}
		w.pass(halfOpenLife + housekeeping + time.Second)
		a.Manager.mu.RLock()
		half, partial = len(a.halfOpen), a.handshakes.Len()
		a.Manager.mu.RUnlock()
		if half+partial != 0 {
			t.Errorf("after the flood %d half open and %d incomplete", half, partial)
		}
	})
}
