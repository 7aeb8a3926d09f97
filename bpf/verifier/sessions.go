package verifier

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cilium/ebpf"

	"github.com/x0tta6bl4/mesh/bpf/frame"
)

// The errors of session operations.
var (
	ErrNoSession     = errors.New("no such session")
	ErrSessionExists = errors.New("session exists with another key")
	ErrSessionsFull  = errors.New("no room for another session")
)

// Session is what the program knows of a session.
type Session struct {
	// RxHeaderKey is the header key of the direction towards this node.
	RxHeaderKey frame.Key
	// Expires is when the session ends; VerifiedUntil until when its data frames
	// pass, 0 for never yet. Both on the clock of Now.
	Expires, VerifiedUntil time.Duration
}

// sessions is the userspace side of the session tables, their only writer. The
// hash from id to key and slot never changes while a session lives; what does
// change is written in place into the session's slot of an array.
type sessions struct {
	mu   sync.Mutex
	maps *bpfMaps
	live map[frame.SessionID]*liveSession
	// free slots, used first in first out: a packet that is being judged for a
	// deleted session is long done when its slot is given away again.
	free []uint32
}

type liveSession struct {
	key   frame.Key
	slot  uint32
	state bpfSessionState
}

func (s *sessions) init(maps *bpfMaps, capacity uint32) {
	s.maps = maps
	s.live = make(map[frame.SessionID]*liveSession)
	s.free = make([]uint32, capacity)
	for i := range s.free {
		s.free[i] = uint32(i)
	}
}

// Put makes a session known. Putting a live session again under the same key
// renews its times and keeps its replay window; under another key it fails with
// ErrSessionExists. ErrSessionsFull means that Config.Sessions are live.
func (v *Verifier) Put(id frame.SessionID, session Session) error {
	s := &v.sessions
	s.mu.Lock()
	defer s.mu.Unlock()
	if id == (frame.SessionID{}) {
		return errors.New("put session: the zero id is reserved for handshakes")
	}
	state := bpfSessionState{Expires: ktime(session.Expires), VerifiedUntil: ktime(session.VerifiedUntil)}
	if old, ok := s.live[id]; ok {
		if old.key != session.RxHeaderKey {
			return fmt.Errorf("put session %s: %w", id, ErrSessionExists)
		}
		state.Revoked = old.state.Revoked
		return s.setState(id, old, state)
	}
	if len(s.free) == 0 {
		return fmt.Errorf("put session %s: %w", id, ErrSessionsFull)
	}
	live := &liveSession{key: session.RxHeaderKey, slot: s.free[0]}
	// The hash entry goes last: it publishes the slot.
	if err := s.maps.Windows.Put(live.slot, bpfReplayWindow{}); err != nil {
		return fmt.Errorf("put session %s: window: %w", id, err)
	}
	if err := s.setState(id, live, state); err != nil {
		return err
	}
	entry := bpfSession{Slot: live.slot, Key: [2]uint64{
		binary.LittleEndian.Uint64(live.key[:8]), binary.LittleEndian.Uint64(live.key[8:]),
	}}
	if err := s.maps.Sessions.Update(id, entry, ebpf.UpdateNoExist); err != nil {
		return fmt.Errorf("put session %s: %w", id, err)
	}
	s.free = s.free[1:]
	s.live[id] = live
	return nil
}

// Delete forgets a session; its frames then count as no_session. It fails with
// ErrNoSession for one that is not known.
func (v *Verifier) Delete(id frame.SessionID) error {
	s := &v.sessions
	s.mu.Lock()
	defer s.mu.Unlock()
	live, ok := s.live[id]
	if !ok {
		return fmt.Errorf("delete session %s: %w", id, ErrNoSession)
	}
	if err := s.maps.Sessions.Delete(id); err != nil {
		return fmt.Errorf("delete session %s: %w", id, err)
	}
	delete(s.live, id)
	s.free = append(s.free, live.slot)
	return nil
}

// Revoke drops all further frames of a session until it is deleted. There is no
// way back. It fails with ErrNoSession for a session that is not known.
func (v *Verifier) Revoke(id frame.SessionID) error {
	return v.sessions.change(id, func(state *bpfSessionState) { state.Revoked = 1 })
}

// SetVerifiedUntil lets a session's data frames pass until t, a time of Now;
// 0 stops them. It fails with ErrNoSession for a session that is not known.
func (v *Verifier) SetVerifiedUntil(id frame.SessionID, t time.Duration) error {
	return v.sessions.change(id, func(state *bpfSessionState) { state.VerifiedUntil = ktime(t) })
}

func (s *sessions) change(id frame.SessionID, edit func(*bpfSessionState)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	live, ok := s.live[id]
	if !ok {
		return fmt.Errorf("change session %s: %w", id, ErrNoSession)
	}
	state := live.state
	edit(&state)
	return s.setState(id, live, state)
}

func (s *sessions) setState(id frame.SessionID, live *liveSession, state bpfSessionState) error {
	if err := s.maps.States.Put(live.slot, state); err != nil {
		return fmt.Errorf("write state of session %s: %w", id, err)
	}
	live.state = state
	return nil
}

// ktime converts a time for the kernel; times before boot are never.
func ktime(t time.Duration) uint64 { return uint64(max(t, 0)) }
