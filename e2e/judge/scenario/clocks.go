package scenario

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
)

// The clocks by which a run is dated, besides this machine's: a node's, by the node's name, dates its journal and,
// as one machine has both, what the prober in its pod tells; these date the rest.
const (
	ClockOfClients    = "the clients"
	ClockOfPrometheus = "Prometheus"
)

const (
	// maxSkew is how far two clocks may lie apart before their times can be compared no more.
	maxSkew = 50 * time.Millisecond
	// windowSkew is how far the clock of a node may lie from this machine's before its entries cannot be told by a
	// fault's window: nothing that is judged comes so soon after one opens, and it has a tail.
	windowSkew = 500 * time.Millisecond
)

// clocks is how far clocks may be from this machine's.
type clocks struct {
	ask func(ctx context.Context, name string) (time.Duration, error) // nil: of a finished run

	mu    sync.Mutex
	off   map[string]time.Duration // as was found last
	asked map[string]time.Time     // when that was
}

// clock asks one clock how far it may be off.
func (r *Run) clock(ctx context.Context, name string) (time.Duration, error) {
	switch name {
	case ClockOfClients:
		return r.Mesh.ClientSkew(ctx)
	case ClockOfPrometheus:
		return r.Prom.Skew(ctx)
	}
	return r.Mesh.Skew(ctx, name)
}

// of returns how far clocks may be off, by name. One that has not been asked since a time is. In a finished run one
// that nobody asked is taken for right.
func (c *clocks) of(ctx context.Context, names []string, since time.Time) (map[string]time.Duration, error) {
	off := map[string]time.Duration{}
	for _, n := range names {
		d, at := c.known(n)
		if c.ask != nil && !at.After(since) {
			at = time.Now()
			var err error
			if d, err = Read(ctx, func(ctx context.Context) (time.Duration, error) { return c.ask(ctx, n) }); err != nil {
				return nil, err
			}
			c.note(n, d, at)
		}
		off[n] = d
	}
	return off, nil
}

func (c *clocks) known(name string) (time.Duration, time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.off[name], c.asked[name]
}

func (c *clocks) note(name string, off time.Duration, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked == nil {
		c.off, c.asked = map[string]time.Duration{}, map[string]time.Time{}
	}
	c.off[name], c.asked[name] = off, at
}

// forget has a clock asked again.
func (c *clocks) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.asked, name)
}

// all is how far every clock that was asked may be off.
func (c *clocks) all() map[string]time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.off)
}

// Skew returns a question: how far may some clocks be from this machine's, the error of the measurement included? It
// is the error bound of a time between what one of them dates and what this machine's does. More than 50 ms is an
// error: such a time proves nothing. A clock is asked once in an episode.
func (r *Run) Skew(of ...string) func(context.Context) (time.Duration, error) {
	return r.skew(of, 1, maxSkew)
}

// Apart is Skew of clocks that are compared with each other: how far two of them may lie apart.
func (r *Run) Apart(of ...string) func(context.Context) (time.Duration, error) {
	return r.skew(of, 2, maxSkew)
}

func (r *Run) skew(of []string, compared int, most time.Duration) func(context.Context) (time.Duration, error) {
	return func(ctx context.Context) (time.Duration, error) {
		var since time.Time // a fault may have moved them
		if n := len(r.episodes); n > 0 {
			since = r.episodes[n-1].Window.Start
		}
		off, err := r.clocks.of(ctx, of, since)
		if err != nil {
			return 0, err
		}
		d, err := bound(off, compared, most)
		if err != nil { // the answers of a busy machine leave much open: the next ones may leave less
			for n, d := range off { // of each, the one that is good enough stays
				if d > most/time.Duration(compared) {
					r.clocks.forget(n)
				}
			}
		}
		return d, err
	}
}

// bound returns how wrong a time may be by so many of some clocks: what the worst of them may be off together.
func bound(off map[string]time.Duration, compared int, most time.Duration) (sum time.Duration, err error) {
	worst := slices.SortedFunc(maps.Keys(off), func(a, b string) int {
		return cmp.Or(cmp.Compare(off[b], off[a]), strings.Compare(a, b))
	})
	worst = worst[:min(compared, len(worst))]
	for _, n := range worst {
		sum += off[n]
	}
	if sum > most {
		err = verdict.Unproven(fmt.Errorf("the clocks of %s and this machine's may lie %v apart, and more than %v makes their times incomparable",
			strings.Join(worst, ", "), sum.Round(time.Millisecond), most))
	}
	return sum, err
}

// inWindows checks that the entries of a node's journal can be told by the windows of faults. A clock that a fault
// sets need not be right: what is judged by its journal takes that into account.
func (r *Run) inWindows(ctx context.Context, node string) error {
	for _, f := range r.faults {
		if s, ok := f.(*Skew); ok && slices.Contains(s.Victims, node) {
			return nil
		}
	}
	_, err := r.skew([]string{node}, 1, windowSkew)(ctx)
	return err
}
