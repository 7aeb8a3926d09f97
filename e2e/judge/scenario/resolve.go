package scenario

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/alert"
	"github.com/x0tta6bl4/mesh/e2e/observe/journal"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
)

// resolveSlack is how far from its due an alert may resolve beyond a scrape and an evaluation: on a busy machine some
// of either are late.
const resolveSlack = 5 * time.Second

// Nightly reports whether there is time for what takes minutes.
func (r *Run) Nightly() bool { return r.env.Profile.Nightly }

// due is when the alert about an action of a node has to resolve.
type due struct {
	node, action string
	at           time.Time
}

// dues returns when the alerts about what the loop did have to resolve: as long as the rule looks back after each node
// last did each action, under whichever incident.
func (l *Loop) dues(ctx context.Context, rule alert.Rule) (all []due, err error) {
	logs, err := l.run.Journals(ctx, l.nodes())
	if err != nil {
		return nil, err
	}
	for _, n := range l.nodes() {
		for _, a := range l.Actions {
			done, ok := journal.Last(logs[n], journal.Done(a))
			if !ok {
				return nil, verdict.Shortf("%s has done no %s", n, a)
			}
			all = append(all, due{n, a, done.Time.Add(rule.Back)})
		}
	}
	return all, nil
}

// nodes are those whose loops are looked at, sorted.
func (l *Loop) nodes() []string { return slices.Sorted(maps.Keys(l.About)) }

// around is how far from its due an alert may resolve.
func around(rule alert.Rule) time.Duration { return rule.Every + prom.ScrapeInterval + resolveSlack }

// AwaitDue waits until every alert about what the loop did has to have resolved.
func (l *Loop) AwaitDue(ctx context.Context, rule alert.Rule) error {
	all, err := l.dues(ctx, rule)
	if err != nil {
		return err
	}
	var last time.Time
	for _, d := range all {
		if d.at.After(last) {
			last = d.at
		}
	}
	return awaitTime(ctx, last.Add(around(rule)+maxSkew))
}

// Resolved checks that the alerts about what the loop did have resolved when they were due, neither before nor later.
// One that is not due yet, for its node did the same again, proves nothing.
func (l *Loop) Resolved(ctx context.Context, fired []alert.Fired, rule alert.Rule) error {
	all, err := l.dues(ctx, rule)
	if err != nil {
		return err
	}
	apart, err := l.run.Apart(append(l.nodes(), ClockOfPrometheus)...)(ctx)
	if err != nil {
		return err
	}
	for _, d := range all {
		if err := d.met(fired, around(rule)+apart, time.Now()); err != nil {
			return err
		}
	}
	return nil
}

// met checks that the alert that is due has resolved then, give or take a slack, of those that fired by now.
func (d due) met(fired []alert.Fired, slack time.Duration, now time.Time) error {
	i := healed(fired, d.node, d.action)
	if i < 0 {
		return verdict.Shortf("no alert fired for the %s of %s", d.action, d.node)
	}
	at, says := fired[i].Resolved, func(t time.Time) string { return t.UTC().Format(time.TimeOnly) }
	switch {
	case at.IsZero() && now.Before(d.at.Add(slack)):
		return verdict.Unproven(fmt.Errorf("%s did %s again: the alert is due at %s only", d.node, d.action, says(d.at)))
	case at.IsZero():
		return verdict.Final(verdict.Shortf("the alert for the %s of %s fires at %s, and was due to resolve at %s", d.action, d.node, says(now), says(d.at)))
	case at.Before(d.at.Add(-slack)), at.After(d.at.Add(slack)):
		return verdict.Final(verdict.Shortf("the alert for the %s of %s resolved at %s, and was due at %s", d.action, d.node, says(at), says(d.at)))
	}
	return nil
}
