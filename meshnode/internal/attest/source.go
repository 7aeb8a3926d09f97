package attest

import (
	"context"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
)

// Fragment is one frame of an attestation signature whose header tag and
// sequence number were found good, by the eBPF verifier or by the socket path.
type Fragment struct {
	Session   frame.SessionID
	Sequence  uint64
	Fragment  uint8
	Fragments uint8
	Time      time.Duration // CLOCK_MONOTONIC at arrival
	More      bool          // others wait behind it
	Payload   []byte
}

// Source yields signature fragments, in a real node from the kernel's ring
// buffer. ReadFragment blocks until one is there or ctx ends; the payload is
// valid until the next call.
type Source interface {
	ReadFragment(ctx context.Context) (Fragment, error)
}
