package session

import (
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/attest"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
)

// Peer is the name of a mesh node, e.g. "mesh-node-a-0".
type Peer string

// Entry is what the kernel knows of a session: the same fields in the same
// order as the verifier's session type, so that a conversion adapts one to the
// other. Times are CLOCK_MONOTONIC; a VerifiedUntil of 0 means not verified.
type Entry struct {
	RxHeaderKey   frame.Key
	Expires       time.Duration
	VerifiedUntil time.Duration
}

// Table is the kernel's session table. Methods must not block for long and may
// be called concurrently.
type Table interface {
	Put(id frame.SessionID, e Entry) error
	Delete(id frame.SessionID) error
	Revoke(id frame.SessionID) error
	SetVerifiedUntil(id frame.SessionID, t time.Duration) error
}

// Metrics receives what the manager counts. Methods must not block and may be
// called concurrently.
type Metrics interface {
	// Verification counts a verdict on a signature.
	Verification(ok bool, p attest.Priority)
	// VerificationLatency observes the time from a critical challenge to its verdict.
	VerificationLatency(d time.Duration)
	// VerificationTimeout counts a challenge that passed its deadline and was
	// not extended.
	VerificationTimeout()
	// VerificationShed counts an attestation that was not asked for, signed or
	// verified because there was more urgent work.
	VerificationShed(p attest.Priority)
	// SessionEstablished counts a new session by what caused its handshake.
	SessionEstablished(reason string)
	// SessionInvalidated counts a revoked session.
	SessionInvalidated(reason string)
	// KeysRotated counts a session that replaced a live one.
	KeysRotated(reason string)
}

// Why a handshake was made; Rotate adds reasons of its caller.
const (
	ReasonConnect  = "connect"  // first contact, or none left
	ReasonAccept   = "accept"   // the peer called
	ReasonReverify = "reverify" // the peer did not answer on the old session
	ReasonTTL      = "ttl"      // the old session was about to expire
	ReasonSequence = "sequence" // the old session had sealed too many frames
)

// Kind says what an Event reports.
type Kind string

// The kinds of events. VerificationFailed is only ever about a frame that
// carried a good header tag of an established session; what fails in a
// handshake, which anybody can send, is HandshakeFailed or UnknownPeer.
const (
	Established        Kind = "established"         // a session is usable in both directions
	Verified           Kind = "verified"            // a signature of the peer was good; Latency is set for attestations
	VerificationFailed Kind = "verification_failed" // an attestation was bad
	ProvenBad          Kind = "proven_bad"          // one that opened under the session's keys was: the peer itself made it
	ChallengeOverdue   Kind = "challenge_overdue"   // past its deadline: ExtendDeadline can still save it
	ChallengeTimeout   Kind = "challenge_timeout"   // past its deadline and not extended
	Rotated            Kind = "rotated"             // a session replaced a live one
	Invalidated        Kind = "invalidated"         // a session was revoked here
	HandshakeFailed    Kind = "handshake_failed"    // no answer, or a bad one
	UnknownPeer        Kind = "unknown_peer"        // a certificate that the mesh's root did not sign, or an expired one
	Replayed           Kind = "replayed"            // a sealed frame came twice past the kernel
	Relayed            Kind = "relayed"             // a good frame came through a relay
)

// Event reports a change of a session or of a peer's standing.
type Event struct {
	Kind    Kind
	Peer    Peer
	Session frame.SessionID
	Latency time.Duration
	// Priority of the attestation that was Verified; a handshake is critical.
	Priority attest.Priority
	Detail   string
}

// Info describes the session with one peer.
type Info struct {
	Peer          Peer
	Zone          string // from the peer's certificate; empty before a handshake
	ID            frame.SessionID
	Addr          netip.AddrPort
	State         State
	Established   time.Time
	Expires       time.Duration // CLOCK_MONOTONIC
	VerifiedUntil time.Duration // CLOCK_MONOTONIC
	Deadline      time.Duration // that a challenge sent now would get
	MTU           int           // of the straight path, as far as it is known: bytes of an IP packet
}

// State is the state of the session with a peer.
type State string

// The states of a session.
const (
	StateHandshaking State = "handshaking" // no usable session yet
	StateVerified    State = "verified"    // data flows
	StateUnverified  State = "unverified"  // control frames flow, data does not
	StateRevoked     State = "revoked"     // invalidated, no new one yet
)

// Config configures a Manager. Identity, Transport and Table are required.
type Config struct {
	Identity  *identity.Node
	Transport transport.Conn
	Table     Table
	// Admission is what the kernel judges first contact by; nil: it judges none.
	Admission Admission
	// Signatures yields attestation fragments from the kernel; nil takes them
	// from Transport, as in tests without a verifier.
	Signatures attest.Source
	// Now is CLOCK_MONOTONIC; nil counts from New, which is right only where
	// no kernel compares times.
	Now     func() time.Duration
	Logger  *slog.Logger
	Metrics Metrics
	Limits  Limits
	// Relays makes frames of peers without a direct way go by relay, and this
	// node one; nil: everything goes directly.
	Relays Relays
	// Pass gets each Relay message of a neighbour and what passes it on, or takes it in if it is
	// for this node; nil: that is just done. What keeps a message back, changes or repeats it
	// stands for a relay that does. The message is only valid during the call; it is called on
	// the manager's goroutines without locks held.
	Pass func(neighbour Peer, message []byte, take func(message []byte))

	// OnMessage is called with the opened payload of every sealed message but those
	// that the manager takes itself: challenges, sealed answers, path probes, relayed frames.
	// It gets malformed ones of these, too, to refuse them like all that it does not know.
	// The payload is only valid during the call.
	OnMessage func(p Peer, t frame.Type, payload []byte)
	// OnEvent is called for every event, one at a time and in order.
	// Both callbacks run on the manager's goroutines without locks held, may
	// call the Manager, and must not block.
	OnEvent func(Event)
}

// Limits are the manager's times and bounds; a zero field takes its default.
type Limits struct {
	TTL           time.Duration // life of a session, default 1 h
	Verified      time.Duration // how long a good signature counts, default 5 s
	Challenge     time.Duration // between critical challenges of a peer, default 1 s
	Reattest      time.Duration // between challenges of low priority; 0: there are none
	Overdue       time.Duration // for ExtendDeadline to come after ChallengeOverdue, default 150 ms
	Grace         time.Duration // a replaced session still receives, default 10 s
	Retransmit    time.Duration // first retransmission of a handshake message, default 250 ms
	Handshake     time.Duration // a handshake fails after this, default 8 s
	BackoffMax    time.Duration // ceiling of every exponential backoff, default 30 s
	HalfOpen      int           // handshakes answered and not finished, default 256
	CookieAfter   int           // half-open handshakes from which cookies are asked for, default 32
	Peers         int           // peers known at once, default 4096
	Workers       int           // verification workers, default one per core
	SequenceLimit uint64        // frames sealed per session and direction before a new one, default 2^27
}

// Errors of Send.
var (
	// ErrNoSession says that no session with the peer is usable now.
	ErrNoSession = errors.New("no session with this peer")
	// ErrTooLarge says that a payload exceeds MaxMessage.
	ErrTooLarge = errors.New("message too large")
)
