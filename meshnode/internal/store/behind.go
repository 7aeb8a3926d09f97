package store

import (
	"errors"
	"slices"
	"time"
)

// ErrBehind says that a record is not here, but that this node has just started
// and has not taken in what the others hold.
var ErrBehind = errors.New("no such record yet: the node has just started and is taking in what others hold")

const (
	// aloneAfter is how long a node without a reachable peer waits for one before what
	// it holds counts as all there is.
	aloneAfter = 3 * time.Second
	// quietAfter is how long nothing new may have come when one peer's word is enough. A
	// member that hands over something new all the time puts that off up to heardOut.
	quietAfter = 10 * time.Second
	heardOut   = 30 * time.Second
)

// behind is what a node that has just started knows of how much it lacks.
type behind struct {
	started time.Time
	came    time.Time         // the last record that was new
	level   map[string]bool   // by peer: of the summary under way all is here so far
	through map[string]string // by peer: how far that one is
	whole   map[string]bool   // by peer: of its last whole summary all was here
}

func newBehind() behind {
	return behind{level: map[string]bool{}, through: map[string]string{}, whole: map[string]bool{}}
}

func (b *behind) start(now time.Time) { b.started, b.came = now, now }

func (b *behind) progressed(now time.Time) { b.came = now }

// Get reads a record. While the node has not caught up with the others since its
// start, what is not there is ErrBehind instead of ErrNotFound.
func (r *Replicator) Get(id string) (Record, error) {
	caughtUp := r.caughtUp.Load() // before it looks: what it took in then is there
	rec, err := r.store.Get(id)
	if errors.Is(err, ErrNotFound) && !caughtUp {
		return rec, ErrBehind
	}
	return rec, err
}

// question is what a vector asks of a peer: its own if it has more, and until
// the node has caught up in any case.
func (r *Replicator) question() byte {
	flags := byte(flagReply)
	if !r.caughtUp.Load() {
		flags |= flagEcho
	}
	return flags
}

// toAsk returns with whom of some peers this store is to be compared: until the node has caught
// up, those of whom it is not known that they hold no more.
func (r *Replicator) toAsk(peers []string) []string {
	if r.caughtUp.Load() {
		return peers
	}
	rest := slices.DeleteFunc(slices.Clone(peers), func(p string) bool { return r.behind.whole[p] })
	if len(rest) == 0 {
		return peers
	}
	return rest
}

// compare takes in whether what a peer holds is missing here, part by part.
func (r *Replicator) compare(now time.Time, peer string, s *summary, lacks bool) {
	if r.caughtUp.Load() {
		return
	}
	b := &r.behind
	switch {
	case lacks, s.After != "" && s.After != b.through[peer]: // a part of it was lost
		b.level[peer] = false
	case s.After == "":
		b.level[peer] = true
	}
	b.through[peer] = s.Through
	if s.Through == "" {
		b.whole[peer] = b.level[peer]
		r.judge(now, r.peers.Reachable())
	}
}

// judge decides whether the node has caught up: when nothing is missing of what most peers within
// reach hold, for one may keep to itself what it has. Where not so many say what they hold, one
// is enough after a while.
func (r *Replicator) judge(now time.Time, peers []string) {
	n, b := 0, &r.behind
	for _, p := range peers {
		if b.whole[p] {
			n++
		}
	}
	waited := now.Sub(b.came) >= quietAfter || now.Sub(b.started) >= heardOut
	looked := now.Sub(b.started) >= aloneAfter // before that who called first may be all that are known
	alone := len(peers) == 0 && looked
	if 2*n > len(peers) && (n > 1 || looked) || n > 0 && waited || alone {
		r.caughtUp.Store(true)
	}
}
