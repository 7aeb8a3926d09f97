package verify

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/api"
)

// Service is how operations through a Service went.
type Service struct {
	Operations int
	// Failed are those that were not answered within the retry budget: refused,
	// without an answer, or answered later than the budget allows.
	Failed []api.Operation
	// Attempts is what it took, raw: FailedAttempts were repeated, Most is the
	// largest number for one operation, Slowest the longest operation.
	Attempts, FailedAttempts, Most int
	Slowest                        time.Duration
}

// ThroughService judges the operations that were asked through a Service and
// were under way at any time between two times.
func ThroughService(ops []api.Operation, from, to time.Time) Service {
	var s Service
	for _, o := range ops {
		if o.Service == "" || o.Returned.Before(from) || o.Invoked.After(to) {
			continue
		}
		took := o.Returned.Sub(o.Invoked)
		s.Operations++
		s.Attempts += o.Attempts
		s.FailedAttempts += o.Attempts
		if o.Result == api.OK {
			s.FailedAttempts-- // the last one
		}
		s.Most, s.Slowest = max(s.Most, o.Attempts), max(s.Slowest, took)
		if o.Result != api.OK || took > api.RetryBudget {
			s.Failed = append(s.Failed, o)
		}
	}
	return s
}

// Err returns nil if no operation failed.
func (s Service) Err() error {
	if len(s.Failed) == 0 {
		return nil
	}
	var shown []string
	for _, o := range s.Failed[:min(len(s.Failed), maxShown)] {
		why := fmt.Sprintf("%v after %v", o.Result, o.Returned.Sub(o.Invoked).Round(time.Millisecond))
		if len(o.Errors) > 0 {
			why += ": " + o.Errors[len(o.Errors)-1]
		}
		shown = append(shown, fmt.Sprintf("%s %s at %s (%s)", o.Op, o.ID, o.Invoked.UTC().Format("15:04:05.000"), why))
	}
	if len(s.Failed) > maxShown {
		shown = append(shown, "…")
	}
	return fmt.Errorf("%d of %d operations through the Service failed: %s", len(s.Failed), s.Operations, strings.Join(shown, "; "))
}

// Takeover is what became of the sessions of a dead node.
type Takeover struct {
	// Took is the time from the death to a session's first answer by another home.
	Took map[string]time.Duration
	// Silent are the sessions that had no such answer.
	Silent []string
}

// Sessions judges the client sessions whose home, by their last answer before
// a node died, was that node. An answer counts if the home that gave it is not
// the dead one, or what bears its name now. Which node passed it on says nothing
// of where the session lives: a client whose connection has come to the dead
// node's successor keeps it.
func Sessions(ops []api.Operation, dead string, died time.Time) Takeover {
	home, last, first := map[string]string{}, map[string]time.Time{}, map[string]time.Time{}
	for _, o := range ops {
		if o.Op != api.OpSession || o.Result != api.OK {
			continue
		}
		if o.Returned.Before(died) {
			if o.Returned.After(last[o.ID]) {
				home[o.ID], last[o.ID] = o.Home, o.Returned
			}
		} else if at, ok := first[o.ID]; o.Home != dead && (!ok || o.Returned.Before(at)) {
			first[o.ID] = o.Returned
		}
	}
	t := Takeover{Took: map[string]time.Duration{}}
	for id, h := range home {
		if h != dead {
			continue
		}
		if at, ok := first[id]; ok {
			t.Took[id] = at.Sub(died)
		} else {
			t.Silent = append(t.Silent, id)
		}
	}
	slices.Sort(t.Silent)
	return t
}

// Homed is how many sessions had their home on the dead node. None is too few
// for a verdict.
func (t Takeover) Homed() int { return len(t.Took) + len(t.Silent) }

// Slowest is the longest time that a session took.
func (t Takeover) Slowest() time.Duration {
	var most time.Duration
	for _, d := range t.Took {
		most = max(most, d)
	}
	return most
}

// Err returns nil if every session answered elsewhere within limit.
func (t Takeover) Err(limit time.Duration) error {
	late := 0
	for _, d := range t.Took {
		if d > limit {
			late++
		}
	}
	if late+len(t.Silent) == 0 {
		return nil
	}
	return fmt.Errorf("of %d sessions of the dead node %d answered elsewhere only after more than %v (slowest %v), and %d not at all (%s)",
		t.Homed(), late, limit, t.Slowest().Round(time.Millisecond), len(t.Silent), strings.Join(t.Silent[:min(len(t.Silent), maxShown)], ", "))
}

// Regressed returns the answers that show a session in an older version than
// an answer that had come before they were asked for: a stale read, or an
// acknowledged update that was lost.
func Regressed(ops []api.Operation) []Defect {
	byID := map[string][]api.Operation{}
	for _, o := range ops {
		if o.Op == api.OpSession && o.Result == api.OK {
			byID[o.ID] = append(byID[o.ID], o)
		}
	}
	var defects []Defect
	for id, answers := range byID {
		slices.SortFunc(answers, func(a, b api.Operation) int { return a.Returned.Compare(b.Returned) })
		// newest[i] is the highest version that answers 0 to i show.
		newest := make([]uint64, len(answers))
		for i, a := range answers {
			newest[i] = a.Version
			if i > 0 {
				newest[i] = max(newest[i], newest[i-1])
			}
		}
		for _, a := range answers {
			n, _ := slices.BinarySearchFunc(answers, a.Invoked, func(b api.Operation, t time.Time) int { return b.Returned.Compare(t) })
			if n > 0 && a.Version < newest[n-1] {
				defects = append(defects, Defect{id, a.Node})
			}
		}
	}
	slices.SortFunc(defects, func(a, b Defect) int { return strings.Compare(a.ID+a.Node, b.ID+b.Node) })
	return defects
}
