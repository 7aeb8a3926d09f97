// Package verdict tells apart what can become of an observation: it holds, it falls
// short, this cluster cannot make it, or it could not be made.
//
// Only what was observed to fall short fails a criterion. What could not be observed,
// because a port-forward broke, Prometheus was late or a prober fell silent, says
// nothing of the mesh: it makes the criterion invalid. A question is asked again until
// it is answered or its deadline passes; then its last error decides.
package verdict

import (
	"errors"
	"fmt"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

// Shortfall says that something was observed, and what it lacks.
type Shortfall struct{ What string }

func (s *Shortfall) Error() string { return s.What }

// Shortf returns a Shortfall.
func Shortf(format string, args ...any) error {
	return &Shortfall{What: fmt.Sprintf(format, args...)}
}

// NotSupported says why a cluster cannot run what is to be judged.
type NotSupported struct{ Why string }

func (n *NotSupported) Error() string { return n.Why }

// Inconclusive says why nothing can be concluded. It hides the kind of its cause: a
// shortfall in the proof of a fault is none of the mesh's.
type Inconclusive struct{ Why string }

func (i *Inconclusive) Error() string { return i.Why }

// Unproven makes an error inconclusive, whatever it was; nil stays nil.
func Unproven(err error) error {
	if err == nil {
		return nil
	}
	return &Inconclusive{Why: err.Error()}
}

// rules say what an error is a verdict on. The first that applies counts.
var rules = []struct {
	applies func(error) bool
	verdict report.Verdict
}{
	{is[*Inconclusive], report.Invalid},
	{is[*Shortfall], report.Failed},
	{is[*NotSupported], report.NotSupported},
	// Everything else is trouble of the harness: the API server, a port-forward,
	// Prometheus, an absent sample, a deadline, an interrupt.
	{func(error) bool { return true }, report.Invalid},
}

func is[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}

// Of returns the verdict that an observation's error stands for; no error has passed.
func Of(err error) report.Verdict {
	if err == nil {
		return report.Passed
	}
	for _, r := range rules {
		if r.applies(err) {
			return r.verdict
		}
	}
	panic("verdict: the last rule applies to every error")
}
