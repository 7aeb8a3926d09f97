package session

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/attest"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
)

// Manager keeps the sessions of one node with all its peers. Its methods may be
// called concurrently and do not block.
type Manager struct {
	cfg  Config
	self Peer
	pool *attest.Pool
	log  *slog.Logger
	wake chan struct{} // a token when the schedule may have changed

	shedding atomic.Bool
	sheds    atomic.Uint64
	crashed  atomic.Int64 // ktime of the last panic that was logged

	mu                sync.RWMutex
	rand              *rand.Rand
	peers             map[Peer]*peer
	sessions          map[frame.SessionID]*session // every session in the kernel's table
	halfOpen          map[messageID]*halfOpen      // by the id of the init message
	unfinished        map[messageID]*halfOpen      // by that of the reply, once there is one
	gaveWay           []time.Duration              // until when half-open handshakes that gave way would have lasted, oldest first
	outgoing          map[messageID]*peer          // by the id of the init message, of own handshakes
	blocked           map[Peer]time.Duration
	handshakes        transport.Reassembler[contact, handshakeKey]
	relayedHandshakes transport.Reassembler[contact, handshakeKey]
	answers           transport.Reassembler[frame.SessionID, uint64]
	cookies           cookies
	secretsKnown      bool                // to the kernel
	acquainted        map[netip.Addr]bool // the peers' addresses that the kernel knows
	acquaint          time.Duration       // when to look at them again

	relaying relayLimit
	events   events
}

// handshakeKey names a handshake message of one source address, or of all
// nodes whose frames come by relay.
type handshakeKey struct {
	port  uint16
	node  Peer // by relay
	kind  frame.Type
	id    messageID
	token messageID
}

// peer is what the manager knows of one other node.
type peer struct {
	name      Peer
	addr      netip.AddrPort // where frames go
	connect   netip.AddrPort // what Connect last said
	wanted    bool           // handshakes are started from here
	suspended bool
	current   *session
	previous  []*session
	out       *initiation
	next      time.Duration // no own handshake before
	failures  int           // own handshakes in a row that failed
	estimator estimator
	allowance time.Duration // what its challenges get on top; set by Allow
	newest    time.Time     // NotBefore of the newest certificate that the name has proven
	route     route         // the straight path to addr

	direct atomic.Int64           // when a sealed frame last came straight from it
	back   atomic.Pointer[detour] // where one last came from by relay
}

// detour is the neighbour that a peer's last relayed frame came through, when it
// came, and since when they come by relay.
type detour struct {
	neighbour Peer
	since, at time.Duration
}

// The bounds of handshake messages in reassembly.
const (
	handshakeMessages  = 512
	handshakePerSource = 8
	handshakeAge       = 10 * time.Second
	answerMessages     = 4096
	answerPerSession   = 4
	answerAge          = 5 * time.Second
)

// New returns a manager; nothing happens before Run.
func New(cfg Config) (*Manager, error) {
	if cfg.Identity == nil || cfg.Transport == nil || cfg.Table == nil {
		return nil, errors.New("session manager: Identity, Transport and Table are required")
	}
	if cfg.Now == nil {
		start := time.Now().Add(-time.Second) // ktime 0 means never
		cfg.Now = func() time.Duration { return time.Since(start) }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = noMetrics{}
	}
	if cfg.Admission == nil {
		cfg.Admission = NoAdmission{}
	}
	if cfg.Pass == nil {
		cfg.Pass = func(_ Peer, message []byte, take func([]byte)) { take(message) }
	}
	cfg.Limits.setDefaults()
	m := &Manager{
		cfg:        cfg,
		self:       Peer(cfg.Identity.Name()),
		pool:       attest.NewPool(cfg.Limits.Workers),
		log:        cfg.Logger,
		wake:       make(chan struct{}, 1),
		rand:       rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		peers:      make(map[Peer]*peer),
		sessions:   make(map[frame.SessionID]*session),
		halfOpen:   make(map[messageID]*halfOpen),
		unfinished: make(map[messageID]*halfOpen),
		outgoing:   make(map[messageID]*peer),
		blocked:    make(map[Peer]time.Duration),
		events:     events{wake: make(chan struct{}, 1)},
	}
	for r, messages := range map[*transport.Reassembler[contact, handshakeKey]]int{
		&m.handshakes: handshakeMessages, &m.relayedHandshakes: handshakeMessages / relayedShare,
	} {
		r.Messages, r.PerSource, r.Age = messages, handshakePerSource, handshakeAge
	}
	m.answers.Messages, m.answers.PerSource, m.answers.Age = answerMessages, answerPerSession, answerAge
	m.admission(cfg.Now())
	return m, nil
}

// Run works until ctx ends, which is no error, or the transport fails. It
// closes the transport and deletes its sessions from the table.
func (m *Manager) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	wg.Go(func() { m.pool.Run(ctx) })
	wg.Go(func() { m.deliverEvents(ctx) })
	wg.Go(func() { m.keepSchedule(ctx) })
	wg.Go(func() { cancel(m.receive()) })
	if m.cfg.Signatures != nil {
		wg.Go(func() { cancel(m.readSignatures(ctx)) })
	}
	<-ctx.Done()
	err := context.Cause(ctx)
	if cerr := m.cfg.Transport.Close(); cerr != nil {
		m.log.Warn("closing the mesh socket", "error", cerr)
	}
	wg.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	for id := range m.sessions {
		m.drop(id)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// Connect makes the manager keep a session with p at addr. It is idempotent;
// when addr differs from that of the last call, frames go there from now on.
func (m *Manager) Connect(p Peer, addr netip.AddrPort) {
	addr = transport.Unmap(addr)
	m.mu.Lock()
	defer m.mu.Unlock()
	if p == m.self || !addr.IsValid() {
		return
	}
	e := m.peer(p)
	if e == nil {
		m.log.Warn("peer not taken up: too many", "peer", p, "limit", m.cfg.Limits.Peers)
		return
	}
	if !e.wanted {
		e.wanted = true
		// The side with the lesser name calls; the other waits a moment for
		// the call, so that simultaneous opens are rare.
		if m.self > p {
			e.next = max(e.next, m.cfg.Now()+2*m.cfg.Limits.Retransmit)
		}
	}
	if addr == e.connect {
		return
	}
	e.connect = addr
	e.move(addr)
	m.acquaint = 0
	e.failures = 0
	if e.out != nil && e.out.pending == nil {
		e.out.addr = addr
		m.expect(e.out.id, addr)
		m.transmit(e.out)
	}
	m.poke()
}

// Forget drops p: its sessions, and the wish for one.
func (m *Manager) Forget(p Peer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.peers[p]
	if e == nil {
		return
	}
	m.abandon(e)
	for _, s := range e.all() {
		m.drop(s.id)
	}
	delete(m.peers, p)
}

// Sessions describes every known peer, in no particular order.
func (m *Manager) Sessions() []Info {
	m.mu.RLock()
	defer m.mu.RUnlock()
	now := m.cfg.Now()
	infos := make([]Info, 0, len(m.peers))
	for _, p := range m.peers {
		i := Info{Peer: p.name, Addr: p.addr, State: StateHandshaking, Deadline: p.deadline(), MTU: p.route.largest() + transport.Overhead(p.addr.Addr())}
		if s := p.current; s != nil {
			i.ID, i.Zone, i.Established, i.Expires = s.id, s.certificate.Zone, s.established, s.expires
			i.VerifiedUntil = time.Duration(s.verifiedUntil.Load())
			switch {
			case s.revoked.Load():
				i.State = StateRevoked
			case s.verified(now) && !s.doubted:
				i.State = StateVerified
			case s.live(now):
				i.State = StateUnverified
			}
		}
		infos = append(infos, i)
	}
	return infos
}
