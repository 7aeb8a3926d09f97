package fault

import (
	"fmt"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	"github.com/robfig/cron/v3"
)

// foreseen is how far ahead a Schedule's strikes are looked at.
const foreseen = 8 * 24 * time.Hour

// validateSchedule checks what Chaos Mesh's webhook refuses, and that the controller brings the
// first strike in time and keeps what it made.
func validateSchedule(s *v1alpha1.Schedule, fail failure) error {
	times, err := v1alpha1.StandardCronParser.Parse(s.Spec.Schedule)
	if err != nil {
		return fail("spec.schedule", "%v", err)
	}
	e, path, _, err := template(s)
	if err != nil {
		return fail(path, "%v", err)
	}
	if err := validateExperiment(e, path, fail); err != nil {
		return err
	}
	lasts := time.Duration(0)
	if !e.IsOneShot() {
		if lasts, err = Duration(e); err != nil {
			return fail(path+".duration", "%v", err)
		}
		if lasts == 0 {
			return fail(path+".duration", "is missing: the schedule would not strike again")
		}
	}
	shortest, longest := strikes(times, time.Now())
	switch {
	case longest > LongestWait:
		return fail("spec.schedule", "the next strike can be %v away, may be %v", longest.Round(time.Second), LongestWait)
	case shortest < lasts+ShortestRest:
		return fail("spec.schedule", "strikes again after %v: a fault of %v must leave %v to see that everything is well again", shortest, lasts, ShortestRest)
	case s.Spec.HistoryLimit < 1:
		return fail("spec.historyLimit", "is missing: Chaos Mesh deletes what the schedule made at once, while it runs")
	}
	// The controller looks for strikes since the deadline before now, and counts @every from there.
	every, constant := times.(cron.ConstantDelaySchedule)
	if d := s.Spec.StartingDeadlineSeconds; constant && d != nil && time.Duration(*d)*time.Second <= every.Delay {
		return fail("spec.startingDeadlineSeconds", "is %d: a schedule of %s never strikes with less than its period", *d, s.Spec.Schedule)
	}
	return nil
}

// strikes returns the shortest and the longest time between two strikes. Of a schedule that
// strikes no more the longest is what is looked at.
func strikes(times cron.Schedule, from time.Time) (shortest, longest time.Duration) {
	if every, ok := times.(cron.ConstantDelaySchedule); ok {
		return every.Delay, every.Delay
	}
	shortest, end := foreseen, from.Add(foreseen)
	last := times.Next(from)
	if last.IsZero() {
		return foreseen, foreseen
	}
	for longest = last.Sub(from); last.Before(end); {
		next := times.Next(last)
		if next.IsZero() {
			return shortest, foreseen
		}
		shortest, longest = min(shortest, next.Sub(last)), max(longest, next.Sub(last))
		last = next
	}
	return shortest, longest
}

// Period returns the longest time between two faults of a Schedule, which is also the longest
// that its first can take to come; 0 of everything else.
func Period(o Object) (time.Duration, error) {
	s, ok := o.(*v1alpha1.Schedule)
	if !ok {
		return 0, nil
	}
	// As Chaos Mesh's controller reads it.
	times, err := v1alpha1.StandardCronParser.Parse(s.Spec.Schedule)
	if err != nil {
		return 0, fmt.Errorf("schedule %q: %w", s.Spec.Schedule, err)
	}
	_, longest := strikes(times, time.Now())
	return longest, nil
}
