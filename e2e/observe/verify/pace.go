package verify

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/api"
)

// Pace is how steadily one client of a Service was served.
type Pace struct {
	Client string
	// Rate is the number of answered operations per second.
	Rate float64
	// Gap is the longest time without an answer that was good, between the window's edges
	// too: an operation that never returns is one.
	Gap time.Duration
}

// leastJudged is how long a client must have been there for its pace to be told.
const leastJudged = 5 * time.Second

// served is what a history tells of one client.
type served struct {
	begun time.Time   // its first operation
	gone  time.Time   // when it was told that its session is no more; zero: never
	good  []time.Time // when its good answers came
}

// Paces returns the pace of every client that has asked through a Service, from one time to
// another, sorted by client. A client is one session, or all who write and read records:
// each of them does one operation after the other. A session that is gone has failed an
// operation, which ThroughService counts, and its client makes another one: it is judged as
// long as it was there.
func Paces(ops []api.Operation, from, to time.Time) []Pace {
	clients := map[string]*served{}
	for _, o := range ops {
		if o.Service == "" {
			continue
		}
		client := "records through " + o.Service
		if o.Op == api.OpSession {
			client = "session " + o.ID
			if o.ID == api.NoSession {
				continue // the client that it would have been has no name, and ThroughService counts the failure
			}
		}
		c := clients[client]
		if c == nil {
			c = &served{begun: o.Invoked}
			clients[client] = c
		}
		if o.Invoked.Before(c.begun) {
			c.begun = o.Invoked
		}
		switch {
		case o.Result == api.OK:
			c.good = append(c.good, o.Returned)
		case o.Op == api.OpSession && (o.Status == http.StatusNotFound || o.Status == http.StatusPreconditionFailed):
			c.gone = o.Returned
		}
	}
	var paces []Pace
	for _, name := range slices.Sorted(maps.Keys(clients)) {
		c := clients[name]
		start, end := from, to
		if c.begun.After(start) {
			start = c.begun
		}
		if !c.gone.IsZero() && c.gone.Before(end) {
			end = c.gone
		}
		if end.Sub(start) >= min(leastJudged, to.Sub(from)) {
			paces = append(paces, c.pace(name, start, end))
		}
	}
	return paces
}

// pace is that of a client from one time to another.
func (c *served) pace(name string, from, to time.Time) Pace {
	times := slices.DeleteFunc(slices.Clone(c.good), func(t time.Time) bool { return t.Before(from) || t.After(to) })
	p := Pace{Client: name, Rate: float64(len(times)) / to.Sub(from).Seconds()}
	times = append(times, from, to)
	slices.SortFunc(times, time.Time.Compare)
	for i := range times[1:] {
		p.Gap = max(p.Gap, times[i+1].Sub(times[i]))
	}
	return p
}

// Slowest returns the lowest rate and the longest gap of several clients.
func Slowest(paces []Pace) (rate float64, gap time.Duration) {
	for i, p := range paces {
		if i == 0 || p.Rate < rate {
			rate = p.Rate
		}
		gap = max(gap, p.Gap)
	}
	return rate, gap
}

// Hung returns the clients that went longer than a limit without an answer.
func Hung(paces []Pace, limit time.Duration) []Pace {
	return slices.DeleteFunc(slices.Clone(paces), func(p Pace) bool { return p.Gap <= limit })
}

func (p Pace) String() string {
	return fmt.Sprintf("%s: %.2f operations a second, at most %v without an answer", p.Client, p.Rate, p.Gap.Round(time.Millisecond))
}
