package session

import (
	"context"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
)

// TestOverUDP is the one test of this package with sockets and real time: what
// the in-memory network takes is also what goes over the wire.
func TestOverUDP(t *testing.T) {
	received := make(chan struct{}, 100)
	left, right, stop := udpPair(t, func() { received <- struct{}{} })
	defer stop()
	timeout := time.After(10 * time.Second)
	for _, payload := range []string{"", "small", strings.Repeat("x", MaxMessage)} {
		if err := left.Send(right, frame.Data, []byte(payload)); err != nil {
			t.Fatal(err)
		}
		select {
		case <-received:
		case <-timeout:
			t.Fatalf("%d bytes did not arrive", len(payload))
		}
	}
}

func udpConn(b testing.TB) transport.Conn {
	b.Helper()
	c, err := transport.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"), "")
	if err != nil {
		b.Fatal(err)
	}
	return c
}

// udpPair connects two managers over loopback and calls got for every data
// message at the right one.
func udpPair(b testing.TB, got func()) (left *Manager, right Peer, stop func()) {
	b.Helper()
	return udpPairOver(b, func() transport.Conn { return udpConn(b) }, got)
}

// udpPairOver does so over the sockets that listen opens.
func udpPairOver(b testing.TB, listen func() transport.Conn, got func()) (left *Manager, right Peer, stop func()) {
	b.Helper()
	a, err := identity.NewAuthority()
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	verified := make(chan struct{}, 2)
	var managers []*Manager
	for _, name := range []string{"left", "right"} {
		id, err := a.NewNode(name, "", time.Hour)
		if err != nil {
			b.Fatal(err)
		}
		var once atomic.Bool
		m, err := New(Config{
			Identity: id, Transport: listen(), Table: newTable(),
			OnEvent: func(e Event) {
				if e.Kind == Verified && once.CompareAndSwap(false, true) {
					verified <- struct{}{}
				}
			},
			OnMessage: func(_ Peer, t frame.Type, _ []byte) {
				if t == frame.Data {
					got()
				}
			},
		})
		if err != nil {
			b.Fatal(err)
		}
		go func() { done <- m.Run(ctx) }()
		managers = append(managers, m)
	}
	managers[0].Connect("right", managers[1].cfg.Transport.LocalAddr())
	managers[1].Connect("left", managers[0].cfg.Transport.LocalAddr())
	for range 2 {
		select {
		case <-verified:
		case <-time.After(10 * time.Second):
			b.Fatal("no session over loopback")
		}
	}
	return managers[0], "right", func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				b.Error(err)
			}
		}
	}
}
