package verifier

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/bpf/internal/lab"
)

// soon is a context that bounds a wait for what must already be there.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestSignatureEvents(t *testing.T) {
	carriers := map[string]lab.Packet{
		"ipv4": {}, "ipv4 longest": {Options: 40, VLANs: []uint16{0x8100, 0x8100}},
		"ipv6": {IPv6: true}, "ipv6 extension": {IPv6: true, Extensions: lab.Repeat(lab.Extension(lab.DestinationOptions, 5), 2)},
	}
	both(t, Config{}, func(t *testing.T, r *runner) {
		r.put(t, testID, testKey)
		sequence := uint64(100)
		for name, carrier := range carriers {
			for _, n := range []int{0, 1, 7, 8, 9, 509, 1393, 1399, frame.MaxPayload} {
				sequence++
				h := frame.Header{
					Type: frame.AttestationSignature, Length: uint16(n), Fragment: 1, Fragments: 3,
					Session: testID, Sequence: sequence,
				}
				b := lab.Frame(h, testKey)
				before := Now()
				if verdict, deliver := r.run(t, carrier.With(b)); verdict != "pass" || deliver {
					t.Fatalf("%s, %d bytes: %s, delivered %t", name, n, verdict, deliver)
				}
				f, err := r.ReadSignature(soon(t))
				if err != nil {
					t.Fatal(err)
				}
				if f.Time < before || f.Time > Now() {
					t.Errorf("time %v outside %v and now", f.Time, before)
				}
				if !bytes.Equal(f.Payload, b[frame.HeaderLen:]) {
					t.Errorf("%s: payload of %d bytes differs", name, n)
				}
				f.Time, f.Payload = 0, nil
				want := Fragment{Session: testID, Type: h.Type, Sequence: sequence, Fragment: 1, Fragments: 3}
				if f.Session != want.Session || f.Type != want.Type || f.Sequence != want.Sequence ||
					f.Fragment != want.Fragment || f.Fragments != want.Fragments {
					t.Errorf("got %+v, want %+v", f, want)
				}
			}
		}
	})
}

// Fragments that find their ring full are counted as lost and never block.
func TestSignatureRingFull(t *testing.T) {
	both(t, Config{}, func(t *testing.T, r *runner) {
		r.put(t, testID, testKey)
		const sent = 1000 // the ring holds some 700
		for i := range sent {
			r.send(t, lab.Packet{Payload: lab.Sealed(frame.AttestationSignature, testID, testKey, uint64(i+1), 1000)}.Bytes())
		}
		lost, err := r.Lost()
		if err != nil {
			t.Fatal(err)
		}
		if lost == 0 || lost >= sent {
			t.Fatalf("%d of %d lost: the ring was not filled", lost, sent)
		}
		for i := range sent - lost {
			f, err := r.ReadSignature(soon(t))
			if err != nil {
				t.Fatal(err)
			}
			if f.Sequence != i+1 {
				t.Fatalf("fragment %d has sequence %d", i+1, f.Sequence)
			}
		}
	})
}

func TestReports(t *testing.T) {
	both(t, Config{}, func(t *testing.T, r *runner) {
		r.put(t, testID, testKey)
		valid := lab.Sealed(frame.Heartbeat, testID, testKey, 1, 0)
		r.expect(t, lab.Packet{Payload: valid}.Bytes(), "pass") // not reported
		unknown := frame.SessionID{5}
		for _, c := range []struct {
			raw  []byte
			want Report
		}{
			{lab.Packet{Payload: valid}.Bytes(), Report{Verdict: "replay", Session: testID, Source: lab.SourceIPv4}},
			{lab.Packet{Payload: valid, IPv6: true}.Bytes(), Report{Verdict: "replay", Session: testID, Source: lab.SourceIPv6}},
			{lab.Packet{Payload: lab.Sealed(frame.Data, unknown, testKey, 1, 0)}.Bytes(), Report{Verdict: "no_session", Session: unknown, Source: lab.SourceIPv4}},
			{lab.Packet{Payload: []byte("short")}.Bytes(), Report{Verdict: "malformed", Source: lab.SourceIPv4}},
			{lab.Packet{VLANs: []uint16{0x8100, 0x8100, 0x8100}}.Bytes(), Report{Verdict: "malformed", Source: netip.AddrPortFrom(netip.IPv6Unspecified(), 0)}},
		} {
			before := Now()
			r.expect(t, c.raw, c.want.Verdict)
			got, err := r.ReadReport(soon(t))
			if err != nil {
				t.Fatal(err)
			}
			if got.Time < before || got.Time > Now() {
				t.Errorf("time %v outside %v and now", got.Time, before)
			}
			got.Time = 0
			if got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		}
	})
}

// Reports that find their ring full are counted as lost.
func TestReportRingFull(t *testing.T) {
	both(t, Config{ReportRate: 1e6}, func(t *testing.T, r *runner) {
		const sent = 3000 // the ring holds some 1000
		if _, err := r.prog.Run(&ebpf.RunOptions{Data: lab.Packet{}.Bytes(), Repeat: sent}); err != nil {
			t.Fatal(err)
		}
		lost, err := r.Lost()
		if err != nil {
			t.Fatal(err)
		}
		if lost == 0 || lost >= sent {
			t.Fatalf("%d of %d lost: the ring was not filled", lost, sent)
		}
		malformed := r.counts(t)["malformed"]
		for range malformed - lost {
			if _, err := r.ReadReport(soon(t)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A flood of one kind uses up that kind's reports and no other's, and the
// reports that are held back are counted.
func TestReportsUnderFlood(t *testing.T) {
	const rate, flood = 20, 5000
	both(t, Config{ReportRate: rate}, func(t *testing.T, r *runner) {
		r.put(t, testID, testKey)
		valid := lab.Packet{Payload: lab.Sealed(frame.Heartbeat, testID, testKey, 1, 0)}.Bytes()
		r.expect(t, valid, "pass")
		start := Now()
		if _, err := r.prog.Run(&ebpf.RunOptions{
			Data:   lab.Packet{Payload: lab.Sealed(frame.Data, testID, frame.Key{}, 1, 0)}.Bytes(),
			Repeat: flood,
		}); err != nil {
			t.Fatal(err)
		}
		r.expect(t, valid, "replay") // the real event
		// The bucket starts full and refills; a tick may be late.
		most := rate + int((Now()-start)*rate/time.Second) + 2
		forged := 0
		for {
			report, err := r.ReadReport(soon(t))
			if err != nil {
				t.Fatalf("the replay was not reported: %v", err)
			}
			if report.Verdict == "replay" {
				break
			}
			forged++
		}
		if forged < rate || forged > most {
			t.Errorf("%d reports of the flood, want %d to %d", forged, rate, most)
		}
		if held, err := r.Held(); err != nil || held != uint64(flood-forged) {
			t.Errorf("%d held back (%v), want %d", held, err, flood-forged)
		}
		if lost, err := r.Lost(); err != nil || lost != 0 {
			t.Errorf("%d lost (%v), want 0", lost, err)
		}
	})
}

func TestReadContextAndClose(t *testing.T) {
	v := loaded(t, Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := v.ReadSignature(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting read: %v, want %v", err, context.DeadlineExceeded)
	}
	if _, err := v.ReadSignature(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("read with a context that is over: %v, want %v", err, context.DeadlineExceeded)
	}
	// The end of one call's context does not reach into the next call.
	r := newRunner(t, v, "xdp")
	r.put(t, testID, testKey)
	r.expect(t, lab.Packet{Payload: lab.Sealed(frame.Heartbeat, testID, testKey, 1, 0)}.Bytes(), "pass")
	r.send(t, lab.Packet{Payload: lab.Sealed(frame.AttestationSignature, testID, testKey, 2, 5)}.Bytes())
	if f, err := v.ReadSignature(soon(t)); err != nil || f.Sequence != 2 {
		t.Errorf("read after that: %+v, %v", f, err)
	}

	closed := make(chan error, 2)
	go func() { _, err := v.ReadSignature(context.Background()); closed <- err }()
	go func() { _, err := v.ReadReport(context.Background()); closed <- err }()
	if err := v.Close(); err != nil {
		t.Error(err)
	}
	for range 2 {
		select {
		case err := <-closed:
			if !errors.Is(err, ErrClosed) {
				t.Errorf("read from a closed verifier: %v, want %v", err, ErrClosed)
			}
		case <-soon(t).Done():
			t.Fatal("a read outlives Close")
		}
	}
	if err := v.Healthy(); err == nil {
		t.Error("a closed verifier says that it is healthy")
	}
}

// The end of each call's context interrupts that call, whatever contexts came
// before, and a fragment tells whether another waits behind it.
func TestReadAfterOtherContexts(t *testing.T) {
	v := loaded(t, Config{})
	r := newRunner(t, v, "xdp")
	r.put(t, testID, testKey)
	for turn := range 20 { // a cancel that comes before the reader sleeps proves little
		ctx, cancel := context.WithCancel(t.Context())
		for i := range 2 {
			r.send(t, lab.Packet{Payload: lab.Sealed(frame.AttestationSignature, testID, testKey, uint64(2*turn+i+1), 9)}.Bytes())
		}
		for _, more := range []bool{true, false} {
			if f, err := v.ReadSignature(ctx); err != nil || f.More != more || len(f.Payload) != 9 {
				t.Fatalf("turn %d: %+v, %v, want more %t", turn, f, err, more)
			}
		}
		read := make(chan error, 1)
		go func() { _, err := v.ReadSignature(ctx); read <- err }()
		for v.signatures.mu.TryLock() { // until the reader has it
			v.signatures.mu.Unlock()
			runtime.Gosched()
		}
		cancel()
		select {
		case err := <-read:
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("turn %d: %v, want %v", turn, err, context.Canceled)
			}
		case <-soon(t).Done():
			t.Fatalf("turn %d: the read outlives its context", turn)
		}
	}
}
