package verifier

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"

	"github.com/x0tta6bl4/mesh/bpf/frame"
)

// What the program has to know to tell whose handshake frames to let pass under a
// flood. Userspace alone writes these tables.

// PutSecrets sets what cookies are made with (see frame.Cookie), and what they were made
// with before, which is accepted, too. Before the first call they are random.
func (v *Verifier) PutSecrets(current, previous frame.Key) error {
	half := func(k frame.Key) [2]uint64 {
		return [2]uint64{binary.LittleEndian.Uint64(k[:8]), binary.LittleEndian.Uint64(k[8:])}
	}
	if err := v.obj.Cookies.Put(uint32(0), bpfCookieSecrets{Current: half(current), Previous: half(previous)}); err != nil {
		return fmt.Errorf("put cookie secrets: %w", err)
	}
	return nil
}

// PutCall makes a message known, a call or the answer to one, that this node has sent to
// an address: whoever shows its id, the first bytes of its hash, from there has got it.
func (v *Verifier) PutCall(id [16]byte, to netip.Addr) error {
	return put(v.obj.Calls, "call", id, to.As16())
}

// DeleteCall forgets a call; it is no error that there is none.
func (v *Verifier) DeleteCall(id [16]byte) error { return remove(v.obj.Calls, "call", id) }

// PutPeer makes an address known as a peer's, DeletePeer forgets it; see PutCall.
func (v *Verifier) PutPeer(a netip.Addr) error {
	return put(v.obj.Acquaintances, "peer", a.As16(), uint8(1))
}

// DeletePeer forgets a peer's address; it is no error that there is none.
func (v *Verifier) DeletePeer(a netip.Addr) error {
	return remove(v.obj.Acquaintances, "peer", a.As16())
}

func put(m *ebpf.Map, what string, key [16]byte, value any) error {
	if err := m.Put(key, value); err != nil {
		return fmt.Errorf("put %s %x: %w", what, key, err)
	}
	return nil
}

func remove(m *ebpf.Map, what string, key [16]byte) error {
	if err := m.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("delete %s %x: %w", what, key, err)
	}
	return nil
}

// Cookies returns how many handshake frames over their limit were answered with a
// cookie.
func (v *Verifier) Cookies() (uint64, error) { return v.counter(uint32(bpfCounterCOUNTER_COOKIE)) }
