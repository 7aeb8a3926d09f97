package home

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/api"
)

// MaxBody is the largest state of a session in bytes.
const MaxBody = api.MaxSession

// Limits bound a table; a zero field takes its default.
type Limits struct {
	Sessions int           // in the mesh, default 4096
	Pending  int           // operations under way at this node, default 1024
	Idle     time.Duration // after which an unused session ends, default 10 min
}

// Times of the table.
const (
	// Tick is the longest time between two Ticks.
	Tick = 50 * time.Millisecond
	// OpTimeout bounds an operation; below a client's retry budget of 2 s.
	OpTimeout = 1800 * time.Millisecond
	// resend is the time after which what was not answered is sent again; it doubles
	// up to resendMax. Who does not answer in time may be busy with what it was sent.
	resend    = 100 * time.Millisecond
	resendMax = 400 * time.Millisecond
	// resendFar bounds the first wait where answers take long.
	resendFar = 600 * time.Millisecond
	// repair is the time after which a peer that lacks a state gets it again.
	repair = 500 * time.Millisecond
	// resume is how long after a peer came within reach a node waits before it
	// claims unasked: someone may be about to say who is home.
	resume = 300 * time.Millisecond
	// homecoming is how long a node that lost its memory leaves what it was home of
	// to others before it takes that up again.
	homecoming = time.Second
	// aloneAfter is how long a node looks for others before it counts itself
	// as all there are.
	aloneAfter = 3 * time.Second
	// widen is the time after which the next best candidate claims too.
	widen = 250 * time.Millisecond
	// nobodyAfter is how long nobody may be home of a session before it is claimed: longer
	// than it takes to meet who has just come. If there is somebody after all, the claim is
	// needless, but does no harm.
	nobodyAfter = 10 * time.Second
	// window is how many sessions a node claims at a time.
	window = 64
)

// View is what this node knows of the mesh, itself left out.
type View struct {
	Known   bool     // discovery has answered
	Members []string // all
	Live    []string // those that data reaches now
	// Absent are those that were not met in this node's life, or said goodbye, and with which
	// it has no session: not those that were lost, which are told by Migrate.
	Absent []string
	// RTT is how long peers take to answer, as far as that is known.
	RTT map[string]time.Duration
}

// Outgoing is a message to a peer.
type Outgoing struct {
	To      string
	Payload []byte
}

// Output is what a call brought about.
type Output struct {
	Send []Outgoing
	Done []Result
	// Migrated counts the sessions that this node took over from another.
	Migrated int
}

// entry is what this node holds of a session.
type entry struct {
	id       string
	promised Ballot
	accepted Ballot // under which the state below was held
	version  uint64 // 0: there is no state yet
	body     []byte // never changed in place
	used     time.Time
	nobody   time.Time // since when its home is lost or nobody, see lost; zero: it is there

	lead  *lead  // while this node is home
	claim *claim // while it wants to be
}

// Table is one node's part of the sessions. It is not safe for concurrent use.
type Table struct {
	self    string
	limits  Limits
	started time.Time
	leaving bool // and hands its sessions over for good
	yields  bool // as long as it does so although it stays
	settled bool // this node's word counts
	blank   bool // it never held a session

	view    View
	live    map[string]bool
	present map[string]bool // the members that there are, as far as is known
	grown   time.Time       // when a peer last came within reach
	entries map[string]*entry
	ops     map[uint64]*operation
	tickets uint64               // the last one; another life's are others
	moved   map[string]time.Time // homes that are lost, and since when
	handed  map[string]handed    // sessions to claim
	queue   []string             // ids to claim
	claims  int                  // under way

	recoveries map[string]*recovery
	handAt     time.Time
	hands      int
	expireAt   time.Time
}

// New returns an empty table of a node that starts now.
func New(now time.Time, self string, l Limits) *Table {
	if l.Sessions == 0 {
		l.Sessions = 4096
	}
	if l.Pending == 0 {
		l.Pending = 1024
	}
	if l.Idle == 0 {
		l.Idle = 10 * time.Minute
	}
	return &Table{
		self: self, limits: l, started: now, tickets: uint64(now.UnixNano()), blank: true, live: map[string]bool{}, entries: map[string]*entry{},
		ops: map[uint64]*operation{}, moved: map[string]time.Time{}, handed: map[string]handed{}, recoveries: map[string]*recovery{},
	}
}

func (o *Output) send(to string, m *message) {
	o.Send = append(o.Send, Outgoing{to, m.encode()})
}

// quorum is how many nodes are a majority.
func (t *Table) quorum() int { return (len(t.view.Members)+1)/2 + 1 }

// majority reports whether a majority is within reach, this node included.
func (t *Table) majority() bool { return len(t.live)+1 >= t.quorum() }

// SetView tells the table what the mesh looks like.
func (t *Table) SetView(now time.Time, v View) Output {
	var out Output
	live := map[string]bool{}
	for _, p := range v.Live {
		if slices.Contains(v.Members, p) {
			live[p] = true
		}
	}
	for p := range live {
		if !t.live[p] {
			t.grown = now
			delete(t.moved, p)
			delete(t.recoveries, p) // it may be another life of it
		}
	}
	t.view, t.live, t.present = v, live, map[string]bool{}
	for _, p := range v.Members {
		t.present[p] = !slices.Contains(v.Absent, p)
	}
	if !t.majority() && t.claims > 0 {
		for _, e := range t.entries {
			e.claim = nil
		}
		t.claims = 0
	}
	t.recover(now, &out)
	t.Advance(now, &out)
	return out
}

// farthest is how long the slowest of the live peers takes to answer.
func (t *Table) farthest() (longest time.Duration) {
	for p := range t.live {
		longest = max(longest, t.view.RTT[p])
	}
	return longest
}

// Advance moves on what does not wait for a message.
func (t *Table) Advance(now time.Time, out *Output) {
	for _, ticket := range slices.Sorted(maps.Keys(t.ops)) {
		if o := t.ops[ticket]; o != nil {
			t.step(now, o, out)
		}
	}
}

// Tick must be called at least every Tick.
func (t *Table) Tick(now time.Time) Output {
	var out Output
	t.recover(now, &out)
	t.enqueue(now)
	t.startClaims(now, &out)
	expire := !now.Before(t.expireAt)
	if expire {
		t.expireAt = now.Add(time.Second)
	}
	var due []string
	for id, e := range t.entries {
		if e.lead != nil || e.claim != nil || expire {
			due = append(due, id)
		}
	}
	slices.Sort(due) // the same input has the same output
	for _, id := range due {
		e := t.entries[id]
		switch {
		case expire && now.Sub(e.used) > t.limits.Idle:
			t.drop(now, e, &out)
		case e.lead != nil:
			t.retell(now, e, &out)
		case e.claim != nil:
			t.reclaim(now, e, &out)
		}
	}
	t.handOver(now, &out)
	t.Advance(now, &out)
	return out
}

// ErrMinority says that too few members are within reach to claim a session.
var ErrMinority = errors.New("only a minority of the members is within reach: sessions stay where they are")

// Migrate lets this node take over those sessions of a lost peer for which it
// is the best candidate, and asks the others to do the same with theirs.
func (t *Table) Migrate(now time.Time, peer string) (Output, error) {
	var out Output
	if !t.majority() && t.Homed(peer) > 0 {
		return out, fmt.Errorf("sessions of %s: %w", peer, ErrMinority)
	}
	t.Left(now, peer)
	if t.live[peer] {
		t.inherit(now, peer)
	}
	if t.patient(now) { // not all nodes learn of it at once, and clients wait
		t.bequeath(peer, 0, &out)
	}
	t.enqueue(now)
	t.startClaims(now, &out)
	return out, nil
}

// Left notes that a peer has left for good or for a while: what it could not
// hand over is claimed.
func (t *Table) Left(now time.Time, peer string) {
	if _, known := t.moved[peer]; !known && !t.live[peer] {
		t.moved[peer] = now
	}
}

// Homed returns the number of sessions whose home is a node, as far as this
// node knows.
func (t *Table) Homed(node string) int {
	n := 0
	for _, e := range t.entries {
		if e.version > 0 && (e.promised.Home == node || e.accepted.Home == node) {
			n++
		}
	}
	return n
}

// Homes returns the number of sessions by home. Names that are no member's are a peer's word:
// what is said to be at home there is elsewhere.
func (t *Table) Homes() map[string]int {
	homes := map[string]int{}
	for _, e := range t.entries {
		switch home := e.promised.Home; {
		case e.version == 0:
		case t.met(home):
			homes[home]++
		default:
			homes[elsewhere]++
		}
	}
	return homes
}

// elsewhere stands for all homes that this node does not know.
const elsewhere = "elsewhere"

// met reports whether a name is a member's, or that of one whose loss was noticed.
func (t *Table) met(name string) bool {
	_, lost := t.moved[name]
	return name == t.self || lost || slices.Contains(t.view.Members, name)
}

// Settled reports whether this node's word counts: it has taken in what the
// others hold.
func (t *Table) Settled() bool { return t.settled }

// find returns the entry of an id, made if need be; nil if there are too many.
func (t *Table) find(now time.Time, id string) *entry {
	e := t.entries[id]
	// Twice what clients may create: nodes do not agree on the number at all times.
	if e == nil && len(t.entries) < 2*t.limits.Sessions {
		e = &entry{id: id, used: now}
		t.entries[id] = e
	}
	return e
}

func (t *Table) drop(now time.Time, e *entry, out *Output) {
	t.depose(now, e, e.promised, out)
	delete(t.entries, e.id)
	delete(t.handed, e.id)
}

// depose notes a ballot at least as high as the promised one; whoever was home
// or about to be under another one is not any more. One that leaps is not believed, and
// one that this node claims is no news: peers that promised it tell of it.
func (t *Table) depose(now time.Time, e *entry, b Ballot, out *Output) {
	if e.leaps(b) || e.claims(b) {
		return
	}
	t.unclaim(e)
	l := e.lead
	e.promised, e.lead = b, nil
	if l != nil {
		for _, w := range l.waits {
			t.reply(now, w.from, w.ticket, answer{Code: Moved, Ballot: b}, out)
		}
	}
}

// claims reports whether this node is about to be home under a ballot.
func (e *entry) claims(b Ballot) bool { return e.claim != nil && e.claim.ballot == b }

// unclaim ends a claim.
func (t *Table) unclaim(e *entry) {
	if e.claim != nil {
		e.claim = nil
		t.claims--
	}
}

// merge takes a copy of another node in, if it is newer. It promises nothing.
func (t *Table) merge(now time.Time, e *entry, c *snapshot) {
	if e.leaps(c.Accepted) {
		return
	}
	used := now.Add(-time.Duration(c.Age) * time.Millisecond)
	if e.version == 0 || used.After(e.used) {
		e.used = used
	}
	if c.Version > 0 && (e.accepted.less(c.Accepted) || e.accepted == c.Accepted && e.version < c.Version) {
		e.accepted, e.version, e.body = c.Accepted, c.Version, c.Body
		t.blank = false
		if e.promised.less(e.accepted) {
			e.promised = e.accepted
		}
	}
}

func (t *Table) copyOf(now time.Time, e *entry) *snapshot {
	return &snapshot{
		ID: e.id, Promised: e.promised, Accepted: e.accepted, Version: e.version, Body: e.body,
		Age: min(max(now.Sub(e.used), 0), maxAge).Milliseconds(),
	}
}
