package scenario

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"

	"github.com/x0tta6bl4/mesh/e2e/ground/fault"
	"github.com/x0tta6bl4/mesh/e2e/ground/mesh"
	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// Stress is a pod under stress.
type Stress struct {
	*Episode
	Victim string
	// Resources are what it takes away, as nodes name them.
	Resources []string `json:",omitempty"`
	// Joined are the nodes that joined while it was waited for.
	Joined []string `json:",omitempty"`
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
	s := &Stress{Resources: exhausted(o)}
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

// exhausted names the resources that a fixture's stressors take away.
func exhausted(o fault.Object) (resources []string) {
	c, ok := o.(*v1alpha1.StressChaos)
	if !ok || c.Spec.Stressors == nil {
		return nil
	}
	if c.Spec.Stressors.CPUStressor != nil { // of which the last two are signs: what waits for a core comes late
		resources = append(resources, event.ResourceCPU, event.ResourceVerification, event.ResourceScheduling)
	}
	if c.Spec.Stressors.MemoryStressor != nil {
		resources = append(resources, event.ResourceMemory)
	}
	return resources
}

// Verified returns how many critical attestations of each node that the mesh was deployed with were good
// in the victim, per second of a window: "a→b". A session that is missing counts as 0.
func (s *Stress) Verified(ctx context.Context, w prom.Window) (map[string]float64, error) {
	expected := map[string]float64{}
	for _, n := range s.run.Nodes {
		if n == s.Victim {
			continue
		}
		of := prom.Labels{metric.LabelPeer: n, metric.LabelPriority: metric.PriorityCritical}
		rates, err := Read(ctx, s.run.Prom.Rate(metric.PeerVerificationsTotal, of, s.Only(w)))
		if err != nil {
			return nil, err
		}
		expected[s.Victim+"→"+n] = rates[s.Victim]
	}
	return expected, nil
}

// Upheld returns which share several still have of what they had before, all together: what one has more
// than before makes up for nothing that another lacks.
func Upheld(before, after map[string]float64) float64 {
	var had, has float64
	for name, b := range before {
		had, has = had+b, has+min(b, after[name])
	}
	return has / had // NaN where nobody had anything: no answer
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

// Outlast waits until the stress is over: not before the nodes that it calls for have joined, or could have,
// so that all that is judged of it is judged of one time.
func (s *Stress) Outlast(ctx context.Context) error {
	if s.Healed() {
		return nil
	}
	_, err := verdict.Await(ctx, s.Left(WaitScale), func(ctx context.Context) (struct{}, error) {
		joined, err := s.joined(ctx)
		if err == nil && len(joined) == 0 {
			err = verdict.Shortf("no node has joined")
		}
		s.Joined = joined
		return struct{}{}, err
	})
	if verdict.Of(err) == report.Invalid { // that none has joined is for a criterion to say
		return err
	}
	return s.Finish(ctx)
}

// joined returns the names of the ready nodes beyond those that the mesh was
// deployed with.
func (s *Stress) joined(ctx context.Context) ([]string, error) {
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
