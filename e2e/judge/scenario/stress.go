package scenario

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/ground/fault"
	"github.com/x0tta6bl4/mesh/e2e/ground/mesh"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// Stress is a pod under stress.
type Stress struct {
	*Episode
	Victim string
	// ScaledAt is when an autoscaler was seen to want more replicas.
	ScaledAt time.Time
}

// Loop is what the victim's loop is expected to do about the stress.
func (s *Stress) Loop() *Loop {
	return s.Expect(Loop{
		Incident: metric.ResourceExhaustion, About: map[string][]string{s.Victim: nil}, Symptoms: []string{event.ResourcesShort},
		Actions: []string{metric.ShedLowPriority, metric.RequestScaleUp},
	})
}

// Stress starts stressors by a fixture and proves from outside that they burn
// in the victim's own cgroup.
func (r *Run) Stress(ctx context.Context, fixture string) (*Stress, error) {
	o, err := r.loadFor(fixture, BarScaledUp) // the autoscaler may take as long
	if err != nil {
		return nil, err
	}
	if err := await(ctx, WaitScale, r.scalersRest); err != nil {
		return nil, verdict.Unproven(err)
	}
	s := &Stress{}
	s.Episode, err = r.inject(ctx, o, func(e *Episode) proof {
		var limit float64 // of the victim, in cores
		meet := func() (err error) {
			s.Victim, err = e.victim()
			return err
		}
		look := func(ctx context.Context) (fault.Stress, error) {
			if err := meet(); err != nil {
				return fault.Stress{}, err
			}
			pod, err := r.pod(ctx, s.Victim)
			if err != nil || pod == nil {
				return fault.Stress{}, fmt.Errorf("pod %s: %w", s.Victim, err)
			}
			limit = pod.Spec.Containers[0].Resources.Limits.Cpu().AsApproximateFloat64()
			x := r.env.Client.Resources()
			return fault.Stressors(ctx, x.GetControllerRuntimeClient(), x, *pod)
		}
		var last fault.Stress
		var lastAt time.Time
		return proof{
			presume: meet,
			bites: func(ctx context.Context) error {
				at := time.Now()
				found, err := look(ctx)
				if err != nil {
					return err
				}
				burnt := found.Cores(last, at.Sub(lastAt))
				last, lastAt = found, at
				if burnt == 0 || burnt < LeastBurnt*limit {
					return fmt.Errorf("%d stressors in the cgroup of %s burn %.2f cores; its limit is %v", found.Processes, s.Victim, burnt, limit)
				}
				return nil
			},
			over: func(ctx context.Context) error {
				found, err := look(ctx)
				if err == nil && found.Processes > 0 {
					err = fmt.Errorf("%d stressors are still in the cgroup of %s", found.Processes, s.Victim)
				}
				return err
			},
		}
	})
	return note(r, s, err)
}

// Only narrows a window to the victim.
func (s *Stress) Only(w prom.Window) prom.Window {
	w.Pods = []string{s.Victim}
	return w
}

// Verified returns how many critical verifications succeeded in the victim per second and
// expected peer in a window: a session that is missing counts as 0.
func (s *Stress) Verified(ctx context.Context, w prom.Window) (map[string]float64, error) {
	good := prom.Labels{metric.LabelResult: metric.ResultSuccess, metric.LabelPriority: metric.PriorityCritical}
	rates, err := Read(ctx, s.run.Prom.Rate(metric.VerificationsTotal, good, s.Only(w)))
	for n := range rates {
		rates[n] /= float64(len(s.run.Nodes) - 1)
	}
	return rates, err
}

// Observe waits until the victim has had time for as many critical verifications under
// the stress as a comparison needs. If it makes fewer, that is the stress.
func (s *Stress) Observe(ctx context.Context) error {
	baseline := s.run.Baseline
	long := baseline.End.Sub(baseline.Start)
	return verdict.Unproven(await(ctx, long+WaitObserve, func(context.Context) error {
		if left := time.Until(s.Times.Proven.Add(long)); left > 0 {
			return fmt.Errorf("the stress must last %v longer", left.Round(time.Second))
		}
		return nil
	}))
}

// Joined returns the names of the ready nodes beyond those that the mesh was
// deployed with.
func (s *Stress) Joined(ctx context.Context) ([]string, error) {
	pods, err := s.run.Mesh.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	var joined []string
	for _, p := range pods {
		if !slices.Contains(s.run.Nodes, p.Name) && mesh.Ailing(p) == "" {
			joined = append(joined, p.Name)
		}
	}
	return joined, nil
}
