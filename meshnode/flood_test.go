package main

import (
	"crypto/rand"
	"crypto/sha256"
	wire "encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/bpf/verifier"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
	"github.com/x0tta6bl4/mesh/meshnode/internal/session"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
)

// attack is a flood of forged handshake frames.
type attack struct {
	frames [][]byte // IP packets
	rate   int      // per second
}

// forgeries makes n forged frames for a member, of all types of handshake messages, or,
// if a call was observed, whole calls like that one; at most so many if calls is not 0, and
// otherwise messages that finish these.
func forgeries(n int, to *member, source func(i int) netip.AddrPort, observed []byte, calls int) (packets [][]byte) {
	types := []frame.Type{frame.HandshakeInit, frame.HandshakeReply, frame.HandshakeFinish, frame.HandshakeCookie}
	var made [][16]byte
	for i := 0; len(packets) < n; i++ {
		forge := func(typ frame.Type, fragment, fragments int, payload []byte) {
			h := frame.Header{Type: typ, Fragment: uint8(fragment), Fragments: uint8(fragments), Length: uint16(len(payload))}
			b := make([]byte, frame.HeaderLen, frame.HeaderLen+len(payload))
			h.Put(b, frame.Key{})
			packets = append(packets, packet(append(b, payload...), source(i), to.addr))
		}
		noise := make([]byte, 1000)
		rand.Read(noise)
		switch {
		case observed == nil:
			forge(types[i%len(types)], i/len(types)%5, 5, noise)
		case calls > 0 && len(made) == calls:
			copy(noise[16:], made[i%calls][:])
			forge(frame.HandshakeFinish, i/calls%3, 3, noise)
		default:
			message := append([]byte(nil), observed...)
			rand.Read(message[8:40]) // the nonce
			sum := sha256.Sum256(message)
			id := [16]byte(sum[:])
			made = append(made, id)
			parts := transport.Split(message, frame.MaxPayload-frame.HandshakePrefix)
			for k, p := range parts {
				forge(frame.HandshakeInit, k, len(parts), append(append(id[:], make([]byte, 16)...), p...))
			}
		}
	}
	return packets
}

// packet is an IPv4 packet; its UDP has no checksum.
func packet(datagram []byte, from, to netip.AddrPort) []byte {
	const udp, ttl, proto = 8, 64, 17
	b := make([]byte, ipv4.HeaderLen+udp, ipv4.HeaderLen+udp+len(datagram))
	b[0], b[8], b[9] = ipv4.Version<<4|ipv4.HeaderLen/4, ttl, proto
	wire.BigEndian.PutUint16(b[2:], uint16(cap(b)))
	copy(b[12:], from.Addr().AsSlice())
	copy(b[16:], to.Addr().AsSlice())
	var sum uint32 // RFC 1071
	for i := 0; i < ipv4.HeaderLen; i += 2 {
		sum += uint32(wire.BigEndian.Uint16(b[i:]))
	}
	sum = sum>>16 + sum&0xffff
	wire.BigEndian.PutUint16(b[10:], ^uint16(sum>>16+sum))
	wire.BigEndian.PutUint16(b[20:], from.Port())
	wire.BigEndian.PutUint16(b[22:], to.Port())
	wire.BigEndian.PutUint16(b[24:], uint16(udp+len(datagram)))
	return append(b, datagram...)
}

// cable opens a socket that puts packets on the cable to a place, at its other end: so one core
// can send what arrives from many on a network. It returns the header that they need, too.
func (f *field) cable(place string) (fd int, header []byte) {
	f.t.Helper()
	p := f.procs[place]
	var eth0 *net.Interface
	err := inNamespace(p.ns, func() (err error) {
		eth0, err = net.InterfaceByName("eth0")
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
	if err := f.inHub(func() error {
		port, err := net.InterfaceByName(p.port)
		if err != nil {
			return err
		}
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil { // which receives nothing
			return err
		}
		header = wire.BigEndian.AppendUint16(slices.Concat(eth0.HardwareAddr, port.HardwareAddr), unix.ETH_P_IP)
		return errors.Join(unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1),
			unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: port.Index}))
	}); err != nil {
		f.t.Fatal(err)
	}
	return fd, header
}

// flood sends frames to a place at a rate until stop is called, which returns how many were sent
// and in what time.
func (f *field) flood(a attack, place string) (stop func() (sent int, took time.Duration)) {
	f.t.Helper()
	fd, header := f.cable(place)
	frames := make([][]byte, len(a.frames))
	for i, b := range a.frames {
		frames[i] = slices.Concat(header, b)
	}
	var over atomic.Bool
	var sent int
	begin, done := time.Now(), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(time.Millisecond)
		defer ticker.Stop()
		for !over.Load() {
			// Late ticks are made up for, but not without end: the rate is a rate.
			for due := min(int(time.Since(begin).Seconds()*float64(a.rate))-sent, a.rate/20); due > 0; due-- {
				if _, err := unix.Write(fd, frames[sent%len(frames)]); err != nil && err != unix.ENOBUFS { // no room: it is lost
					f.t.Errorf("flood: %v", err)
					return
				}
				sent++
			}
			<-ticker.C
		}
	}()
	stop = func() (int, time.Duration) {
		over.Store(true)
		<-done
		return sent, time.Since(begin)
	}
	f.t.Cleanup(func() {
		stop()
		if err := unix.Close(fd); err != nil {
			f.t.Error(err)
		}
	})
	return stop
}

// TestFloodOfFirstContact: while forged handshake frames arrive at a node, members that it
// knows make new sessions with it and new ones get in, directly and by relay. The flood
// has one source, the attacker's own, that of a peer, or 10,000; it is of noise, or of whole
// calls with a certificate that was observed, or the ends of such calls. What passes the kernel of it is bounded.
//
// How long it takes is measured, and judged only in the long test, which sends 100,000
// frames a second, and fails where the machine does not give them.
func TestFloodOfFirstContact(t *testing.T) {
	const known, first, lasts = 2 * time.Second, 5 * time.Second, 5 * time.Second
	long := os.Getenv("MESH_TEST_LONG") != ""
	rate, frames := 20_000, 10_000
	if long {
		rate, frames = 100_000, 50_000 // of which 5 make a call
	}
	f := &field{cluster: newNetwork(t, "target", "far", "relay", "new", "newfar"), members: map[string]*member{}}
	authority, err := identity.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	f.authority = authority
	for _, p := range f.procs { // what has no address here is answered by way of a gateway, as from a pod
		f.ip("-n", p.ns, "route", "add", "default", "via", hubIP)
	}
	f.isolate("on", "target", "far", "newfar") // from each other
	by := func(names ...session.Peer) detours {
		d := detours{}
		for _, n := range names {
			d[n] = "relay"
		}
		return d
	}
	target := f.start("target", "target", by("far", "newfar-0", "newfar-1", "newfar-2", "newfar-3", "newfar-4", "newfar-5", "newfar-6"))
	relay, far := f.start("relay", "relay", nil), f.start("far", "far", by("target"))
	f.meets(relay, target)
	f.meets(far, relay)
	f.meets(far, target)

	own := func(int) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(hubIP), 4000) }
	peers := func(int) netip.AddrPort { return relay.addr }
	many := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{172, 16, byte(i % 10000 >> 8), byte(i % 10000)}), 4000)
	}
	for i, c := range []struct {
		name        string
		source      func(int) netip.AddrPort
		certificate bool
		calls       int
	}{
		{"false sources, a certificate", many, true, 0},
		{"a peer's source", peers, false, 0},
		{"false sources", many, false, 0},
		{"one source", own, false, 0},
		{"one source, a certificate", own, true, 0},
		{"a peer's source, a certificate", peers, true, 0},
		{"a peer's source, ends of calls", peers, true, 8},
	} {
		if i >= 2 && !long {
			break
		}
		t.Run(c.name, func(t *testing.T) {
			f.t = t
			var observed []byte
			if c.certificate {
				f.renews(relay, target)
				observed = relay.calls.observed(target.addr)
			}
			a := attack{forgeries(frames, target, c.source, observed, c.calls), rate}
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			was, began := target.verdicts(t), time.Now()
			stop := f.flood(a, "target")
			f.within(patience, "the flood uses up what there is for strangers", func() error {
				if got := target.verdicts(t)["rate_limited"] - was["rate_limited"]; got < uint64(rate/20) {
					return fmt.Errorf("%d frames were over the limit", got)
				}
				return nil
			})
			took := map[string]time.Duration{} // the longest
			for once := false; !once || long && time.Since(began) < lasts; once = true {
				for what, d := range map[string]time.Duration{
					"known, called": f.renews(target, relay), "known, calls": f.renews(relay, target),
					"known, by relay, called": f.renews(target, far), "known, by relay, calls": f.renews(far, target),
				} {
					took[what] = max(took[what], d)
				}
				for _, place := range []string{"new", "newfar"} {
					var routes detours
					if place == "newfar" {
						routes = by("target")
					}
					m := f.start(place, fmt.Sprint(place, "-", i), routes)
					if place == "newfar" {
						f.meets(m, relay)
					}
					begin := time.Now()
					m.Connect(target.name, target.addr) // the target knows nothing of it
					f.within(patience, "in", func() error {
						if _, ok := m.session(target); !ok {
							return fmt.Errorf("not in: %+v", m.Sessions())
						}
						return nil
					})
					took[place] = max(took[place], time.Since(begin))
					m.leave()
					target.Forget(m.name)
					relay.Forget(m.name)
				}
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			sent, flooded := stop()
			counts, lasted := target.verdicts(t), time.Since(began)
			for what, d := range took {
				limit := known
				if what == "new" || what == "newfar" {
					limit = first
				}
				if long && d > limit {
					t.Errorf("%s: %v, want at most %v", what, d, limit)
				}
			}
			cookies, err := target.verifier.Cookies()
			if err != nil {
				t.Fatal(err)
			}
			limited := counts["rate_limited"] - was["rate_limited"]
			arrived := uint64(0)
			for verdict, n := range counts {
				arrived += n - was[verdict]
			}
			reached := float64(min(arrived, uint64(sent))) / flooded.Seconds() // sealed frames arrive, too
			if long && reached < 0.95*float64(rate) {
				t.Errorf("%.0f frames a second arrived, want %d: this machine proves nothing of it", reached, rate)
			}
			// Each kind of first contact has its limit; sealed frames pass, too.
			most := 4*(verifier.DefaultContactBurst+verifier.DefaultContactRate*int(lasted/time.Second+1)) + 2000*int(lasted/time.Second+1)
			if passed := counts["pass"] - was["pass"]; passed > uint64(most) {
				t.Errorf("%d frames passed in %v, want at most %d", passed, lasted, most)
			}
			if limited < uint64(sent)/2 {
				t.Errorf("%d of %d frames of the flood were over the limit", limited, sent)
			}
			if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 64<<20 {
				t.Errorf("the heap grew by %d MiB", grown>>20)
			}
			t.Logf("%d frames in %v (%.0f a second), %d over the limit, %d cookies so far; %v",
				sent, flooded.Round(time.Millisecond), reached, limited, cookies, took)
		})
	}
}
