package session

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloudflare/circl/kem/xwing"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/hostile"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
)

// The expected values come from an implementation of the same formulas in
// another language (testdata/keys.py), not from this code.
func TestKeyDerivationKnownAnswers(t *testing.T) {
	secret := make([]byte, 32)
	for i := range secret {
		secret[i] = byte(i)
	}
	transcript := replyHash([]byte("init message"), []byte("reply core"))
	k, err := deriveKeys(secret, transcript)
	if err != nil {
		t.Fatal(err)
	}
	final := finishHash(transcript, []byte("confirmation"), []byte("signature"))
	for _, v := range []struct {
		name string
		got  []byte
		want string
	}{
		{"reply hash", transcript[:], "27e6d7d6688b0b9cdb7f47a9f5aab7062106812a95f3e08bb2119f6fe2520ae4"},
		{"finish hash", final[:], "63a6279026b29b8f360bd422dc2a2734373aadba53379369ff8cbfaff4a9442f"},
		{"session id", k.id[:], "6d2a25af395c40f54dce58baa3a4c766"},
		{"initiator key", k.sends[initiator].key[:], "56e84072f3f7b94e39490d8d53220befb092bd50a4d9129728d9a01fdbf37c17"},
		{"initiator iv", k.sends[initiator].iv[:], "7f042f8f0d562d55dc651254"},
		{"initiator header", k.sends[initiator].header[:], "0795538e3b8a66072f5ae33024243704"},
		{"responder key", k.sends[responder].key[:], "fab232fbb37d1e634fb413b77596d1e8d2254e740b86746c9a0a236a3a93848e"},
		{"responder iv", k.sends[responder].iv[:], "9152dd824bb47923ba304269"},
		{"responder header", k.sends[responder].header[:], "1ace006a3638be590d13f4a932036d33"},
		{"initiator confirmation", k.confirmation(initiator, transcript), "7d8772aca987e6cd1874346034ff041304229c788555dffe5762c46231e06bd5"},
		{"responder confirmation", k.confirmation(responder, transcript), "71934af54560a873a1150a22599af8d399ab9855043f474cc5130b52de678509"},
	} {
		if got := hex.EncodeToString(v.got); got != v.want {
			t.Errorf("%s: %s, want %s", v.name, got, v.want)
		}
	}
}

// handshake plays one handshake without a network.
type handshake struct {
	a, b *Manager // a calls b
	o    *initiation
}

func newHandshake(t testing.TB) *handshake {
	t.Helper()
	w := &mesh{net: transport.NewNetwork(1)}
	var err error
	if w.authority, err = identity.NewAuthority(); err != nil {
		t.Fatal(err)
	}
	manager := func(name string) *Manager {
		id, err := w.authority.NewNode(name, "zone-a", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := w.net.Listen(transportAddr(name))
		if err != nil {
			t.Fatal(err)
		}
		m, err := New(Config{Identity: id, Transport: conn, Table: newTable()})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	h := &handshake{a: manager("a"), b: manager("b")}
	h.o = h.call(t)
	return h
}

// call makes an init message from a to b.
func (h *handshake) call(t testing.TB) *initiation {
	t.Helper()
	sk, pk, err := xwing.GenerateKeyPair(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cred := h.a.cfg.Identity.Credential()
	msg := initMessage{kem: make([]byte, xwing.PublicKeySize), responder: "b", certificate: cred.Certificate}
	rand.Read(msg.nonce[:])
	pk.Pack(msg.kem)
	init := msg.encode()
	return &initiation{id: idOf(init), init: init, kem: sk, credential: cred}
}

// message joins the frames of a handshake message again.
func message(frames [][]byte) []byte {
	var b []byte
	for _, f := range frames {
		b = append(b, f[frame.HeaderLen+handshakePrefix:]...)
	}
	return b
}

func TestHandshakeAgreesOnKeys(t *testing.T) {
	h := newHandshake(t)
	half, err := h.b.makeReply(h.o.init, 6)
	if err != nil {
		t.Fatal(err)
	}
	s, finish, err := h.a.verifyReply("b", h.o, message(half.reply))
	if err != nil {
		t.Fatal(err)
	}
	if err := verifyFinish(half, message(finish)); err != nil {
		t.Fatal(err)
	}
	r := half.session
	if s.id != r.id || s.generation != 7 || r.generation != 7 {
		t.Errorf("ids %v and %v, generations %d and %d", s.id, r.id, s.generation, r.generation)
	}
	if s.sealHeader != r.openHeader || s.openHeader != r.sealHeader || s.sealHeader == s.openHeader {
		t.Error("header keys do not match, or are not of one direction each")
	}
	sealed := s.sealFrame(make([]byte, transport.MaxDatagram), frame.Header{Type: frame.Data, Fragments: 1, Sequence: 1}, []byte("hello"))
	hd, _, err := frame.Parse(sealed)
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := r.openFrame(nil, hd, sealed); err != nil || string(plain) != "hello" {
		t.Errorf("opened %q, %v", plain, err)
	}
	if _, err := s.openFrame(nil, hd, sealed); err == nil {
		t.Error("the sender's own key opens what it sent: directions share a key")
	}
	for bit := range len(sealed) * 8 {
		bad := bytes.Clone(sealed)
		bad[bit/8] ^= 1 << (bit % 8)
		hd, _, err := frame.Parse(bad)
		if err != nil {
			continue
		}
		if _, err := r.openFrame(nil, hd, bad); err == nil {
			t.Errorf("a sealed frame opens with bit %d flipped", bit)
		}
	}
}

// field is a byte range of a handshake message.
type field struct {
	name string
	size int
}

// flip calls f with message changed in some bits of every field.
func flip(t *testing.T, message []byte, fields []field, f func(name string, changed []byte)) {
	t.Helper()
	at := 0
	for _, fd := range fields {
		for _, bit := range []int{0, fd.size * 4, fd.size*8 - 1} {
			b := bytes.Clone(message)
			b[at+bit/8] ^= 1 << (bit % 8)
			f(fd.name, b)
		}
		at += fd.size
	}
	if at != len(message) {
		t.Fatalf("the fields cover %d of %d bytes", at, len(message))
	}
}

// certificateFields are the fields of the certificates here: the names have one
// byte, the zone "zone-a".
var certificateFields = []field{
	{"certificate magic", 5}, {"issuer", 16}, {"serial", 16}, {"not before", 8}, {"not after", 8}, {"name", 2}, {"zone", 7},
	{"public key", identity.PublicKeySize}, {"certificate signature", identity.SignatureSize},
}

func TestEveryHandshakeFieldIsAuthenticated(t *testing.T) {
	h := newHandshake(t)
	init := append([]field{{"generation", 8}, {"nonce", nonceSize}, {"KEM key", xwing.PublicKeySize}, {"responder", 2}}, certificateFields...)
	t.Run("init", func(t *testing.T) {
		flip(t, h.o.init, init, func(name string, changed []byte) {
			half, err := h.b.makeReply(changed, 0)
			if err != nil {
				return // seen at once
			}
			if _, _, err := h.a.verifyReply("b", h.o, message(half.reply)); err == nil {
				t.Errorf("%s was changed under way and the caller did not notice", name)
			}
		})
	})
	half, err := h.b.makeReply(h.o.init, 0)
	if err != nil {
		t.Fatal(err)
	}
	reply := append([]field{{"generation", 8}, {"nonce", nonceSize}, {"KEM ciphertext", xwing.CiphertextSize}, {"length", 2}}, certificateFields...)
	reply = append(reply, field{"confirmation", confirmSize}, field{"signature", identity.SignatureSize})
	t.Run("reply", func(t *testing.T) {
		flip(t, message(half.reply), reply, func(name string, changed []byte) {
			if _, _, err := h.a.verifyReply("b", h.o, changed); err == nil {
				t.Errorf("%s was changed under way and the caller did not notice", name)
			}
		})
	})
	_, finish, err := h.a.verifyReply("b", h.o, message(half.reply))
	if err != nil {
		t.Fatal(err)
	}
	t.Run("finish", func(t *testing.T) {
		flip(t, message(finish), []field{{"confirmation", confirmSize}, {"signature", identity.SignatureSize}}, func(name string, changed []byte) {
			if verifyFinish(half, changed) == nil {
				t.Errorf("%s was changed under way and the called did not notice", name)
			}
		})
	})
}

func TestHandshakeWithTheWrongParties(t *testing.T) {
	h := newHandshake(t)
	half, err := h.b.makeReply(h.o.init, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.a.verifyReply("c", h.o, message(half.reply)); err == nil || !strings.Contains(err.Error(), "in place of c") {
		t.Errorf("b answered a call to c: %v", err)
	}
	if _, _, err := h.a.verifyReply("b", h.call(t), message(half.reply)); err == nil {
		t.Error("the reply to another call was accepted")
	}
	// c holds a good certificate, but does not hold a's key: it sends a's init
	// and a finish message signed by its own key.
	other, err := h.b.makeReply(h.call(t).init, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, finish, err := h.a.verifyReply("b", h.o, message(half.reply))
	if err != nil {
		t.Fatal(err)
	}
	if verifyFinish(other, message(finish)) == nil {
		t.Error("the finish message of another handshake was accepted")
	}
	confirmation := half.keys.confirmation(initiator, half.transcript)
	forged := append(bytes.Clone(confirmation), h.b.cfg.Identity.Credential().Key.Sign(identity.ContextInitiator, signedBy(half.transcript, confirmation))...)
	if verifyFinish(half, forged) == nil {
		t.Error("a finish message signed by another key was accepted")
	}
	mine := h.a.cfg.Identity.Credential().Key
	wrongUse := append(bytes.Clone(confirmation), mine.Sign(identity.ContextResponder, signedBy(half.transcript, confirmation))...)
	if verifyFinish(half, wrongUse) == nil {
		t.Error("a signature made as responder passed for the initiator's")
	}
}

// A side that signs well but has not derived the keys, because somebody put
// another KEM value in its place or because it lies, is refused.
func TestKeyConfirmation(t *testing.T) {
	h := newHandshake(t)
	half, err := h.b.makeReply(h.o.init, 0)
	if err != nil {
		t.Fatal(err)
	}
	reply, err := parseReply(message(half.reply))
	if err != nil {
		t.Fatal(err)
	}
	transcript, wrong := replyHash(h.o.init, reply.core), make([]byte, confirmSize)
	signature := h.b.cfg.Identity.Credential().Key.Sign(identity.ContextResponder, signedBy(transcript, wrong))
	if _, _, err := h.a.verifyReply("b", h.o, slices.Concat(reply.core, wrong, signature)); err == nil {
		t.Error("a responder without the keys was accepted")
	}
	signature = h.a.cfg.Identity.Credential().Key.Sign(identity.ContextInitiator, signedBy(half.transcript, wrong))
	if verifyFinish(half, slices.Concat(wrong, signature)) == nil {
		t.Error("an initiator without the keys was accepted")
	}
}

func TestAttestationMessage(t *testing.T) {
	got := attestationMessage(frame.SessionID{0: 0xaa, 15: 0xbb}, responder, [32]byte{0: 0xcc, 31: 0xdd}, 0x0102)
	want := "aa" + strings.Repeat("00", 14) + "bb" + "01" + "cc" + strings.Repeat("00", 30) + "dd" + "0000000000000102"
	if hex.EncodeToString(got) != want {
		t.Errorf("%x, want %s", got, want)
	}
}

// Of two sessions whose handshakes crossed both sides keep the same one,
// whichever was finished last, and a late handshake of a lower generation does
// not displace a newer session.
func TestBothSidesPreferTheSameSession(t *testing.T) {
	h := newHandshake(t)
	e := &peer{name: "a", addr: transportAddr("a")}
	h.b.peers["a"] = e
	makeSession := func(generation uint64) *session {
		half, err := h.b.makeReply(h.call(t).init, generation)
		if err != nil {
			t.Fatal(err)
		}
		s := half.session
		s.peer = e
		if err := h.b.install(h.b.cfg.Now(), s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	older, one, other := makeSession(1), makeSession(6), makeSession(6)
	best := one
	if bytes.Compare(other.id[:], one.id[:]) > 0 {
		best = other
	}
	for _, order := range [][]*session{{one, other, older}, {other, one, older}, {older, one, other}} {
		e.current, e.previous = nil, nil
		for _, s := range order {
			h.b.establish(h.b.cfg.Now(), s)
		}
		if e.current != best {
			t.Errorf("generation %d, id %v is current, want %d, %v", e.current.generation, e.current.id, best.generation, best.id)
		}
		if len(e.previous) != 2 {
			t.Errorf("%d sessions still receive, want 2", len(e.previous))
		}
	}
}

func FuzzHandshakeMessages(f *testing.F) {
	h := newHandshake(f)
	half, err := h.b.makeReply(h.o.init, 0)
	if err != nil {
		f.Fatal(err)
	}
	_, finish, err := h.a.verifyReply("b", h.o, message(half.reply))
	if err != nil {
		f.Fatal(err)
	}
	for _, b := range hostile.Corpus(h.o.init, message(half.reply), message(finish)) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := parseInit(b); err == nil && !bytes.Equal(m.encode(), b) {
			t.Fatal("an init message with two encodings")
		}
		if m, err := parseReply(b); err == nil && !bytes.Equal(m.encodeCore(), m.core) {
			t.Fatal("a reply with two encodings")
		}
		if _, _, err := parseFinish(b); err == nil && len(b) != confirmSize+identity.SignatureSize {
			t.Fatal("a finish message of another size")
		}
		parseAnswer(b)
	})
}
