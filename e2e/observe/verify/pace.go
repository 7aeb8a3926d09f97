package verify

import (
	"fmt"
	"maps"
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

// Paces returns the pace of every client that has ever asked through a Service, from one
// time to another, sorted by client. A client is one session, or all who write and read
// records: each of them does one operation after the other.
func Paces(ops []api.Operation, from, to time.Time) []Pace {
	answered := map[string][]time.Time{}
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
		good := answered[client]
		if o.Result == api.OK && !o.Returned.Before(from) && !o.Returned.After(to) {
			good = append(good, o.Returned)
		}
		answered[client] = good
	}
	var paces []Pace
	for _, c := range slices.Sorted(maps.Keys(answered)) {
		times := append(answered[c], from, to)
		slices.SortFunc(times, time.Time.Compare)
		p := Pace{Client: c, Rate: float64(len(times)-2) / to.Sub(from).Seconds()}
		for i := range times[1:] {
			p.Gap = max(p.Gap, times[i+1].Sub(times[i]))
		}
		paces = append(paces, p)
	}
	return paces
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
