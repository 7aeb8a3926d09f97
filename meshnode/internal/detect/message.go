package detect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
)

// heartbeat is the payload of Heartbeat and, sent back as it came, the beginning of that
// of HeartbeatEcho, see echo:
//
//	incarnation u64, sequence u64, flags u8 (bit 0: the sender leaves; bit 1: it is
//	about to end the session, see Pause)
type heartbeat struct {
	incarnation, seq uint64
	leaving, pausing bool
}

const (
	heartbeatLen = 17
	flagLeaving  = 1
	flagPausing  = 2
)

var errMessage = errors.New("detect: malformed message")

func (h *heartbeat) encode() []byte {
	b := make([]byte, heartbeatLen)
	binary.BigEndian.PutUint64(b, h.incarnation)
	binary.BigEndian.PutUint64(b[8:], h.seq)
	if h.leaving {
		b[16] = flagLeaving
	}
	if h.pausing {
		b[16] |= flagPausing
	}
	return b
}

func (h *heartbeat) decode(b []byte) error {
	if len(b) != heartbeatLen || b[16]&^(flagLeaving|flagPausing) != 0 {
		return fmt.Errorf("%w: heartbeat of %d bytes", errMessage, len(b))
	}
	if h.incarnation = binary.BigEndian.Uint64(b); h.incarnation == 0 {
		return fmt.Errorf("%w: heartbeat without an incarnation", errMessage)
	}
	h.seq = binary.BigEndian.Uint64(b[8:])
	h.leaving, h.pausing = b[16]&flagLeaving != 0, b[16]&flagPausing != 0
	return nil
}

// echo is the payload of HeartbeatEcho: a heartbeat as it came, and what the clock of
// who sends it back shows:
//
//	heartbeat, Unix time in nanoseconds i64
type echo struct {
	heartbeat
	clock time.Time
}

const echoLen = heartbeatLen + 8

// echoOf answers the payload of a heartbeat.
func echoOf(payload []byte, clock time.Time) []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, echoLen), payload...), uint64(clock.UnixNano()))
}

func (e *echo) decode(b []byte) error {
	if len(b) != echoLen {
		return fmt.Errorf("%w: echo of %d bytes", errMessage, len(b))
	}
	e.clock = time.Unix(0, int64(binary.BigEndian.Uint64(b[heartbeatLen:])))
	return e.heartbeat.decode(b[:heartbeatLen])
}

// probe is the payload of ProbeRequest and ProbeReply:
//
//	id u64, incarnation u64 (that was heard; 0 in requests), target name
type probe struct {
	id, incarnation uint64
	target          string
}

const probeLen = 16

func (p *probe) encode() []byte {
	b := make([]byte, probeLen, probeLen+len(p.target))
	binary.BigEndian.PutUint64(b, p.id)
	binary.BigEndian.PutUint64(b[8:], p.incarnation)
	return append(b, p.target...)
}

func (p *probe) decode(b []byte) error {
	if len(b) <= probeLen || !identity.ValidName(string(b[probeLen:])) {
		return fmt.Errorf("%w: probe of %d bytes", errMessage, len(b))
	}
	p.id = binary.BigEndian.Uint64(b)
	p.incarnation = binary.BigEndian.Uint64(b[8:])
	p.target = string(b[probeLen:])
	return nil
}
