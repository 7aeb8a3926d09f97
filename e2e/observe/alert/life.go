package alert

import (
	"fmt"
	"time"

	"github.com/prometheus/common/model"
)

// States of an alert.
const (
	Inactive = "inactive"
	Pending  = "pending"
	Firing   = "firing"
	Resolved = "resolved"
)

// labelState is the label of ALERTS that says pending or firing.
const labelState = "alertstate"

// Life is what became of an alert. A time is zero if it did not come to that;
// the others are late by less than Step and an evaluation of the rules.
type Life struct {
	// Pending is when it was first active. An alert without a `for:` fires at
	// once: Pending and Firing are the same then.
	Pending time.Time
	// Firing is when it first fired.
	Firing time.Time
	// Resolved is when it had stopped firing for the last time; zero while it
	// fires.
	Resolved time.Time
}

// State says how far the alert came: one that was pending and went away without
// firing stays pending.
func (l Life) State() string {
	switch {
	case !l.Resolved.IsZero():
		return Resolved
	case !l.Firing.IsZero():
		return Firing
	case !l.Pending.IsZero():
		return Pending
	}
	return Inactive
}

func (l Life) String() string {
	s := l.State()
	for _, step := range []struct {
		name string
		at   time.Time
	}{{Pending, l.Pending}, {Firing, l.Firing}, {Resolved, l.Resolved}} {
		if !step.at.IsZero() {
			s += fmt.Sprintf(", %s %s", step.name, step.at.UTC().Format("15:04:05.000"))
		}
	}
	return s
}

// since separates the series of those alerts that were first active at a time or later
// from the others'. An alert has two series, one while it is pending and one while it
// fires.
func since(series model.Matrix, start time.Time) (begun, earlier model.Matrix) {
	first := map[model.Fingerprint]time.Time{}
	for _, s := range series {
		known := first[instance(s)]
		for _, v := range s.Values {
			earliest(&known, v.Timestamp.Time())
		}
		first[instance(s)] = known
	}
	for _, s := range series {
		if first[instance(s)].Before(start) {
			earlier = append(earlier, s)
		} else {
			begun = append(begun, s)
		}
	}
	return begun, earlier
}

// instance identifies the alert that a series is about.
func instance(s *model.SampleStream) model.Fingerprint {
	labels := s.Metric.Clone()
	delete(labels, labelState)
	return labels.Fingerprint()
}

// lifeOf puts together one life from the series ALERTS, sampled every Step up
// to end. The server marks the end of a series, so a step without a sample is
// one at which the alert was not in that state.
func lifeOf(series model.Matrix, end time.Time) Life {
	var l Life
	var last time.Time // at which it was seen firing
	for _, s := range series {
		firing := s.Metric[labelState] == Firing
		for _, v := range s.Values {
			at := v.Timestamp.Time()
			earliest(&l.Pending, at)
			if firing {
				earliest(&l.Firing, at)
				if at.After(last) {
					last = at
				}
			}
		}
	}
	if !last.IsZero() && !last.Add(Step).After(end) {
		l.Resolved = last.Add(Step)
	}
	return l
}

func earliest(known *time.Time, at time.Time) {
	if known.IsZero() || at.Before(*known) {
		*known = at
	}
}
