package echo

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"
)

func itoa(n int) string { return strconv.Itoa(n) }

// start runs a prober on loopback and returns its lines.
func start(t *testing.T, ctx context.Context, name string, conn *net.UDPConn, peers ...Peer) <-chan Line {
	t.Helper()
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		p := &Prober{Pod: name, Peers: peers, Out: w}
		if err := p.Run(ctx, conn); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		_ = w.Close()
	}()
	lines := make(chan Line, 1024)
	go func() {
		defer close(lines)
		s := bufio.NewScanner(r)
		for s.Scan() {
			var l Line
			if err := json.Unmarshal(s.Bytes(), &l); err != nil {
				t.Errorf("%s: %q: %v", name, s.Text(), err)
				return
			}
			lines <- l
		}
	}()
	t.Cleanup(func() { <-done })
	return lines
}

func listen(t *testing.T) (*net.UDPConn, netip.AddrPort) {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	return conn, conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// next returns the next line that pick wants.
func next(t *testing.T, lines <-chan Line, pick func(Line) bool) Line {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		select {
		case l, ok := <-lines:
			if !ok {
				t.Fatal("the prober ended")
			}
			if pick(l) {
				return l
			}
		case <-deadline:
			t.Fatal("no such line within 10 s")
		}
	}
}

func TestProbersSeeEachOtherAndTheCut(t *testing.T) {
	ca, aa := listen(t)
	cb, ab := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ctxB, cancelB := context.WithCancel(ctx)
	a := start(t, ctx, "a", ca, Peer{"b", ab})
	b := start(t, ctxB, "b", cb, Peer{"a", aa})

	if l := next(t, a, func(Line) bool { return true }); l.Kind != Start || l.Pod != "a" || l.Seq != 1 {
		t.Fatalf("first line: %+v", l)
	}
	up := next(t, a, func(l Line) bool { return l.Kind == Change })
	if up.Peer != "b" || !up.Up {
		t.Fatalf("first change: %+v", up)
	}
	next(t, b, func(l Line) bool { return l.Kind == Change && l.Up && l.Peer == "a" })
	s := next(t, a, func(l Line) bool { return l.Kind == State })
	if len(s.Peers) != 1 || !s.Peers[0].Up || s.Peers[0].Answered == 0 || s.Peers[0].RTT <= 0 {
		t.Fatalf("state: %+v", s)
	}

	cancelB() // b's prober dies: to a that is a cut
	cut := time.Now()
	down := next(t, a, func(l Line) bool { return l.Kind == Change })
	if down.Up || down.Peer != "b" {
		t.Fatalf("second change: %+v", down)
	}
	if d := down.At.Sub(cut); d > Silence {
		t.Fatalf("the cut is dated %v after it happened", d)
	}
	if !down.At.After(up.At) {
		t.Fatalf("cut at %v, up at %v", down.At, up.At)
	}
}

func TestParseRefusesStrangers(t *testing.T) {
	good := appendRequest(nil, 3, time.Unix(0, 42))
	if kind, peer, sent := parse(good); kind != kindRequest || peer != 3 || sent.UnixNano() != 42 {
		t.Fatalf("own packet: kind %d, peer %d, sent %v", kind, peer, sent)
	}
	for name, b := range map[string][]byte{
		"empty":       {},
		"short":       good[:packetLen-1],
		"long":        append(append([]byte{}, good...), 0),
		"other magic": append([]byte{0}, good[1:]...),
	} {
		if kind, _, _ := parse(b); kind != 0 {
			t.Errorf("%s: taken for kind %d", name, kind)
		}
	}
}

// What arrives of a peer's requests is told, whether answers get back to it or not: of a
// cut in one direction, both ends see no answers, and only one hears nothing.
func TestProberTellsWhomItHears(t *testing.T) {
	heard, addr := listen(t)
	mute, silent := listen(t) // of a peer that asks nothing, and answers nothing
	defer mute.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// Peers are told apart by their address: the one that asks has 127.0.0.2.
	asks, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.2:0")))
	if err != nil {
		t.Fatal(err)
	}
	defer asks.Close()
	lines := start(t, ctx, "a", heard, Peer{"mute", silent}, Peer{"asks", netip.MustParseAddrPort("127.0.0.2:1")})
	next(t, lines, func(l Line) bool { return l.Kind == Start })
	before := time.Now()
	if _, err := asks.WriteToUDPAddrPort(appendRequest(nil, 7, before), addr); err != nil {
		t.Fatal(err)
	}
	l := next(t, lines, func(l Line) bool { return l.Kind == State })
	mutes, asked := l.Peers[0], l.Peers[1]
	if !mutes.Heard.IsZero() || mutes.Answered != 0 {
		t.Errorf("a peer that says nothing: %+v", mutes)
	}
	if asked.Heard.Before(before) || asked.Heard.After(l.Time) || asked.Up || asked.Answered != 0 {
		t.Errorf("a peer that asks, and answers nothing, between %v and %v: %+v", before, l.Time, asked)
	}
	// What is heard once stays as old as it is.
	if later := next(t, lines, func(l Line) bool { return l.Kind == State }).Peers[1]; !later.Heard.Equal(asked.Heard) {
		t.Errorf("heard at %v, and then at %v", asked.Heard, later.Heard)
	}
}

// An answer is no request: who answers is heard only if it asks, too.
func TestAnswersAreNotHeard(t *testing.T) {
	conn, _ := listen(t)
	echoes, addr := listen(t)
	defer echoes.Close()
	go func() {
		for buf := make([]byte, 64); ; {
			n, from, err := echoes.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			buf[4] = kindReply
			_, _ = echoes.WriteToUDPAddrPort(buf[:n], from)
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	lines := start(t, ctx, "a", conn, Peer{"b", addr})
	l := next(t, lines, func(l Line) bool { return l.Kind == State })
	if l.Peers[0].Answered == 0 || !l.Peers[0].Heard.IsZero() {
		t.Errorf("got %+v", l.Peers[0])
	}
}
