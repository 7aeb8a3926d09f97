// Package replay records the sealed frames that a node sends to its peers, and
// sends them again when their sessions are over. They are whole and rightly tagged
// under keys that no longer count: whatever the peers' verifiers let pass of them
// is a defect.
package replay

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/chaos/wire"
)

// Link sees what leaves the node and sends packets as they are; see wire.Tap.
type Link interface {
	Watch(ctx context.Context, see func(wire.Sent) bool) error
	Send(packet []byte) error
}

const (
	// maxFrames bounds what is kept for one peer: 6 MiB.
	maxFrames = 4096
	// burst frames are sent at once, and then there is a pause: no queue between, the
	// shortest of which is net.core.netdev_max_backlog (1000), may be what drops them.
	burst = 50
	pause = 5 * time.Millisecond
)

// Record is what was seen of one peer's frames.
type Record struct {
	To       netip.AddrPort
	Sessions map[frame.SessionID]bool
	packets  [][]byte
}

// Frames returns the number of frames.
func (r *Record) Frames() int { return len(r.packets) }

// Records is what was seen, by peer.
type Records map[netip.AddrPort]*Record

// sealed says whether a frame is sealed and tagged: of an established session, and
// no signature.
func sealed(h frame.Header) bool {
	return h.Type.Class() == frame.ClassControl || h.Type.Class() == frame.ClassData
}

// Capture records sealed frames to the chosen peers, none meaning all, until ctx
// ends.
func Capture(ctx context.Context, l Link, peers []netip.Addr) (Records, error) {
	all := Records{}
	err := l.Watch(ctx, func(s wire.Sent) bool {
		if !sealed(s.Header) || len(peers) > 0 && !slices.Contains(peers, s.To.Addr()) {
			return true
		}
		r := all[s.To]
		if r == nil {
			r = &Record{To: s.To, Sessions: map[frame.SessionID]bool{}}
			all[s.To] = r
		}
		if len(r.packets) < maxFrames {
			r.Sessions[s.Header.Session] = true
			r.packets = append(r.packets, s.Packet)
		}
		return true
	})
	return all, err
}

// Changed returns when the node has sent every recorded peer a frame of a session
// that is not recorded. Its error names the peers whose session is still the same
// when ctx ends.
func Changed(ctx context.Context, l Link, all Records) error {
	waiting := maps.Clone(all)
	err := l.Watch(ctx, func(s wire.Sent) bool {
		if r := waiting[s.To]; r != nil && sealed(s.Header) && !r.Sessions[s.Header.Session] {
			delete(waiting, s.To)
		}
		return len(waiting) > 0
	})
	if err != nil {
		return err
	}
	if len(waiting) > 0 {
		return fmt.Errorf("no new session with %v was seen: %w", slices.SortedFunc(maps.Keys(waiting), netip.AddrPort.Compare), ctx.Err())
	}
	return nil
}

// Send sends a peer's frames again.
func Send(ctx context.Context, l Link, r *Record) error {
	for i, p := range r.packets {
		if err := l.Send(p); err != nil {
			return fmt.Errorf("send frame %d of %d to %s again: %w", i+1, len(r.packets), r.To, err)
		}
		if (i+1)%burst != 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d frames were sent to %s again: %w", i+1, len(r.packets), r.To, ctx.Err())
		case <-time.After(pause):
		}
	}
	return nil
}

// Sorted returns the records by address.
func (r Records) Sorted() []*Record {
	return slices.SortedFunc(maps.Values(r), func(a, b *Record) int {
		return a.To.Compare(b.To)
	})
}
