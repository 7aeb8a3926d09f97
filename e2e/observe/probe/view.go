// Package probe is the suite's outside view of the network between mesh pods.
//
// It puts a small UDP prober (package echo) into each pod as an ephemeral
// container, follows what the probers say in their logs, and answers: which
// pairs of pods reach each other, and when did that change. It shares the
// network with the mesh and nothing else, so it can prove a fault without
// believing the node or Chaos Mesh.
//
// Each pod's own prober dates what happens to that pod, so a node's journal
// and the times it is measured against come from the same clock.
package probe

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/observe/probe/echo"
)

// staleAfter is how long a prober may be silent before its view counts for
// nothing.
const staleAfter = 5 * echo.StateEvery

// Pair is two pods, in order of name.
type Pair struct{ A, B string }

// NewPair returns the pair of two pods.
func NewPair(a, b string) Pair {
	if b < a {
		a, b = b, a
	}
	return Pair{a, b}
}

func (p Pair) String() string { return p.A + "–" + p.B }

// All returns every pair of the pods, sorted.
func All(pods []string) []Pair { return Between(pods, pods) }

// Between returns every pair of a pod of one side and another of the other.
func Between(source, target []string) []Pair {
	var pairs []Pair
	for _, s := range source {
		for _, t := range target {
			if s != t {
				pairs = append(pairs, NewPair(s, t))
			}
		}
	}
	return sorted(pairs)
}

func sorted(pairs []Pair) []Pair {
	slices.SortFunc(pairs, func(x, y Pair) int {
		return strings.Compare(x.A+"\x00"+x.B, y.A+"\x00"+y.B)
	})
	return slices.Compact(pairs)
}

// Without returns the pairs of all that are not among those taken away.
func Without(all, taken []Pair) []Pair {
	var rest []Pair
	for _, p := range all {
		if !slices.Contains(taken, p) {
			rest = append(rest, p)
		}
	}
	return rest
}

// PeersOf returns the other ends of the pairs that a pod belongs to.
func PeersOf(pod string, pairs []Pair) []string {
	var peers []string
	for _, p := range pairs {
		switch pod {
		case p.A:
			peers = append(peers, p.B)
		case p.B:
			peers = append(peers, p.A)
		}
	}
	return peers
}

// View is what the probers have said so far. Its methods may be called from
// several goroutines.
type View struct {
	mu   sync.Mutex
	pods map[string]*podView
	now  func() time.Time
}

type podView struct {
	seq   uint64    // of the last line
	heard time.Time // when it was read, by the suite's clock
	peers map[string]*peerView
}

// peerView is one pod's view of another: whether it is up and every change.
type peerView struct {
	known, up bool
	rtt       time.Duration
	heard     time.Duration // age of the peer's last request at the last state; negative: none came
	changes   []echo.Line
}

// NewView returns a View of the pods, of which nothing is known yet.
func NewView(pods []string) *View {
	v := &View{pods: map[string]*podView{}, now: time.Now}
	for _, p := range pods {
		v.pods[p] = &podView{peers: map[string]*peerView{}}
	}
	return v
}

// Apply takes one line. Lines that were taken before are ignored, so a log can
// be read again from its beginning.
func (v *View) Apply(l echo.Line) {
	v.mu.Lock()
	defer v.mu.Unlock()
	p := v.pods[l.Pod]
	if p == nil || l.Seq <= p.seq {
		return
	}
	p.seq, p.heard = l.Seq, v.now()
	switch l.Kind {
	case echo.Change:
		peer := p.peer(l.Peer)
		peer.known, peer.up = true, l.Up
		peer.changes = append(peer.changes, l)
	case echo.State:
		for _, s := range l.Peers {
			peer := p.peer(s.Peer)
			peer.rtt, peer.heard = s.RTT, l.Time.Sub(s.Heard)
			if s.Heard.IsZero() {
				peer.heard = -1
			}
		}
	}
}

func (p *podView) peer(name string) *peerView {
	v := p.peers[name]
	if v == nil {
		v = &peerView{}
		p.peers[name] = v
	}
	return v
}

// Proof checks from both ends that every pair of cut is cut and every pair of
// open is not. The error names the pairs for which that does not hold.
func (v *View) Proof(cut, open []Pair) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.stale(); err != nil {
		return err
	}
	var errs []error
	check := func(pairs []Pair, up bool, complaint string) {
		var wrong []string
		for _, pair := range pairs {
			for _, end := range [][2]string{{pair.A, pair.B}, {pair.B, pair.A}} {
				pod := v.pods[end[0]]
				if pod == nil || pod.peers[end[1]] == nil || !pod.peers[end[1]].known || pod.peers[end[1]].up != up {
					wrong = append(wrong, end[0]+"→"+end[1])
				}
			}
		}
		if len(wrong) > 0 {
			errs = append(errs, fmt.Errorf("%s: %s", complaint, strings.Join(wrong, ", ")))
		}
	}
	check(cut, false, "should be cut but are not")
	check(open, true, "should be open but are not")
	return errors.Join(errs...)
}

// Way is one direction between two pods: what one sends the other.
type Way struct{ From, To string }

// Pairs returns the pairs that ways connect, sorted.
func Pairs(ways []Way) []Pair {
	var pairs []Pair
	for _, w := range ways {
		pairs = append(pairs, NewPair(w.From, w.To))
	}
	return sorted(pairs)
}

// Ways checks at the receiving end of every way between two pods whether anything gets
// through: nothing where it is cut, something everywhere else. The error names the ways
// for which that does not hold.
func (v *View) Ways(cut []Way) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.stale(); err != nil {
		return err
	}
	var wrong []string
	for _, to := range slices.Sorted(maps.Keys(v.pods)) {
		for _, from := range slices.Sorted(maps.Keys(v.pods)) {
			if from == to {
				continue
			}
			p := v.find(to, from)
			through := p != nil && p.heard >= 0 && p.heard < echo.Silence
			switch isCut := slices.Contains(cut, Way{from, to}); {
			case isCut && through:
				wrong = append(wrong, from+"→"+to+" should be cut and is not")
			case !isCut && !through:
				wrong = append(wrong, from+"→"+to+" should be open and is not")
			}
		}
	}
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, ", "))
	}
	return nil
}

// RoundTrips checks from both ends that the last round trip of every pair took
// at least least and at most most. The error names the pairs for which that does
// not hold.
func (v *View) RoundTrips(pairs []Pair, least, most time.Duration) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.stale(); err != nil {
		return err
	}
	var wrong []string
	for _, pair := range pairs {
		for _, end := range [][2]string{{pair.A, pair.B}, {pair.B, pair.A}} {
			p := v.find(end[0], end[1])
			switch {
			case p == nil || p.rtt == 0:
				wrong = append(wrong, end[0]+"→"+end[1]+" unknown")
			case p.rtt < least || p.rtt > most:
				wrong = append(wrong, fmt.Sprintf("%s→%s %v", end[0], end[1], p.rtt.Round(time.Millisecond)))
			}
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("round trips should take %v to %v: %s", least, most, strings.Join(wrong, ", "))
	}
	return nil
}

// stale names the probers that have fallen silent.
func (v *View) stale() error {
	var errs []error
	for name, p := range v.pods {
		if age := v.now().Sub(p.heard); age > staleAfter {
			errs = append(errs, fmt.Errorf("the prober of %s has said nothing for %v", name, age.Round(time.Second)))
		}
	}
	return errors.Join(errs...)
}

// Lost returns when a peer was first lost after a time by any of the pods, by
// its own prober.
func (v *View) Lost(peer string, pods []string, after time.Time) (time.Time, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var first time.Time
	for _, pod := range pods {
		p := v.find(pod, peer)
		if p == nil {
			continue
		}
		for _, c := range p.changes {
			if !c.Up && c.At.After(after) && (first.IsZero() || c.At.Before(first)) {
				first = c.At
			}
		}
	}
	if first.IsZero() {
		return first, fmt.Errorf("nobody has lost %s", peer)
	}
	return first, nil
}

// Losses returns when a pod lost each of its peers that are down now, sorted.
// A peer that is up is an error.
func (v *View) Losses(pod string, peers []string) ([]time.Time, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var times []time.Time
	for _, name := range peers {
		p := v.find(pod, name)
		if p == nil || p.up || len(p.changes) == 0 {
			return nil, fmt.Errorf("%s has not lost %s", pod, name)
		}
		times = append(times, p.changes[len(p.changes)-1].At)
	}
	slices.SortFunc(times, time.Time.Compare)
	return times, nil
}

// LostAt returns when a pod lost a peer that it did not reach at a time.
func (v *View) LostAt(pod, peer string, by time.Time) (time.Time, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var last echo.Line
	if p := v.find(pod, peer); p != nil {
		for _, c := range p.changes {
			if !c.At.After(by) {
				last = c
			}
		}
	}
	if last.Up || last.At.IsZero() {
		return time.Time{}, fmt.Errorf("%s had not lost %s by %s", pod, peer, by.Format(time.RFC3339Nano))
	}
	return last.At, nil
}

// Healed returns when a pod first reached a peer again after a time.
func (v *View) Healed(pod, peer string, after time.Time) (time.Time, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if p := v.find(pod, peer); p != nil {
		for _, c := range p.changes {
			if c.Up && c.At.After(after) {
				return c.At, nil
			}
		}
	}
	return time.Time{}, fmt.Errorf("%s has not reached %s again", pod, peer)
}

func (v *View) find(pod, peer string) *peerView {
	if p := v.pods[pod]; p != nil {
		return p.peers[peer]
	}
	return nil
}
