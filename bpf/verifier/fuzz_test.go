package verifier

import (
	"encoding/binary"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/bpf/internal/lab"
)

// The sessions of the fuzz target: one in each state, told apart by byte 0.
var fuzzSessions = map[frame.SessionID]modelSession{
	{'v'}: {key: frame.Key{1}, verified: true},
	{'u'}: {key: frame.Key{2}},
	{'r'}: {key: frame.Key{3}, verified: true, revoked: true},
	{'e'}: {key: frame.Key{4}, verified: true, expired: true},
}

// FuzzVerdict compares both programs with the model on raw Ethernet frames. If
// repair is set, a mesh frame within gets the right tag first: no fuzzer guesses
// one. Every packet runs twice, so that what passes must then be a replay.
func FuzzVerdict(f *testing.F) {
	for _, name := range slices.Sorted(maps.Keys(carriers)) {
		carrier := carriers[name]
		for _, state := range "vure" {
			id := frame.SessionID{byte(state)}
			f.Add(carrier.With(lab.Sealed(frame.Data, id, frame.Key{}, 1, 3)), true)
		}
		f.Add(carrier.With(lab.Sealed(frame.AttestationSignature, frame.SessionID{'v'}, frame.Key{}, 300, 20)), true)
		f.Add(carrier.With(lab.Sealed(frame.Heartbeat, frame.SessionID{'u'}, frame.Key{}, MaxSequence, 0)), true)
		f.Add(carrier.With(lab.Sealed(frame.Data, frame.SessionID{'v'}, frame.Key{9}, 1, 3)), false)
		f.Add(carrier.With(lab.Frame(frame.Header{Type: frame.HandshakeInit, Fragments: 1}, frame.Key{})), false)
	}
	f.Add(lab.Packet{Fragment: 0x2000, Payload: make([]byte, 8)}.Bytes(), false)
	f.Add(lab.Packet{IPv6: true, Extensions: [][]byte{lab.Extension(lab.HopByHop, 2), lab.FragmentHeader(1)}, Payload: make([]byte, 8)}.Bytes(), false)
	f.Add(lab.Packet{VLANs: []uint16{0x8100, 0x88a8, 0x8100}}.Bytes(), false)

	// Handshakes are never limited here: the model knows no time.
	v := loaded(f, Config{HandshakeRate: 1e9, HandshakeBurst: 1 << 31, ContactRate: 1e9, ContactBurst: 1 << 31})
	hour := Now() + time.Hour
	for id, s := range fuzzSessions {
		session := Session{RxHeaderKey: s.key, Expires: hour, VerifiedUntil: hour}
		if s.expired {
			session.Expires = 1
		}
		if !s.verified {
			session.VerifiedUntil = 0
		}
		if err := v.Put(id, session); err != nil {
			f.Fatal(err)
		}
		if s.revoked {
			if err := v.Revoke(id); err != nil {
				f.Fatal(err)
			}
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte, repair bool) {
		if len(raw) > 3500 { // a test packet and what the kernel keeps beside it fit a page
			t.Skip()
		}
		if repair {
			repairTag(raw)
		}
		for _, name := range []string{"xdp", "tcx"} {
			r := newRunner(t, v, name)
			if r.refuses(raw) {
				continue
			}
			m := &model{sessions: map[frame.SessionID]*modelSession{}}
			for id, s := range fuzzSessions {
				s.seen = map[uint64]bool{}
				m.sessions[id] = &s
				if err := v.obj.Windows.Put(v.sessions.live[id].slot, bpfReplayWindow{}); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 {
				want, wantDeliver := m.judge(raw)
				if got, deliver := r.run(t, raw); got != want || deliver != wantDeliver {
					t.Errorf("%s: %s (delivered %t), the model says %s (%t)", name, got, deliver, want, wantDeliver)
				}
			}
		}
	})
}

// repairTag gives a mesh frame of a known session within raw its right tag.
func repairTag(raw []byte) {
	kind, payload := modelParse(raw)
	if kind != "mesh" || len(payload) < frame.HeaderLen {
		return
	}
	if s, ok := fuzzSessions[frame.SessionID(payload[8:24])]; ok {
		binary.BigEndian.PutUint64(payload[frame.TagOffset:], frame.Tag(payload, s.key))
	}
}
