package route

import (
	"errors"
	"math"
	"testing"
	"time"
)

// say gives n00 a payload of the neighbour n02 and returns its error.
func (m *mesh) say(entries ...message) error {
	var b []byte
	for _, e := range entries {
		b = e.append(b)
	}
	out, err := m.tables["n00"].Receive(m.now, "n02", b)
	m.out("n00", out)
	return err
}

// liar returns a mesh of three in which n02 is about to lie to n00 about n01, and what
// n00 knows of that one.
func liar(t *testing.T) (*mesh, *destination) {
	m := newMesh(t, 3, 31)
	m.full()
	m.run(3 * time.Second)
	return m, m.tables["n00"].dests["n01"]
}

// direct checks that n00 reaches n01 straight, now and after the liar has left.
func (m *mesh) direct(t *testing.T, what string) {
	t.Helper()
	if next, ok := m.tables["n00"].Next("n01"); !ok || next != "n01" {
		t.Errorf("%s: n00 goes to n01 by %q", what, next)
	}
	m.run(2 * time.Second)
	if next, ok := m.tables["n00"].Next("n01"); !ok || next != "n01" {
		t.Errorf("%s, 2 s later: n00 goes to n01 by %q", what, next)
	}
}

// TestNoHighIncarnationBuriesANode: a liar that announces another node under an incarnation
// of its own making draws nothing, and leaves nothing behind.
func TestNoHighIncarnationBuriesANode(t *testing.T) {
	for _, incarnation := range []uint64{1 << 63, math.MaxUint64, 2 << numberBits} {
		m, _ := liar(t)
		for seq := range uint32(5) {
			err := m.say(message{kind: news, originator: "n01", distance: distance{incarnation, seq + 1, 255}, hops: maxHops})
			if err != nil && !errors.Is(err, ErrForged) {
				t.Fatal(err)
			}
			m.direct(t, "under a forged incarnation")
		}
		m.link("n00", "n02", 0)
		m.direct(t, "after the liar has left")
	}
}

// TestNobodyMakesANewerSequence: of the sequence numbers that an originator has not
// revealed none is believed, with whatever proof, and the neighbour is at fault.
func TestNobodyMakesANewerSequence(t *testing.T) {
	m, d := liar(t)
	for _, seq := range []uint32{d.chain.seq + 1, d.chain.seq + 1000, chainLength, chainLength + 1, math.MaxUint32} {
		for _, p := range []proof{{}, d.chain.value, {1, 2, 3}} {
			newest := d.newest
			err := m.say(message{news, "n01", distance{d.chain.incarnation, seq, 255}, maxHops, p})
			if !errors.Is(err, ErrForged) {
				t.Errorf("sequence %d with an invented proof: %v", seq, err)
			}
			if d.newest != newest {
				t.Errorf("sequence %d with an invented proof became the newest", seq)
			}
		}
	}
	m.direct(t, "with invented sequences")
	// The good ones of a payload count although another one is forged.
	before := d.chain.seq
	own := m.tables["n01"]
	own.originate(m.now, announcement)
	good := own.own(news)
	good.tq, good.hops = 200, 3
	if err := m.say(message{news, "n01", distance{d.chain.incarnation, before + 50, 255}, maxHops, proof{}}, good); !errors.Is(err, ErrForged) || d.chain.seq != own.seq {
		t.Errorf("good beside forged: %v, sequence %d, want %d", err, d.chain.seq, own.seq)
	}
}

// TestNobodyIsCloserThanALink: a liar can claim one perfect link to a destination and no
// more, so that a good direct link is always better.
func TestNobodyIsCloserThanALink(t *testing.T) {
	m, d := liar(t)
	if err := m.say(message{news, "n01", distance{d.chain.incarnation, d.chain.seq, 255}, maxHops, d.chain.value}); err != nil {
		t.Fatal(err)
	}
	i, ok := d.find("n02")
	if !ok || d.from[i].tq != relayedTQ {
		t.Fatalf("of a relay is noted: %+v", d.from)
	}
	m.direct(t, "beside a relay that claims to be the destination")
}

// TestAnchorsAreTheirOwners: an anchor counts only with its originator's signature, and an
// incarnation that is its certificate's.
func TestAnchorsAreTheirOwners(t *testing.T) {
	at := time.Unix(1e9, 0)
	by := func(v vouching, originator string, incarnation uint64) []byte {
		tb := &Table{self: originator, voucher: v}
		tb.rechain()
		if incarnation != 0 { // what the liar says, signed with its own key
			certificate, signature := v.Vouch(func(time.Time) []byte {
				a, err := decodeAnchor(tb.anchor)
				if err != nil {
					t.Fatal(err)
				}
				return forged(a, incarnation)
			})
			a, err := decodeAnchor(tb.anchor)
			if err != nil {
				t.Fatal(err)
			}
			b := append(forged(a, incarnation), byte(len(certificate)>>8), byte(len(certificate)))
			return append(append(b, certificate...), signature...)
		}
		return tb.anchor
	}
	for what, b := range map[string][]byte{
		"signed by somebody else":   by(vouching{"n02", 5}, "n01", 0),
		"above its certificate":     by(vouching{"n01", 5}, "n01", 1<<63),
		"below its certificate":     by(vouching{"n01", 5}, "n01", 1),
		"with a name that is none":  by(vouching{"n01", 5}, "n\xff1", 0),
		"cut short":                 by(vouching{"n01", 5}, "n01", 0)[:60],
		"with another value":        flip(by(vouching{"n01", 5}, "n01", 0), 20),
		"without anything":          {byte(anchored)},
		"with a name that is large": {byte(anchored), 255, 1, 2},
	} {
		tb := New("n00", vouching{"n00", 1})
		tb.SetLink(at, "n02", 255)
		if _, err := tb.Receive(at, "n02", b); !errors.Is(err, ErrForged) && !errors.Is(err, ErrMessage) {
			t.Errorf("anchor %s: %v", what, err)
		}
		if len(tb.dests) > 0 {
			t.Errorf("anchor %s: noted", what)
		}
	}
	tb := New("n00", vouching{"n00", 1})
	tb.SetLink(at, "n02", 255)
	if _, err := tb.Receive(at, "n02", by(vouching{"n01", 5}, "n01", 0)); err != nil || tb.dests["n01"] == nil {
		t.Errorf("a good anchor, passed on by another: %v", err)
	}
}

func forged(a *anchor, incarnation uint64) []byte {
	b := append([]byte(nil), a.statement...)
	for i := range 8 {
		b[2+len(a.originator)+i] = byte(incarnation >> (56 - 8*i))
	}
	return b
}

func flip(b []byte, i int) []byte { b[i] ^= 1; return b }

// TestInventedNamesTakeNoRoom: names that no certificate stands for are asked for, and
// leave nothing; nor do they keep a real one from being learnt.
func TestInventedNamesTakeNoRoom(t *testing.T) {
	m, _ := liar(t)
	tb := m.tables["n00"]
	for i := range 20000 {
		name := []byte("x0000")
		for j := range 4 {
			name[j+1] = byte('a' + i>>(4*j)&15)
		}
		if err := m.say(message{kind: news, originator: string(name), distance: distance{1 << 40, 1, 255}, hops: 2}); err != nil {
			t.Fatal(err)
		}
		m.queue = nil
	}
	if len(tb.dests) != 2 || len(tb.Routes()) != 2 {
		t.Errorf("%d destinations, %d routes, want 2", len(tb.dests), len(tb.Routes()))
	}
	m.names = append(m.names, "n03")
	m.tables["n03"] = New("n03", vouching{"n03", 1})
	m.link("n01", "n03", 255)
	m.run(3 * time.Second)
	if _, ok := tb.Next("n03"); !ok {
		t.Error("a real newcomer is not learnt")
	}
}

// TestAnchorsCostLittle: however many anchors a neighbour sends or asks for, few are
// verified or sent per second.
func TestAnchorsCostLittle(t *testing.T) {
	m, _ := liar(t)
	counting := &counter{vouching: vouching{"n00", 1}}
	tb := m.tables["n00"]
	tb.voucher = counting
	bad := &Table{self: "n77", voucher: vouching{"n02", 9}}
	bad.rechain()
	sent := 0
	for range 1000 {
		_, err := tb.Receive(m.now, "n02", bad.anchor)
		if err != nil && !errors.Is(err, ErrForged) {
			t.Fatal(err)
		}
		w := message{kind: wanted, originator: "n01", hops: 1}
		out, err := tb.Receive(m.now, "n02", w.append(nil))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range out.Send {
			if kind(s.Payload[0]) == anchored {
				sent++
			}
		}
	}
	if counting.n > perSecond/badAnchor || sent > perSecond || sent == 0 {
		t.Errorf("%d anchors verified and %d sent within a second", counting.n, sent)
	}
}

type counter struct {
	vouching
	n int
}

func (c *counter) Confirm(certificate, signature, statement []byte) (string, time.Time, error) {
	c.n++
	return c.vouching.Confirm(certificate, signature, statement)
}

// TestChainsFollowEachOther: when the numbers of a chain are used up another begins, and
// nobody loses the way.
func TestChainsFollowEachOther(t *testing.T) {
	m := newMesh(t, 3, 33)
	m.link("n00", "n01", 255)
	m.link("n01", "n02", 255)
	m.run(2 * time.Second)
	old := m.tables["n02"].incarnation
	for range chainLength + 10 {
		m.tables["n02"].originate(m.now, announcement)
		m.out("n02", m.tables["n02"].Tick(m.now))
		m.deliver()
	}
	m.run(3 * time.Second)
	if m.tables["n02"].incarnation == old {
		t.Fatal("the same chain: the test proves nothing")
	}
	if d := m.tables["n00"].dests["n02"]; d.chain.incarnation != m.tables["n02"].incarnation {
		t.Errorf("two hops away the chain is %d, want %d", d.chain.incarnation, m.tables["n02"].incarnation)
	}
	if hops, ok := m.reach("n00", "n02"); !ok || hops != 2 {
		t.Errorf("%d hops, %v", hops, ok)
	}
}

// A request that a liar makes up has a destination announce itself once more and no more.
func TestRequestsAreBounded(t *testing.T) {
	m, d := liar(t)
	if err := m.say(message{kind: request, originator: "n01", distance: distance{d.chain.incarnation, math.MaxUint32, 0}, hops: maxHops}); err != nil {
		t.Fatal(err)
	}
	if d.wanted > d.chain.seq+1 {
		t.Errorf("sequence %d is wanted, the newest is %d", d.wanted, d.chain.seq)
	}
	m.direct(t, "after a request for the last sequence")
}

func BenchmarkProof(b *testing.B) {
	c := newChain("n01", 1)
	for _, gap := range []uint32{1, chainLength} {
		b.Run(map[uint32]string{1: "next", chainLength: "last"}[gap], func(b *testing.B) {
			for b.Loop() {
				r := revealed{salt: c.salt, value: c.values[0]}
				if _, ok := r.proves(gap, c.values[gap]); !ok {
					b.Fatal("not proven")
				}
			}
		})
	}
}
