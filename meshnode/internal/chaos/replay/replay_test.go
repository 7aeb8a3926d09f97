package replay

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/chaos/wire"
)

var (
	a = netip.MustParseAddrPort("10.0.0.1:26970")
	b = netip.MustParseAddrPort("10.0.0.2:26970")
)

// link is what leaves a node, and what is sent again.
type link struct {
	out  []wire.Sent
	sent [][]byte
}

func (l *link) Watch(_ context.Context, see func(wire.Sent) bool) error {
	for len(l.out) > 0 {
		s := l.out[0]
		l.out = l.out[1:]
		if !see(s) {
			break
		}
	}
	return nil
}

func (l *link) Send(p []byte) error {
	l.sent = append(l.sent, p)
	return nil
}

func leaves(to netip.AddrPort, t frame.Type, session byte) wire.Sent {
	return wire.Sent{To: to, Header: frame.Header{Type: t, Session: frame.SessionID{session}}, Packet: []byte{to.Addr().As4()[3], byte(t), session}}
}

func TestOnlySealedFramesToTheChosenAreRecorded(t *testing.T) {
	out := []wire.Sent{
		leaves(a, frame.HandshakeInit, 0), leaves(a, frame.Data, 1), leaves(a, frame.AttestationSignature, 1),
		leaves(b, frame.Data, 2), leaves(a, frame.Heartbeat, 3),
	}
	all, err := Capture(t.Context(), &link{out: out}, nil)
	if err != nil || len(all) != 2 || all[a].Frames() != 2 || len(all[a].Sessions) != 2 || all[b].Frames() != 1 {
		t.Errorf("recorded %+v, %v", all, err)
	}
	one, err := Capture(t.Context(), &link{out: out}, []netip.Addr{b.Addr()})
	if err != nil || len(one) != 1 || one[b].Frames() != 1 {
		t.Errorf("recorded %+v, %v", one, err)
	}
	l := &link{}
	if err := Send(t.Context(), l, all[a]); err != nil || len(l.sent) != 2 || l.sent[0][1] != byte(frame.Data) {
		t.Errorf("sent %v, %v", l.sent, err)
	}
}

func TestRecordIsBounded(t *testing.T) {
	l := &link{}
	for range maxFrames + 10 {
		l.out = append(l.out, leaves(a, frame.Data, 1))
	}
	l.out = append(l.out, leaves(a, frame.Data, 2))
	all, err := Capture(t.Context(), l, nil)
	// What is not kept must not count as recorded: its session would never be "new".
	if err != nil || all[a].Frames() != maxFrames || len(all[a].Sessions) != 1 {
		t.Errorf("kept %d of %v, %v", all[a].Frames(), all[a].Sessions, err)
	}
}

func TestChangedWaitsForEveryPeer(t *testing.T) {
	recorded := func() Records {
		all, err := Capture(t.Context(), &link{out: []wire.Sent{leaves(a, frame.Data, 1), leaves(b, frame.Data, 2)}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	l := &link{out: []wire.Sent{leaves(a, frame.Data, 1), leaves(a, frame.Data, 9), leaves(b, frame.Heartbeat, 9), leaves(b, frame.Data, 2)}}
	if err := Changed(t.Context(), l, recorded()); err != nil || len(l.out) != 1 {
		t.Errorf("%d frames were not looked at: %v", len(l.out), err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	// A handshake and a signature are no sign that the session is in use.
	l = &link{out: []wire.Sent{leaves(a, frame.Data, 9), leaves(b, frame.Data, 2), leaves(b, frame.HandshakeInit, 0), leaves(b, frame.AttestationSignature, 9)}}
	if err := Changed(ended, l, recorded()); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "[10.0.0.2:26970]") {
		t.Errorf("got %v", err)
	}
}
