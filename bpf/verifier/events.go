package verifier

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/ringbuf"

	"github.com/x0tta6bl4/mesh/bpf/frame"
)

// ErrClosed is the error of reads from a closed verifier.
var ErrClosed = errors.New("verifier is closed")

// Fragment is a fragment of a signature that passed every check of its header.
type Fragment struct {
	Session   frame.SessionID
	Type      frame.Type
	Sequence  uint64
	Fragment  uint8
	Fragments uint8
	Time      time.Duration // when the kernel saw it, on the clock of Now
	More      bool          // others wait behind it
	Payload   []byte        // valid until the next call of ReadSignature
}

// Report tells of a dropped packet. Session is zero if no header could be read,
// and Source if no address or port could be. Nothing in it is authenticated
// unless the verdict is replay, or expired.
type Report struct {
	Verdict string
	Session frame.SessionID
	Source  netip.AddrPort
	Time    time.Duration // when the kernel saw it, on the clock of Now
}

// ReadSignature waits for the next signature fragment, one caller at a time. It
// returns the context's error when that ends and ErrClosed after Close.
func (v *Verifier) ReadSignature(ctx context.Context) (Fragment, error) {
	var f Fragment
	err := v.signatures.read(ctx, func(raw []byte) error {
		event, err := view[bpfSignatureEvent](raw)
		if err != nil {
			return err
		}
		f = Fragment{
			Session: event.Session, Type: frame.Type(event.Type), Sequence: event.Sequence,
			Fragment: event.Fragment, Fragments: event.Fragments, Time: time.Duration(event.Time),
			More: v.signatures.record.Remaining > 0, Payload: event.Payload[:event.Length],
		}
		return nil
	})
	return f, err
}

// ReadReport waits for the next drop report. It returns the context's error when
// that ends and ErrClosed after Close.
func (v *Verifier) ReadReport(ctx context.Context) (Report, error) {
	var r Report
	err := v.reports.read(ctx, func(raw []byte) error {
		event, err := view[bpfDropEvent](raw)
		if err != nil {
			return err
		}
		if int(event.Verdict) >= len(verdicts) {
			return fmt.Errorf("read report: verdict %d", event.Verdict)
		}
		r = Report{
			Verdict: verdicts[event.Verdict], Session: event.Session, Time: time.Duration(event.Time),
			Source: netip.AddrPortFrom(netip.AddrFrom16(event.Source).Unmap(), binary.BigEndian.Uint16(event.SourcePort[:])),
		}
		return nil
	})
	return r, err
}

// view interprets a ring record as a C struct of the program.
func view[T any](raw []byte) (*T, error) {
	var t T
	if len(raw) < int(unsafe.Sizeof(t)) {
		return nil, fmt.Errorf("event of %d bytes, want %d: the program is not this package's", len(raw), unsafe.Sizeof(t))
	}
	return (*T)(unsafe.Pointer(unsafe.SliceData(raw))), nil
}

// eventReader reads one ring, one reader at a time, with contexts.
type eventReader struct {
	mu     sync.Mutex
	ring   *ringbuf.Reader
	record ringbuf.Record

	// What interrupts a waiting reader when the context of its call ends. It
	// serves the next call, too, if that has the same context.
	done <-chan struct{}
	stop func() bool
}

// read waits for a record and hands it to decode, which must not keep it.
func (r *eventReader) read(ctx context.Context, decode func([]byte) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if done := ctx.Done(); done != r.done {
		if r.stop != nil {
			r.stop()
		}
		// It fails only on a closed ring, whose reader is on its way out anyway.
		r.done, r.stop = done, context.AfterFunc(ctx, func() { _ = r.ring.Flush() })
	}
	for {
		err := r.ring.ReadInto(&r.record)
		switch {
		case err == nil:
			return decode(r.record.RawSample)
		case errors.Is(err, ringbuf.ErrClosed):
			return ErrClosed
		case !errors.Is(err, ringbuf.ErrFlushed):
			return fmt.Errorf("read event: %w", err)
		case ctx.Err() != nil:
			return ctx.Err()
		}
		// The flush came late, for a previous call whose context ended.
	}
}
