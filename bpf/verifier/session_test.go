package verifier

import (
	"errors"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/bpf/internal/lab"
)

func TestSessionLife(t *testing.T) {
	both(t, Config{}, func(t *testing.T, r *runner) {
		next := uint64(0)
		fresh := func() []byte {
			next++
			return lab.Packet{Payload: lab.Sealed(frame.Data, testID, testKey, next, 8)}.Bytes()
		}
		r.expect(t, fresh(), "no_session")
		if err := r.Put(testID, Session{RxHeaderKey: testKey, Expires: Now() + time.Hour}); err != nil {
			t.Fatal(err)
		}
		r.expect(t, fresh(), "expired") // not verified yet
		if err := r.SetVerifiedUntil(testID, Now()+time.Hour); err != nil {
			t.Fatal(err)
		}
		old := fresh()
		r.expect(t, old, "pass")
		if err := r.SetVerifiedUntil(testID, 0); err != nil {
			t.Fatal(err)
		}
		r.expect(t, fresh(), "expired")
		r.put(t, testID, testKey) // renews, and keeps the window
		r.expect(t, old, "replay")
		r.expect(t, fresh(), "pass")
		if err := r.Revoke(testID); err != nil {
			t.Fatal(err)
		}
		r.expect(t, fresh(), "revoked")
		r.put(t, testID, testKey)
		r.expect(t, fresh(), "revoked") // there is no way back
		r.remove(t, testID)
		r.expect(t, fresh(), "no_session")
		r.put(t, testID, testKey)
		r.expect(t, old, "pass") // a new life with a new window
	})
}

func TestSessionErrors(t *testing.T) {
	v := loaded(t, Config{Sessions: 2})
	session := Session{RxHeaderKey: testKey, Expires: Now() + time.Hour}
	if err := v.Put(frame.SessionID{}, session); err == nil {
		t.Error("the zero id was accepted")
	}
	for _, id := range []frame.SessionID{{1}, {2}} {
		if err := v.Put(id, session); err != nil {
			t.Fatal(err)
		}
	}
	other := session
	other.RxHeaderKey[3]++
	for _, c := range []struct {
		what string
		do   func() error
		want error
	}{
		{"other key", func() error { return v.Put(frame.SessionID{1}, other) }, ErrSessionExists},
		{"one too many", func() error { return v.Put(frame.SessionID{3}, session) }, ErrSessionsFull},
		{"the same again", func() error { return v.Put(frame.SessionID{2}, session) }, nil},
		{"delete", func() error { return v.Delete(frame.SessionID{3}) }, ErrNoSession},
		{"revoke", func() error { return v.Revoke(frame.SessionID{3}) }, ErrNoSession},
		{"verify", func() error { return v.SetVerifiedUntil(frame.SessionID{3}, 1) }, ErrNoSession},
		{"make room", func() error { return v.Delete(frame.SessionID{1}) }, nil},
		{"use the room", func() error { return v.Put(frame.SessionID{3}, session) }, nil},
		{"delete it", func() error { return v.Delete(frame.SessionID{3}) }, nil},
		{"delete it twice", func() error { return v.Delete(frame.SessionID{3}) }, ErrNoSession},
	} {
		if err := c.do(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.what, err, c.want)
		}
	}
}

// The tables hold the promised number of sessions, and no unauthenticated
// traffic pushes one out.
func TestSessionsSurviveFlood(t *testing.T) {
	both(t, Config{Sessions: DefaultSessions, HandshakeRate: 1, HandshakeBurst: 1}, func(t *testing.T, r *runner) {
		id := func(i int) frame.SessionID { return frame.SessionID{1, byte(i >> 16), byte(i >> 8), byte(i)} }
		for i := range DefaultSessions {
			r.put(t, id(i), frame.Key{byte(i), byte(i >> 8)})
		}
		if err := r.Put(frame.SessionID{2}, Session{Expires: Now() + time.Hour}); !errors.Is(err, ErrSessionsFull) {
			t.Fatalf("session %d: %v, want %v", DefaultSessions+1, err, ErrSessionsFull)
		}
		handshake := lab.Frame(frame.Header{Type: frame.HandshakeInit, Fragments: 1}, frame.Key{})
		raw := lab.Packet{Payload: handshake, IPv6: true}.Bytes()
		for i := range 40000 { // more sources than there are buckets
			raw[14+8+14], raw[14+8+15] = byte(i>>8), byte(i)
			r.send(t, raw)
			if i%10 == 0 {
				r.send(t, lab.Packet{Payload: lab.Sealed(frame.Data, frame.SessionID{3, byte(i >> 8), byte(i)}, testKey, 1, 0)}.Bytes())
			}
		}
		for i := 0; i < DefaultSessions; i += 97 {
			r.expect(t, lab.Packet{Payload: lab.Sealed(frame.Data, id(i), frame.Key{byte(i), byte(i >> 8)}, 1, 0)}.Bytes(), "pass")
		}
	})
}
