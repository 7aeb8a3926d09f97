package scenario

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/alert"
	"github.com/x0tta6bl4/mesh/e2e/observe/journal"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// Loop is what the design document's table expects of the nodes' loop about one fault.
type Loop struct {
	// Incident is the type that Analyze finds.
	Incident string
	// About are the peers that the incident of each node must name, and no others. A node
	// that is not in it need not find any; an empty list is the node itself.
	About map[string][]string
	// Symptoms are kinds of Monitor entries, one of which must have led to it.
	Symptoms []string
	// Actions must be planned and done under the incident.
	Actions []string
	// From and To are when the incident may open.
	From, To time.Time

	run     *Run
	episode *Episode
}

// Left is what is left of a wait for what the loop does about the fault; see Episode.
func (l *Loop) Left(wait time.Duration) time.Duration { return l.episode.Left(wait) }

// late is how long after the end of what is looked at a node may tell of it: journals are read
// from the nodes themselves.
const late = 2 * time.Second

// Expect returns what is expected of the loop in an episode: incidents open from right
// before it to its end, or to now.
func (e *Episode) Expect(l Loop) *Loop {
	l.run, l.episode, l.From, l.To = e.run, e, e.Window.Start, e.Window.Until(time.Now())
	return &l
}

// Found returns each node's incident. That there is none, more than one, or one about
// somebody else is a shortfall.
func (l *Loop) Found(ctx context.Context) (map[string]journal.Incident, error) {
	logs, err := l.run.Journals(ctx, l.nodes())
	if err != nil {
		return nil, err
	}
	found := map[string]journal.Incident{}
	for _, n := range l.nodes() {
		i, err := l.in(n, logs[n])
		if err != nil {
			return nil, err
		}
		found[n] = i
	}
	return found, nil
}

// in finds the incident in one node's journal.
func (l *Loop) in(node string, entries []event.Entry) (journal.Incident, error) {
	want := slices.Clone(l.About[node])
	if len(want) == 0 {
		want = []string{node}
	}
	slices.Sort(want)
	var of []journal.Incident
	for _, i := range journal.Incidents(entries, l.From, l.To) {
		if i.Is(l.Incident) {
			of = append(of, i)
		}
	}
	var about []journal.Incident
	for _, i := range of {
		if slices.Equal(i.Peers, want) {
			about = append(about, i)
		}
	}
	switch {
	case len(about) == 1 && len(of) == 1:
		return about[0], nil
	case len(of) == 0:
		err := verdict.Shortf("the journal of %s holds no %s after %s, but %s",
			node, l.Incident, l.From.UTC().Format(time.TimeOnly), journal.Kinds(entries, l.From))
		if time.Since(l.To) > late { // none can open in a time that is over
			err = verdict.Final(err)
		}
		return journal.Incident{}, err
	}
	return journal.Incident{}, verdict.Shortf("%s has %d incidents of %s, not one about %s: %v", node, len(of), l.Incident, strings.Join(want, ", "), of)
}

// each checks every node's incident.
func (l *Loop) each(ctx context.Context, check func(node string, i journal.Incident) error) error {
	found, err := l.Found(ctx)
	if err != nil {
		return err
	}
	for _, n := range slices.Sorted(maps.Keys(found)) {
		if err := check(n, found[n]); err != nil {
			return err
		}
	}
	return nil
}

// Monitored checks that a symptom of the fault led to each node's incident: the first
// Monitor entry under it is of the right kind, and comes no later than the incident.
func (l *Loop) Monitored(ctx context.Context) error {
	return l.each(ctx, func(n string, i journal.Incident) error {
		k := slices.IndexFunc(i.Entries, func(e event.Entry) bool { return e.Phase == event.Monitor && slices.Contains(l.Symptoms, e.Kind) })
		if k < 0 || i.Entries[k].Time.After(i.Opened) {
			return verdict.Shortf("%s: no %s led to incident %v", n, strings.Join(l.Symptoms, " or "), i)
		}
		return nil
	})
}

// Analyzed checks that each node found its incident, and nothing else of that type.
func (l *Loop) Analyzed(ctx context.Context) error {
	return l.each(ctx, func(string, journal.Incident) error { return nil })
}

// Planned checks that each action was planned under the incident, after it was found.
func (l *Loop) Planned(ctx context.Context) error {
	return l.each(ctx, func(n string, i journal.Incident) error {
		for _, a := range l.Actions {
			if _, ok := journal.First(i.Entries, i.Opened.Add(-1), func(e event.Entry) bool { return e.Phase == event.Plan && e.Kind == a }); !ok {
				return verdict.Shortf("%s planned no %s under incident %v", n, a, i)
			}
		}
		return nil
	})
}

// Executed checks that each action was done under the incident, by its observed effect,
// and that the phases up to there came in order.
func (l *Loop) Executed(ctx context.Context) error {
	return l.each(ctx, func(n string, i journal.Incident) error {
		for _, a := range l.Actions {
			planned := slices.IndexFunc(i.Entries, func(e event.Entry) bool { return e.Phase == event.Plan && e.Kind == a })
			done := slices.IndexFunc(i.Entries, journal.Done(a))
			if done < 0 || planned < 0 || done < planned {
				return verdict.Shortf("%s has not done %s under incident %v, after planning it", n, a, i)
			}
		}
		return nil
	})
}

// Recorded checks that the incident was kept, after all phases in order, and that it can
// be read with its peers.
func (l *Loop) Recorded(ctx context.Context) error {
	return l.each(ctx, func(n string, i journal.Incident) error {
		if err := i.Ordered(); err != nil {
			return verdict.Shortf("%s: %v", n, err)
		}
		k, err := l.run.Knowledge(ctx, n)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(k.Events, func(e api.Event) bool { return e.ID == i.ID })
		switch {
		case at < 0:
			return verdict.Shortf("%s does not remember incident %v", n, i)
		case k.Events[at].Type != l.Incident || !slices.Equal(k.Events[at].Peers, i.Peers):
			return verdict.Shortf("%s remembers incident %v as %s about %v", n, i, k.Events[at].Type, k.Events[at].Peers)
		case k.Events[at].Seconds <= 0:
			return verdict.Shortf("%s does not remember how long incident %v lasted", n, i)
		}
		return nil
	})
}

// Alerted checks that an alert about healing fired for each action that each node did under its incident, once it was
// done: the alert's labels say whose it was, which action, and how it ended. Prometheus dates the alert, and the node
// what it did.
func (l *Loop) Alerted(ctx context.Context, fired []alert.Fired) error {
	apart, err := l.run.Apart(append(l.nodes(), ClockOfPrometheus)...)(ctx)
	if err != nil {
		return err
	}
	return l.each(ctx, func(n string, incident journal.Incident) error {
		for _, a := range l.Actions {
			done, ok := journal.First(incident.Entries, l.From, journal.Done(a))
			if !ok {
				return verdict.Shortf("%s has done no %s under incident %v", n, a, incident)
			}
			i := healed(fired, n, a)
			switch {
			case i >= 0 && fired[i].Before:
				return verdict.Unproven(fmt.Errorf("the alert of the %s of %s was active before the fault", a, n))
			case i < 0 || fired[i].At.Before(done.Time.Add(-apart)):
				return verdict.Shortf("no alert fired for the %s that %s did at %s under incident %v", a, n, done.Time.UTC().Format(time.TimeOnly), incident)
			}
		}
		return nil
	})
}

// healed finds the alert about an action that a node did among those that fired; -1: none did.
func healed(fired []alert.Fired, node, action string) int {
	return slices.IndexFunc(fired, func(f alert.Fired) bool {
		l := f.Labels
		return l[prom.LabelPod] == node && l[metric.LabelAction] == action && l[metric.LabelOutcome] == metric.OutcomeDone
	})
}
