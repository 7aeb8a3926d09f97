// Package detect is the failure detector: it tells from sealed heartbeats and
// from what other peers report which peers are reachable.
//
// A Detector is a state machine without goroutines, clock or network: its
// caller feeds it messages and the time, and sends what it returns.
//
// Every Interval each peer gets a heartbeat and echoes it at once. A peer that
// was silent for the suspicion time becomes suspect, and up to Indirect other
// peers are asked whether they hear it (SWIM: Das, Gupta and Motivala, DSN
// 2002). If it stays silent for ProbeTimeout more, it is unreachable; the
// Change says whether another peer still hears it, and not its successor. The first echo makes it
// reachable again: an echo proves both directions.
//
// The suspicion time adapts to what each peer's link has shown lately:
//
//	suspicion = clamp(Safety × worst recent gap, MinSuspect, MaxSuspect)
//
// where the worst gap halves every gapHalfLife. Time during which the detector
// itself was not run (a busy machine) counts for no one's silence; this is the
// idea of Lifeguard (Dadgar, Phillips and Currey, 2017) in its simplest form. Nor does
// a pause, in which there is no session to be heard on by one end's own decision.
//
// A peer that is heard although it echoes nothing for the suspicion time and an interval
// is reachable over a link of one direction: it hears nothing. That is no alarm here,
// for it raises its own, but the link's quality is 0 until an echo comes. What was not
// echoed meanwhile says nothing of the quality that the link has then.
//
// An echo also tells what the peer's clock shows. Nothing here depends on it: it is for who
// wants to know whose clock is wrong.
//
// # Who can do what
//
// What comes here was opened under the session of the peer that it is from. An
// outsider and who is on the path can therefore only keep messages away. A
// member can say of itself what it likes: that it lives, leaves or was started
// again. Of others it can say one thing, that it hears a suspected one, and only
// if it was asked, in time, under a number that nobody can guess; that turns a
// crash into a failed link until package mapek finds that nothing comes by relay.
// An incarnation is no time and has no order: what makes one follow another is
// that it came over the session of the newer certificate (package session). So
// no clock decides who is alive, and no high number shuts out who has a lower one.
package detect

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
)

// Status is what the detector thinks of a peer.
type Status uint8

// The statuses. A peer that was never heard is Unknown and raises no alarm.
const (
	Unknown Status = iota
	Reachable
	Suspect
	Unreachable
)

var statusNames = [...]string{"unknown", "reachable", "suspect", "unreachable"}

func (s Status) String() string { return statusNames[s] }

// Config tunes a Detector. Zero fields take the default given here.
type Config struct {
	Self         string
	Incarnation  uint64        // of this process; never twice, and in no order
	Interval     time.Duration // between heartbeats; 200 ms
	MinSuspect   time.Duration // 600 ms
	MaxSuspect   time.Duration // 1 s
	ProbeTimeout time.Duration // 250 ms
	Pause        time.Duration // the longest, see Pause; 2 s
	Indirect     int           // peers asked about a suspect; 8
	// Clock is the machine's wall clock. It is shown to peers and compared with theirs, and
	// nothing else follows it; time.Now.
	Clock func() time.Time
	Rand  *rand.Rand // chooses them
}

const (
	defaultInterval     = 200 * time.Millisecond
	defaultMinSuspect   = 600 * time.Millisecond
	defaultMaxSuspect   = time.Second
	defaultProbeTimeout = 250 * time.Millisecond
	defaultPause        = 2 * time.Second
	defaultIndirect     = 8

	// safety is the factor between the worst recent gap and the suspicion time.
	safety = 1.5
	// gapHalfLife is the time in which the memory of a bad gap halves.
	gapHalfLife = 20 * time.Second
	// maxTick is the longest regular distance between two Ticks; more is a
	// stall of this node.
	maxTick = 100 * time.Millisecond
	// restartPause is how long a new incarnation stands at least: a process that
	// starts needs a certificate and a handshake first.
	restartPause = 500 * time.Millisecond
	// maxFormer is how many earlier incarnations are remembered.
	maxFormer = 4
	// rttGain is the gain of the smoothed round-trip time (RFC 6298).
	rttGain = 1.0 / 8
)

func (c *Config) defaults() {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&c.Interval, defaultInterval)
	set(&c.MinSuspect, defaultMinSuspect)
	set(&c.MaxSuspect, defaultMaxSuspect)
	set(&c.ProbeTimeout, defaultProbeTimeout)
	set(&c.Pause, defaultPause)
	if c.Indirect == 0 {
		c.Indirect = defaultIndirect
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
}

// Message is a control frame to send.
type Message struct {
	To      string
	Type    frame.Type
	Payload []byte
}

// Change is a peer's change of status.
type Change struct {
	Peer     string
	From, To Status
	Time     time.Time
	// LastHeard is when the peer was last heard before the change.
	LastHeard time.Time
	// SeenBy are the peers that heard an unreachable peer while it was suspect.
	SeenBy []string
	// Restarted says that the peer came with a new incarnation, Missed that it had
	// been unreachable by then. It may be reachable again already.
	Restarted, Missed bool
	// Left says that the peer said goodbye; To is Unknown.
	Left bool
}

// Output is what the caller must send and what it should know.
type Output struct {
	Send    []Message
	Changes []Change
}

// Link is the detector's measure of one peer.
type Link struct {
	Peer    string
	Status  Status
	RTT     time.Duration // smoothed; 0 if unknown
	Last    time.Duration // the newest sample of it
	Quality uint8         // share of heartbeats echoed lately, 0 to 255
	Left    bool          // it said goodbye, and was not heard since
	Clock   Clock         // of the newest echo
}

// Clock is what an echo says of a peer's clock.
type Clock struct {
	Shows time.Time     // what it showed when the echo came
	Error time.Duration // that may be too much or too little
	At    time.Time     // when that was; zero: there was none
}

// Detector watches peers. It is not safe for concurrent use.
type Detector struct {
	cfg      Config
	peers    map[string]*peer
	order    []string // sorted names, so that runs are reproducible
	lastTick time.Time
	relayed  []relayedProbe
}

// New returns a Detector that watches no one.
func New(cfg Config) *Detector {
	cfg.defaults()
	return &Detector{cfg: cfg, peers: make(map[string]*peer)}
}

// Add starts watching a peer; a known one is left as it is.
func (d *Detector) Add(now time.Time, name string) {
	if name == d.cfg.Self || d.peers[name] != nil {
		return
	}
	// The phase is spread so that nodes started together do not beat together.
	phase := time.Duration(d.cfg.Rand.Int64N(int64(d.cfg.Interval)))
	d.peers[name] = &peer{name: name, nextBeat: now.Add(phase), gap: d.maxGap(), gapTime: now}
	i, _ := slices.BinarySearch(d.order, name)
	d.order = slices.Insert(d.order, i, name)
}

// Remove stops watching a peer.
func (d *Detector) Remove(name string) {
	delete(d.peers, name)
	if i, ok := slices.BinarySearch(d.order, name); ok {
		d.order = slices.Delete(d.order, i, i+1)
	}
}

// Status returns the status of a peer, Unknown if it is not watched.
func (d *Detector) Status(name string) Status {
	if p := d.peers[name]; p != nil {
		return p.status
	}
	return Unknown
}

// Links returns all watched peers ordered by name.
func (d *Detector) Links() []Link {
	links := make([]Link, 0, len(d.order))
	for _, name := range d.order {
		p := d.peers[name]
		l := Link{Peer: name, Status: p.status, RTT: p.rtt, Last: p.lastRTT, Left: p.leaving, Clock: p.clock}
		if !d.deaf(p) {
			l.Quality = p.quality()
		}
		links = append(links, l)
	}
	return links
}

// Ask sends a peer a heartbeat out of turn.
func (d *Detector) Ask(now time.Time, name string) Output {
	var out Output
	if p := d.peers[name]; p != nil {
		d.beat(now, p, heartbeat{}, &out)
	}
	return out
}

// Echoed reports whether a heartbeat that was sent at a time or later came back.
func (d *Detector) Echoed(name string, since time.Time) bool {
	p := d.peers[name]
	return p != nil && !p.answered.Before(since)
}

// Goodbye returns the messages that tell every peer that this node leaves.
func (d *Detector) Goodbye() []Message {
	var out Output
	for _, name := range d.order {
		d.beat(time.Time{}, d.peers[name], heartbeat{leaving: true}, &out)
	}
	return out.Send
}

// Farewell returns the message that tells one peer the same: that it should not
// expect to hear from this node.
func (d *Detector) Farewell(name string) []Message {
	var out Output
	if p := d.peers[name]; p != nil {
		d.beat(time.Time{}, p, heartbeat{leaving: true}, &out)
	}
	return out.Send
}

// peer is the state of one watched peer.
type peer struct {
	name        string
	status      Status
	incarnation uint64
	former      []uint64  // earlier incarnations: what was late is not another restart
	restarted   time.Time // when the present one was first heard
	missed      bool      // it was lost, and has sent no heartbeat since
	leaving     bool      // it said goodbye, and has sent no heartbeat since
	lastHeard   time.Time
	lastEcho    time.Time // when a heartbeat last came back; moved like lastHeard
	suspectAt   time.Time
	nextBeat    time.Time
	probeID     uint64
	asked       []string // who was asked about it
	seenBy      []string
	paused      time.Time // until then its silence says nothing

	gap     time.Duration // worst recent gap as of gapTime
	gapTime time.Time
	rtt     time.Duration
	lastRTT time.Duration
	clock   Clock
	// answered is when the newest heartbeat that came back was sent.
	answered time.Time

	seq   uint64 // of the last heartbeat sent
	since uint64 // last heartbeat of before the peer was lost or met
	// sent is when the last window heartbeats went out, indexed by seq; echoed
	// marks the answered ones, void those that say nothing of the link's quality.
	sent         [window]time.Time
	echoed, void [window]bool
}

// window is the number of heartbeats that a link's quality looks back on.
const window = 32

// quality is the share of the window's heartbeats since the peer was met that
// were echoed, scaled to 255. The last two are left out: their echoes may still
// be under way.
func (p *peer) quality() uint8 {
	const underWay = 2
	var sent, echoed int
	for i := uint64(underWay); i < window && p.since+i < p.seq; i++ {
		if p.void[(p.seq-i)%window] {
			continue
		}
		sent++
		if p.echoed[(p.seq-i)%window] {
			echoed++
		}
	}
	if sent == 0 {
		if p.status == Reachable {
			return math.MaxUint8
		}
		return 0
	}
	return uint8(math.MaxUint8 * echoed / sent)
}

// worstGap is the decayed worst gap.
func (p *peer) worstGap(now time.Time) time.Duration {
	age := now.Sub(p.gapTime)
	return time.Duration(float64(p.gap) * math.Exp2(-float64(age)/float64(gapHalfLife)))
}

// maxGap is the gap that makes the suspicion time MaxSuspect: a longer one is
// remembered as this, and a new peer starts with it.
func (d *Detector) maxGap() time.Duration {
	return time.Duration(float64(d.cfg.MaxSuspect) / safety)
}

// deaf reports whether p is heard and hears nothing, as of when it was last heard: when
// both directions fall silent, neither is known to be the one that is cut.
func (d *Detector) deaf(p *peer) bool {
	return p.status == Reachable && p.lastHeard.Sub(p.lastEcho) >= d.suspicion(p.lastHeard, p)+d.cfg.Interval
}

// suspicion is the silence after which p becomes suspect.
func (d *Detector) suspicion(now time.Time, p *peer) time.Duration {
	s := time.Duration(safety * float64(p.worstGap(now)))
	return min(max(s, d.cfg.MinSuspect), d.cfg.MaxSuspect)
}
