package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/internal/attest"
	"github.com/x0tta6bl4/mesh/meshnode/internal/detect"
	"github.com/x0tta6bl4/mesh/meshnode/internal/home"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
	"github.com/x0tta6bl4/mesh/meshnode/internal/journal"
	"github.com/x0tta6bl4/mesh/meshnode/internal/mapek"
	"github.com/x0tta6bl4/mesh/meshnode/internal/resource"
	"github.com/x0tta6bl4/mesh/meshnode/internal/route"
	"github.com/x0tta6bl4/mesh/meshnode/internal/session"
	"github.com/x0tta6bl4/mesh/meshnode/internal/store"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// Gate is the packet filter in front of the node: the eBPF verifier.
type Gate interface {
	session.Table
	session.Admission
	// Healthy returns nil while the gate judges every packet.
	Healthy() error
	// Reattach puts a lost gate back.
	Reattach() error
	// Mode says how it is attached.
	Mode() string
	// Counters returns the packets seen, by verdict (metric.Verdicts()).
	Counters() (map[string]uint64, error)
	// Malformed returns the malformed ones, by the rule that they break (metric.Rules()).
	Malformed() (map[string]uint64, error)
}

// Reports yields the verdicts of packets that the gate dropped, as far as it
// reports them.
type Reports interface {
	ReadVerdict(ctx context.Context) (string, error)
}

// Config is what a node works with. All fields but Signatures, Reports, Group, Now,
// Limits, Quota, Clock and Disk are required.
type Config struct {
	Identity   *identity.Node
	Transport  transport.Conn
	Gate       Gate
	Signatures attest.Source   // nil: over Transport
	Reports    Reports         // nil: none
	Group      *resource.Group // nil: CPU and memory are not watched
	Now        func() time.Duration
	Dir        string // of store and journal; must exist
	Discover   Discoverer
	Policy     *mapek.Policy
	Heal       bool // MAPE-K's Plan and Execute
	Registry   prometheus.Registerer
	Logger     *slog.Logger
	Version    string
	Limits     session.Limits
	Quota      int64 // of the store in bytes; 0: none
	// Clock is the machine's clock, which peers are shown, and records and journal as long as
	// it is right, and nothing else follows; nil: time.Now.
	Clock func() time.Time
	// Disk runs each commit of the store; nil: it is just run. What delays one or makes it
	// fail stands for a disk that does.
	Disk func(commit func() error) error
}

// Node is one node of the mesh.
type Node struct {
	cfg     Config
	name    string
	started time.Time
	metrics *metric.Set
	log     *slog.Logger

	sessions *session.Manager
	journal  *journal.Journal
	store    *store.Store
	records  *store.Replicator
	clients  *home.Keeper
	keep     chan []byte // knowledge to save; the newest replaces what waits

	carry     func(p session.Peer, t frame.Type, payload []byte) error // sessions.Send
	hear      func(p session.Peer, t frame.Type, payload []byte)       // onMessage
	pass      func(p session.Peer, message []byte, take func([]byte))  // just take
	refusals  refusals
	in        inputs
	leaving   atomic.Bool
	reachable atomic.Pointer[[]string]
	met       atomic.Int64 // of the reachable, those that were heard
	relays    relays
	gate      atomic.Pointer[string] // why the gate is not healthy; nil if it is
	anchor    atomic.Pointer[anchor] // of the mesh's time; nil: the machine's clock is right

	mu      sync.Mutex // guards what follows; held by the control goroutine while it works
	detect  *detect.Detector
	routes  *route.Table
	loop    *mapek.Loop
	listed  []string // what discovery last answered, this node not; nil before it did
	members map[string]*member
	signals []mapek.Signal
	// rerouted says that routes have changed since they were published,
	// announced what of them is still to be told to neighbours; detours are the
	// lost peers that the loop wants another way to.
	rerouted  bool
	announced []route.Message
	detours   map[string]bool
	silent    map[string]*silence        // lost peers
	doubts    map[string]time.Time       // peers with an overdue challenge that were asked for an echo: when
	slow      map[string]bool            // links that routes are to avoid; set by the loop
	patient   map[string]bool            // peers whose challenges get more time; likewise
	proof     map[string]time.Time       // last good attestation
	applied   map[string]frame.SessionID // session id when an action on it started

	overload overload
	health   health
	storage  storage
	clocks   clocks
}

// New opens the store and the journal and prepares a node; Run starts it.
func New(cfg Config) (*Node, error) {
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	n := &Node{
		cfg: cfg, name: cfg.Identity.Name(), started: time.Now(), log: cfg.Logger,
		metrics: metric.New(cfg.Registry), keep: make(chan []byte, 1), in: newInputs(),
		members: map[string]*member{}, proof: map[string]time.Time{}, slow: map[string]bool{}, patient: map[string]bool{}, applied: map[string]frame.SessionID{},
	}
	n.clocks.wrong, n.health.unmet = map[string]*suspicion{}, map[string]latch{}
	n.detours, n.silent, n.doubts = map[string]bool{}, map[string]*silence{}, map[string]time.Time{}
	n.relays.n = n
	n.relays.next.Store(&map[session.Peer]session.Peer{})
	n.reachable.Store(&[]string{})
	n.detect = detect.New(detect.Config{Self: n.name, Incarnation: rand.Uint64() | 1, Pause: pauseFor(cfg.Policy), Clock: cfg.Clock})
	n.routes = route.New(n.name, voucher{cfg.Identity})
	if err := n.open(); err != nil {
		return nil, err
	}
	var err error
	n.sessions, err = session.New(session.Config{
		Identity: cfg.Identity, Transport: cfg.Transport, Table: cfg.Gate, Admission: cfg.Gate, Signatures: cfg.Signatures,
		Now: cfg.Now, Logger: cfg.Logger, Metrics: sessionMetrics{n.metrics}, Limits: cfg.Limits,
		OnMessage: func(p session.Peer, t frame.Type, payload []byte) { n.hear(p, t, payload) }, OnEvent: n.onEvent, Relays: &n.relays,
		Pass: func(p session.Peer, message []byte, take func([]byte)) { n.pass(p, message, take) },
	})
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	n.carry, n.hear = n.sessions.Send, n.onMessage
	n.pass = func(_ session.Peer, message []byte, take func([]byte)) { take(message) }
	if err := n.blockAgain(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	if cfg.Group != nil {
		n.overload.meter = resource.NewMeter(cfg.Group)
	}
	return n, nil
}

func (n *Node) open() error {
	var err error
	if n.store, err = store.Open(n.cfg.Dir, n.name, notary{n.cfg.Identity}, n.clock); err != nil {
		return err
	}
	n.store.Watch(n.countCommit)
	if n.cfg.Disk != nil {
		n.store.Through(n.cfg.Disk)
	}
	if n.journal, err = journal.Open(n.cfg.Dir, n.name, n.clock, n.log); err != nil {
		return errors.Join(err, n.store.Close())
	}
	saved, err := n.store.Knowledge()
	var knowledge *mapek.Knowledge
	if err == nil {
		knowledge, err = mapek.LoadKnowledge(saved)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("knowledge in the store: %w", err), n.Close())
	}
	knowledge.Recall(time.Now(), n.cfg.Policy)
	n.loop = mapek.NewLoop(mapek.Config{
		Policy: n.cfg.Policy, Knowledge: knowledge, Effector: effector{n}, Metrics: n.metrics, Heal: n.cfg.Heal,
		Prefix:  fmt.Sprintf("%s-%d", n.name, n.started.Unix()),
		Journal: n.journal.Append, Keep: n.remember, Clock: time.Now, Routes: n.routesOver,
	})
	n.store.SetQuota(n.cfg.Quota)
	n.metrics.StoreQuota.Set(float64(n.cfg.Quota))
	n.records = store.NewReplicator(n.store, mesh{n}, n.replicated, n.log)
	n.metrics.Records.Set(float64(n.store.Len()))
	n.clients = home.NewKeeper(n.name, home.Limits{}, func(peer string, b []byte) error { return mesh{n}.Send(peer, frame.Client, b) },
		func(count int) { n.metrics.SessionsMigrated.Add(float64(count)) },
		func(peer string, err error) { n.refuse(peer, metric.MessageClient, err) }, n.log)
	return nil
}

// Close releases the store and the journal of a node that does not run.
func (n *Node) Close() error { return errors.Join(n.journal.Close(), n.store.Close()) }

// Run works until ctx ends, which is no error, or the transport fails. Before
// it leaves, it tells the peers. It closes the store and the journal.
func (n *Node) Run(ctx context.Context) error {
	// What carries the goodbye must outlive what says it.
	base, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	var carriers, users sync.WaitGroup
	carriers.Go(func() { cancel(n.sessions.Run(base)) })
	stop, cancelUsers := context.WithCancel(ctx)
	users.Go(func() { n.control(stop) })
	users.Go(func() { n.records.Run(stop) })
	users.Go(func() { n.clients.Run(stop) })
	users.Go(func() { n.saveKnowledge(stop) })
	users.Go(func() { n.journal.Run(stop) })
	users.Go(func() { n.tendStore(stop) })
	users.Go(func() { n.discover(stop) })
	if n.cfg.Reports != nil {
		users.Go(func() { n.countReports(stop) })
	}
	select {
	case <-ctx.Done():
	case <-base.Done():
	}
	cancelUsers()
	users.Wait()
	cancel(nil)
	carriers.Wait()
	err := context.Cause(base)
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, n.Close())
}

// remember hands knowledge to the goroutine that writes it to disk.
func (n *Node) remember(k *mapek.Knowledge) {
	b, err := k.Encode()
	if err != nil {
		n.log.Error("knowledge cannot be encoded", "error", err)
		return
	}
	select {
	case <-n.keep:
	default:
	}
	n.keep <- b // the control goroutine is the only sender
}

func (n *Node) saveKnowledge(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case b := <-n.keep:
			if err := n.store.SaveKnowledge(b); err != nil {
				n.log.Error("knowledge not saved", "error", err)
			}
		}
	}
}

func (n *Node) replicated(count int) {
	n.metrics.RecordsReplicated.Add(float64(count))
	n.metrics.Records.Set(float64(n.store.Len()))
}

// mesh is the store's way to other nodes.
type mesh struct{ n *Node }

// Send implements store.Peers. Without a healthy gate no data leaves.
func (m mesh) Send(peer string, t frame.Type, payload []byte) error {
	if why := m.n.gate.Load(); why != nil {
		return errors.New(*why)
	}
	return m.n.carry(session.Peer(peer), t, payload)
}

// Refused implements store.Peers.
func (m mesh) Refused(peer string, err error) {
	kind := metric.MessageData
	if errors.Is(err, store.ErrForged) || errors.Is(err, store.ErrTwice) || errors.Is(err, store.ErrUnknownRoot) {
		kind = metric.MessageRecord
	}
	m.n.refuse(peer, kind, err)
}

// Reachable implements store.Peers.
func (m mesh) Reachable() []string { return *m.n.reachable.Load() }

func (n *Node) record(kind, peer string) {
	n.journal.Append(event.Entry{Phase: event.Monitor, Kind: kind, Subject: peer})
}

// countReports counts the drops that are anomalies.
func (n *Node) countReports(ctx context.Context) {
	for {
		verdict, err := n.cfg.Reports.ReadVerdict(ctx)
		if err != nil {
			if ctx.Err() == nil {
				n.log.Error("drop reports are not read any more", "error", err)
			}
			return
		}
		switch verdict {
		case "replay":
			n.metrics.Anomalies.WithLabelValues(metric.ReplayAttack).Inc()
		case "expired":
			n.metrics.Anomalies.WithLabelValues(metric.SessionExpired).Inc()
		}
	}
}
