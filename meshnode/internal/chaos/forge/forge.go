// Package forge is an attacker off the path: no member of the mesh, it can send
// any packet to nodes, also in the name of other nodes, but has no key. It sends
// signatures, control and data frames of sessions that do not exist, or whose ids
// it has observed, and handshakes that lead to nothing. None of it may cost
// anybody a session.
package forge

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/pmtu"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
)

// Target is a node that is attacked.
type Target struct {
	Name string
	Addr netip.AddrPort
}

// Kind is what a forged frame pretends to be.
type Kind string

// The kinds. Handshakes share the limits of what is sent in their source's name, so that
// they are the only kind that can make others take another way: that of a cookie.
const (
	Signatures Kind = "signatures"
	Control    Kind = "control"
	Data       Kind = "data"
	Handshakes Kind = "handshakes"
)

// Kinds returns all kinds.
func Kinds() []Kind { return []Kind{Signatures, Control, Data, Handshakes} }

// types are the frame types of the kinds.
func (k Kind) frame() frame.Type {
	switch k {
	case Signatures:
		return frame.AttestationSignature
	case Control:
		return frame.Heartbeat
	case Data:
		return frame.Data
	}
	return frame.HandshakeInit
}

// Spoof sends a datagram in the name of another address; see wire.Spoofer.
type Spoof func(payload []byte, from, to netip.AddrPort) error

// Config configures an attack. Targets, Kinds, Interval, Duration and Conn are
// required.
type Config struct {
	Targets  []Target
	Kinds    []Kind
	Sessions []frame.SessionID // that were observed; none: unknown ones only
	Interval time.Duration     // between two rounds; in one, each target gets every kind once for each session
	Duration time.Duration
	Conn     transport.Conn // the attacker's own address
	Spoof    Spoof          // nil: only the attacker's own address is the source
}

// Counts says what a target was sent.
type Counts struct {
	Node    string       `json:"node"`
	Frames  int          `json:"frames"`
	Spoofed int          `json:"spoofed"` // of them in the name of a member
	Kinds   map[Kind]int `json:"kinds"`
	// Of the first frame and of the last.
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
}

// Run attacks until the time is up or ctx ends, and returns what was sent, also
// with an error.
func Run(ctx context.Context, cfg Config) ([]Counts, error) {
	counts := make([]Counts, len(cfg.Targets))
	for i, t := range cfg.Targets {
		counts[i] = Counts{Node: t.Name, Kinds: map[Kind]int{}, Started: time.Now().UTC()}
	}
	end := time.NewTimer(cfg.Duration)
	defer end.Stop()
	ticker := time.NewTicker(cfg.Interval)
	defer ticker.Stop()
	for round := 0; ; round++ {
		for i, t := range cfg.Targets {
			if err := cfg.round(round, t, &counts[i]); err != nil {
				return counts, fmt.Errorf("forge frames for %s: %w", t.Name, err)
			}
		}
		select {
		case <-ctx.Done():
			return counts, nil
		case <-end.C:
			return counts, nil
		case <-ticker.C:
		}
	}
}

// round sends a target one frame of every kind and session, all in the name of one
// source: of each member in turn, and of the attacker itself.
func (cfg *Config) round(round int, to Target, c *Counts) error {
	sources := []netip.AddrPort{{}} // the attacker's own
	if cfg.Spoof != nil {
		for _, t := range cfg.Targets {
			if t.Addr != to.Addr && t.Addr.Addr().Is4() == to.Addr.Addr().Is4() {
				sources = append(sources, t.Addr)
			}
		}
	}
	source := sources[round%len(sources)]
	var unknown frame.SessionID
	rand.Read(unknown[:])
	for _, kind := range cfg.Kinds {
		for _, id := range append([]frame.SessionID{unknown}, cfg.Sessions...) {
			var err error
			if b := forged(kind, id); source.IsValid() {
				err = cfg.Spoof(b, source, to.Addr)
				c.Spoofed++
			} else {
				err = cfg.Conn.WriteTo(b, to.Addr)
			}
			if err != nil {
				return err
			}
			c.Frames++
			c.Kinds[kind]++
			c.Ended = time.Now().UTC()
			if kind == Handshakes {
				break // of no session
			}
		}
	}
	return nil
}

// forgedPayload is the payload of a forged frame in bytes: what every path carries.
const forgedPayload = pmtu.Base - frame.HeaderLen

// forged makes a well-formed frame of a random payload under a random key.
func forged(kind Kind, id frame.SessionID) []byte {
	var key frame.Key
	var sequence [1]byte
	rand.Read(key[:])
	rand.Read(sequence[:])
	b := make([]byte, pmtu.Base)
	rand.Read(b[frame.HeaderLen:])
	h := frame.Header{
		Type: kind.frame(), Length: forgedPayload, Fragments: 3, Session: id,
		Sequence: 1 + uint64(sequence[0]), // near what a young session has come to
	}
	if kind == Handshakes {
		h.Session, h.Sequence = frame.SessionID{}, 0
	}
	h.Put(b, key)
	return b
}

// ErrKind is the error of a kind that is none.
var ErrKind = errors.New("unknown kind")

// ParseKind reads a kind.
func ParseKind(s string) (Kind, error) {
	for _, k := range Kinds() {
		if string(k) == s {
			return k, nil
		}
	}
	return "", fmt.Errorf("%w: %q is none of %v", ErrKind, s, Kinds())
}
