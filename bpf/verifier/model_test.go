package verifier

import (
	"bytes"
	"encoding/binary"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/bpf/internal/lab"
)

// model is the specification of the program in plain Go, written to be read, not
// to be fast. It leaves the handshake limit out: that is a matter of time.
type model struct {
	sessions map[frame.SessionID]*modelSession
}

type modelSession struct {
	key                        frame.Key
	revoked, expired, verified bool
	highest                    uint64
	seen                       map[uint64]bool
}

// judge returns the verdict on the Ethernet frame raw and whether the kernel
// goes on with it.
func (m *model) judge(raw []byte) (verdict string, deliver bool) {
	kind, payload := modelParse(raw)
	if kind != "mesh" {
		return kind, kind == "not_mesh"
	}
	verdict = m.judgeFrame(payload)
	deliver = verdict == "pass" && frame.Type(payload[3]).Class() != frame.ClassSignature
	return verdict, deliver
}

func (m *model) judgeFrame(payload []byte) string {
	h, _, err := frame.Parse(payload)
	if err != nil {
		return "malformed"
	}
	if h.Type.Class() == frame.ClassHandshake {
		if !bytes.Equal(payload[8:frame.HeaderLen], make([]byte, frame.HeaderLen-8)) {
			return "malformed"
		}
		return "pass"
	}
	if h.Sequence == 0 || h.Sequence > MaxSequence {
		return "malformed"
	}
	s, ok := m.sessions[h.Session]
	switch {
	case !ok:
		return "no_session"
	case frame.Tag(payload, s.key) != binary.BigEndian.Uint64(payload[frame.TagOffset:]):
		return "bad_tag"
	case s.revoked:
		return "revoked"
	case s.expired:
		return "expired"
	case s.seen[h.Sequence], h.Sequence+frame.ReplayWindow <= s.highest:
		return "replay"
	}
	s.seen[h.Sequence] = true
	s.highest = max(s.highest, h.Sequence)
	if h.Type.Class() == frame.ClassData && !s.verified {
		return "expired"
	}
	return "pass"
}

// modelParse finds the UDP payload of a mesh datagram in raw, or says that there
// is none ("not_mesh") or that it must not pass ("malformed").
func modelParse(raw []byte) (kind string, payload []byte) {
	be := binary.BigEndian
	if len(raw) < 14 {
		return "not_mesh", nil
	}
	proto, rest := be.Uint16(raw[12:]), raw[14:]
	for tags := 0; proto == 0x8100 || proto == 0x88a8; tags++ {
		if len(rest) < 4 {
			return "not_mesh", nil
		}
		if tags == 2 {
			return "malformed", nil
		}
		proto, rest = be.Uint16(rest[2:]), rest[4:]
	}
	switch proto {
	case 0x0800:
		return modelIPv4(rest)
	case 0x86dd:
		return modelIPv6(rest)
	}
	return "not_mesh", nil
}

func modelIPv4(ip []byte) (string, []byte) {
	be := binary.BigEndian
	if len(ip) < 20 || ip[0]>>4 != 4 || ip[0]&15 < 5 || ip[9] != 17 {
		return "not_mesh", nil
	}
	header, fragment := int(ip[0]&15)*4, be.Uint16(ip[6:])
	if fragment&0x1fff != 0 {
		return "not_mesh", nil
	}
	return modelUDP(ip, header, int(be.Uint16(ip[2:])), fragment&0x2000 != 0)
}

func modelIPv6(ip []byte) (string, []byte) {
	be := binary.BigEndian
	if len(ip) < 40 || ip[0]>>4 != 6 {
		return "not_mesh", nil
	}
	next, off, fragment := ip[6], 40, false
	truncated := func() (string, []byte) {
		if fragment {
			return "malformed", nil
		}
		return "not_mesh", nil
	}
	for extensions := 0; next != 17; extensions++ {
		switch next {
		case lab.HopByHop, lab.Routing, lab.FragmentExtension, lab.DestinationOptions:
		default:
			return "not_mesh", nil
		}
		if len(ip) < off+8 {
			return truncated()
		}
		size := 8 * (1 + int(ip[off+1]))
		if next == lab.FragmentExtension {
			size = 8
			if be.Uint16(ip[off+2:])>>3 != 0 {
				return "not_mesh", nil
			}
			fragment = true
		}
		if extensions == 8 {
			return "malformed", nil
		}
		next, off = ip[off], off+size
	}
	return modelUDP(ip, off, 40+int(be.Uint16(ip[4:])), fragment)
}

// modelUDP judges the UDP header at off of an IP packet that says it ends at end.
func modelUDP(ip []byte, off, end int, fragment bool) (string, []byte) {
	be := binary.BigEndian
	if len(ip) < off+8 {
		if fragment {
			return "malformed", nil
		}
		return "not_mesh", nil
	}
	if be.Uint16(ip[off+2:]) != frame.Port {
		return "not_mesh", nil
	}
	length := int(be.Uint16(ip[off+4:]))
	if fragment || length < 8 || end > len(ip) || off+length != end {
		return "malformed", nil
	}
	return "mesh", ip[off+8 : end]
}
