package verifier

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/bpf/internal/lab"
)

var modes = []string{ModeXDPNative, ModeXDPGeneric, ModeTCX}

func TestTraffic(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			node, peer := lab.TwoHosts(t)
			v := open(t, node, mode)
			if v.Mode() != mode {
				t.Fatalf("mode %s, want %s", v.Mode(), mode)
			}
			if err := v.Healthy(); err != nil {
				t.Fatal(err)
			}
			r := newRunner(t, v, "xdp")
			r.put(t, testID, testKey)

			var next uint64
			for network, addr := range map[string]netip.Addr{"udp4": node.IPv4, "udp6": node.IPv6} {
				mesh, other := node.Listen(t, network, frame.Port), node.Listen(t, network, 40000)
				attacker := peer.Listen(t, network, 0)
				from := lab.Station{Conn: attacker, To: netip.AddrPortFrom(addr, frame.Port)}
				valid := func() {
					t.Helper()
					next++
					from.Send(t, lab.Sealed(frame.Data, testID, testKey, next, 1000))
					if got := sequence(t, lab.Receive(t, mesh)); got != next {
						t.Fatalf("sequence %d arrived, want %d", got, next)
					}
				}
				for _, c := range []struct {
					what, verdict string
					payload       []byte
				}{
					{"forged", "bad_tag", lab.Sealed(frame.Data, testID, frame.Key{}, 1<<30, 100)},
					{"unknown", "no_session", lab.Sealed(frame.Data, frame.SessionID{1}, testKey, 1, 100)},
					{"truncated", "malformed", lab.Sealed(frame.Data, testID, testKey, 1<<30, 100)[:90]},
					{"not a frame", "malformed", []byte("hello")},
					{"empty", "malformed", nil},
					{"fragmented", "malformed", append(lab.Sealed(frame.Data, testID, testKey, 1<<30, 100), make([]byte, 4000)...)},
				} {
					valid()
					before := r.counts(t)[c.verdict]
					from.Send(t, c.payload)
					valid() // nothing arrived in between
					if got := r.counts(t)[c.verdict] - before; got != 1 {
						t.Errorf("%s over %s: %s grew by %d, want 1", c.what, addr, c.verdict, got)
					}
				}
				before := r.counts(t)["replay"]
				from.Send(t, lab.Sealed(frame.Data, testID, testKey, next, 1000))
				valid()
				if got := r.counts(t)["replay"] - before; got != 1 {
					t.Errorf("replay over %s: grew by %d, want 1", addr, got)
				}

				next++
				from.Send(t, lab.Sealed(frame.AttestationSignature, testID, testKey, next, frame.MaxPayload))
				f, err := v.ReadSignature(soon(t))
				if err != nil {
					t.Fatal(err)
				}
				if f.Sequence != next || len(f.Payload) != frame.MaxPayload {
					t.Errorf("signature fragment %d of %d bytes, want %d of %d", f.Sequence, len(f.Payload), next, frame.MaxPayload)
				}
				valid() // the socket did not see it

				lab.Station{Conn: attacker, To: netip.AddrPortFrom(addr, 40000)}.Send(t, []byte("not mesh"))
				if got := string(lab.Receive(t, other)); got != "not mesh" {
					t.Errorf("other port got %q", got)
				}
			}
		})
	}
}

// A sender on the same machine may hand over many datagrams as one packet (UDP
// segmentation offload). What is not verified must not come out of it.
func TestSegmentationOffload(t *testing.T) {
	for _, mode := range modes {
		for _, network := range []string{"udp4", "udp6"} {
			t.Run(mode+"/"+network, func(t *testing.T) { segmentationOffload(t, mode, network) })
		}
	}
}

func segmentationOffload(t *testing.T, mode, network string) {
	node, peer := lab.TwoHosts(t)
	v := open(t, node, mode)
	r := newRunner(t, v, "xdp")
	r.put(t, testID, testKey)
	addr := node.IPv4
	if network == "udp6" {
		addr = node.IPv6
	}
	mesh, attacker := node.Listen(t, network, frame.Port), peer.Listen(t, network, 0)
	from := lab.Station{Conn: attacker, To: netip.AddrPortFrom(addr, frame.Port)}

	raw, err := attacker.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	segment := func(size int) {
		t.Helper()
		var set error
		if err := raw.Control(func(fd uintptr) {
			set = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT, size)
		}); err != nil || set != nil {
			t.Fatal(err, set)
		}
	}
	// What comes first may be valid in itself, or, with a length that covers the
	// rest, one frame as long as its datagrams are together.
	honest := lab.Sealed(frame.Data, testID, testKey, 1, 100)
	handshake := make([]byte, len(honest))
	(&frame.Header{Type: frame.HandshakeInit, Fragments: 1, Length: uint16(10*len(honest) - frame.HeaderLen)}).Put(handshake, frame.Key{})
	spanning := make([]byte, len(honest))
	(&frame.Header{Type: frame.Data, Fragments: 1, Session: testID, Sequence: 2, Length: uint16(10*len(honest) - frame.HeaderLen)}).Put(spanning, testKey)
	const forgery, last = 1000, 2000
	for what, first := range map[string][]byte{"a frame": honest, "a handshake": handshake, "a spanning frame": spanning} {
		before := r.counts(t)
		segment(len(first))
		packet := first
		for len(packet) < 10*len(first) {
			packet = append(packet, lab.Sealed(frame.Data, frame.SessionID{9}, frame.Key{}, forgery, 100)...)
		}
		from.Send(t, packet)
		segment(0)
		from.Send(t, lab.Sealed(frame.Data, testID, testKey, last, 100))
		for {
			got := sequence(t, lab.Receive(t, mesh))
			if got == forgery {
				t.Fatalf("behind %s, a forged frame arrived", what)
			}
			if got == last {
				break
			}
		}
		// The interface may have split the packet before: then its datagrams were judged.
		after := r.counts(t)
		if got := after["malformed"] - before["malformed"] + after["no_session"] - before["no_session"]; got == 0 {
			t.Errorf("behind %s, nothing was dropped", what)
		}
		r.remove(t, testID)
		r.put(t, testID, testKey)
	}
}

// A flood of forged frames is dropped whole, and the valid frames in its midst
// all arrive, in order and alone.
func TestFlood(t *testing.T) {
	const forged, every = 100_000, 500
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			node, peer := lab.TwoHosts(t)
			v := open(t, node, mode)
			r := newRunner(t, v, "xdp")
			r.put(t, testID, testKey)
			mesh := node.Listen(t, "udp4", frame.Port)
			from := lab.Station{Conn: peer.Listen(t, "udp4", 0), To: netip.AddrPortFrom(node.IPv4, frame.Port)}
			forgery := lab.Sealed(frame.Data, testID, frame.Key{}, 1<<30, 100)
			for i := range uint64(forged) {
				from.Send(t, forgery)
				if i%every != 0 {
					continue
				}
				want := 1 + i/every
				from.Send(t, lab.Sealed(frame.Data, testID, testKey, want, 100))
				if got := sequence(t, lab.Receive(t, mesh)); got != want {
					t.Fatalf("sequence %d arrived, want %d", got, want)
				}
			}
			// The last forgeries may still be on their way; a valid frame is behind them.
			from.Send(t, lab.Sealed(frame.Data, testID, testKey, forged, 100))
			lab.Receive(t, mesh)
			if got := r.counts(t)["bad_tag"]; got != forged {
				t.Errorf("%d of %d forged frames counted", got, forged)
			}
		})
	}
}

func TestDetachAndReattach(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			node, peer := lab.TwoHosts(t)
			v := open(t, node, mode)
			mesh, attacker := node.Listen(t, "udp4", frame.Port), peer.Listen(t, "udp4", 0)
			from := lab.Station{Conn: attacker, To: netip.AddrPortFrom(node.IPv4, frame.Port)}
			newRunner(t, v, "xdp").put(t, testID, testKey)

			attached := v.link
			node.Do(t, v.Reattach)
			if v.link != attached {
				t.Error("a healthy attachment was replaced")
			}
			if err := v.link.Detach(); err != nil {
				t.Fatal(err)
			}
			if err := v.Healthy(); err == nil || !strings.Contains(err.Error(), "detached from eth0") {
				t.Fatalf("detached by force: %v", err)
			}
			from.Send(t, []byte("unverified")) // what the error is about
			if got := string(lab.Receive(t, mesh)); got != "unverified" {
				t.Fatalf("got %q", got)
			}
			node.Do(t, v.Reattach)
			if err := v.Healthy(); err != nil {
				t.Fatal(err)
			}
			from.Send(t, []byte("unverified"))
			from.Send(t, lab.Sealed(frame.Data, testID, testKey, 1, 0)) // the session is still there
			if got := sequence(t, lab.Receive(t, mesh)); got != 1 {
				t.Fatalf("sequence %d arrived, want 1", got)
			}

			node.Do(t, func() error {
				eth0, err := netlink.LinkByName("eth0")
				if err != nil {
					return err
				}
				return netlink.LinkDel(eth0)
			})
			if err := v.Healthy(); err == nil {
				t.Fatal("healthy on an interface that is gone")
			}
			if err := node.Try(v.Reattach); err == nil || strings.Contains(err.Error(), "\n") {
				t.Fatalf("reattached to an interface that is gone: %v", err)
			}
			if err := v.Healthy(); err == nil {
				t.Fatal("healthy after a failed attempt")
			}
			lab.Cable(t, node, peer)
			node.Do(t, v.Reattach)
			if err := v.Healthy(); err != nil {
				t.Fatal(err)
			}
			from.Send(t, []byte("unverified"))
			from.Send(t, lab.Sealed(frame.Data, testID, testKey, 2, 0))
			if got := sequence(t, lab.Receive(t, mesh)); got != 2 {
				t.Fatalf("sequence %d arrived, want 2", got)
			}
		})
	}
}

// With nothing forced, tcx is what a veth gets, or generic XDP on older kernels.
// Other devices get XDP, and tcx where another program holds that.
func TestModePreference(t *testing.T) {
	node, _ := lab.TwoHosts(t)
	for _, c := range []struct{ iface, want string }{
		{"eth0", onVeth(t)}, {"lo", ModeXDPGeneric}, {"lo", ModeTCX},
	} {
		if c.want == ModeTCX && !lab.HasTCX(t) {
			continue
		}
		if got := openOn(t, node, c.iface, "").Mode(); got != c.want {
			t.Errorf("%s: mode %s, want %s", c.iface, got, c.want)
		}
	}
}

// onVeth is the mode that a veth gets.
func onVeth(t testing.TB) string {
	t.Helper()
	if lab.HasTCX(t) {
		return ModeTCX
	}
	return ModeXDPGeneric
}

// Expiry happens by the clock, without anyone's doing.
func TestExpiryByClock(t *testing.T) {
	both(t, Config{}, func(t *testing.T, r *runner) {
		until := Now() + 50*time.Millisecond
		if err := r.Put(testID, Session{RxHeaderKey: testKey, Expires: until + time.Hour, VerifiedUntil: until}); err != nil {
			t.Fatal(err)
		}
		deadline := Now() + 5*time.Second
		for next := uint64(1); ; next++ {
			before := Now()
			verdict, _ := r.run(t, lab.Packet{Payload: lab.Sealed(frame.Data, testID, testKey, next, 0)}.Bytes())
			switch {
			case verdict == "expired" && Now() >= until:
				return
			case verdict == "expired":
				t.Fatal("expired before its time")
			case before > until+20*time.Millisecond: // the tick's lag and some
				t.Fatalf("%s %v after its time", verdict, before-until)
			case before > deadline:
				t.Fatal("never expired")
			}
		}
	})
}

// open opens a verifier on the host's eth0.
func open(t testing.TB, h *lab.Host, mode string) *Verifier {
	t.Helper()
	return openOn(t, h, "eth0", mode)
}

// openOn opens a verifier on an interface of the host.
func openOn(t testing.TB, h *lab.Host, iface, mode string) *Verifier {
	t.Helper()
	if mode == ModeTCX {
		lab.NeedsTCX(t)
	}
	var v *Verifier
	h.Do(t, func() (err error) {
		v, err = Open(Config{Interface: iface, Mode: mode})
		return err
	})
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	return v
}

// sequence is the sequence number of a received frame.
func sequence(t testing.TB, b []byte) uint64 {
	t.Helper()
	h, _, err := frame.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return h.Sequence
}
