package identity

import (
	"context"
	"sync/atomic"
	"testing"
	"time"
)

// TestEnrolWithAWrongClock: a machine whose clock is off by up to a day gets a certificate,
// and its node judges others' by the authority's time.
func TestEnrolWithAWrongClock(t *testing.T) {
	for _, off := range []time.Duration{0, -50 * time.Minute, 50 * time.Minute, -2 * time.Hour, 2 * time.Hour, -24 * time.Hour, 24 * time.Hour} {
		e := newEnrolment(t)
		e.enroller.Clock = func() time.Time { return time.Now().Add(off) }
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		n, err := e.enroller.Enrol(ctx)
		cancel()
		if err != nil {
			t.Errorf("clock off by %v: %v", off, err)
			continue
		}
		if d := time.Until(n.Now()); d.Abs() > 5*time.Second {
			t.Errorf("clock off by %v: the mesh's time is off by %v", off, d)
		}
		other, err := e.authority.NewNode("mesh-node-b-0", "zone-b", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Verify(other.Credential().Certificate); err != nil {
			t.Errorf("clock off by %v: a good certificate: %v", off, err)
		}
		now := time.Now()
		old, err := e.authority.Issue("mesh-node-b-0", "zone-b", GenerateKey().Public(), now.Add(-9*time.Hour), now.Add(-2*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if n.Verify(old) == nil {
			t.Errorf("clock off by %v: an expired certificate counts", off)
		}
	}
}

// TestTheAuthoritysTimeNeverGoesBack: when the clock of its machine is set while it runs, certificates
// that it issues are no older than those before, and nodes are told the time by which it issues them.
func TestTheAuthoritysTimeNeverGoesBack(t *testing.T) {
	var off atomic.Int64
	off.Store(int64(2 * time.Hour))
	e := newEnrolment(t, func(c *CAConfig) { c.Clock = func() time.Time { return time.Now().Add(time.Duration(off.Load())) } })
	enrol := func() *Certificate {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		n, err := e.enroller.Enrol(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return n.Credential().Certificate
	}
	before := enrol()
	if d := time.Until(before.NotBefore); d < 2*time.Hour-time.Minute {
		t.Errorf("by a clock that is 2 h ahead it is issued in %v", d)
	}
	for _, set := range []time.Duration{0, -24 * time.Hour, 48 * time.Hour} {
		off.Store(int64(set))
		after := enrol()
		if d := after.NotBefore.Sub(before.NotBefore); d < 0 || d > time.Minute {
			t.Errorf("clock set to %v from the time: issued %v after the one before", set, d)
		}
		before = after
	}
}

// TestEnrolTrustsNoOtherCA: the allowance is about time and nothing else.
func TestEnrolTrustsNoOtherCA(t *testing.T) {
	e, foreign := newEnrolment(t), newEnrolment(t)
	e.enroller.URL = foreign.server.URL
	e.enroller.Clock = func() time.Time { return time.Now().Add(-3 * time.Hour) }
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := e.enroller.Enrol(ctx); err == nil {
		t.Error("enrolled at another mesh's CA")
	}
	far := newEnrolment(t)
	far.enroller.Clock = func() time.Time { return time.Now().Add(400 * 24 * time.Hour * 20) }
	ctx, cancel = context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := far.enroller.Enrol(ctx); err == nil {
		t.Error("a CA's certificate that ended years ago counts")
	}
}
