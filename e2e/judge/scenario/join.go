package scenario

import (
	"context"
	"errors"
	"fmt"

	"github.com/x0tta6bl4/mesh/e2e/ground/fault"
	"github.com/x0tta6bl4/mesh/e2e/ground/mesh"
	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
)

// ErrNoMesh is the error of a namespace in which there is none.
var ErrNoMesh = errors.New("there is no mesh")

// Join prepares a run in the mesh of a namespace, which a person made and which stays. It
// touches nothing yet.
func Join(env Env, s *Scenario, namespace string) *Run {
	r := &Run{
		Scenario: s, env: env, Prom: env.Prom,
		Mesh: mesh.New(env.Config, env.Kube, env.Client.Resources().GetControllerRuntimeClient(), namespace),
	}
	r.clocks.ask = r.clock
	return r
}

// Complete makes what the mesh lacks, and waits until it is well. What is there stays as it is.
func (r *Run) Complete(ctx context.Context) error {
	if err := r.deploy(ctx, r.Mesh.Complete); err != nil {
		return err
	}
	return r.probed(ctx)
}

// Enter finds the mesh that is there, and waits until it is well.
func (r *Run) Enter(ctx context.Context) error {
	there, _, err := r.Mesh.Owner(ctx)
	if err != nil {
		return err
	}
	if !there {
		return fmt.Errorf("%w in namespace %s: make mesh-up makes one", ErrNoMesh, r.Mesh.Namespace)
	}
	// A node that an autoscaler has added would leave in the middle of the next fault.
	if err := await(ctx, WaitScale, r.unscaled); err != nil {
		return err
	}
	if err := within(ctx, WaitReady, r.Mesh.WaitReady); err != nil {
		return err
	}
	if err := r.meet(ctx); err != nil {
		return err
	}
	return r.probed(ctx)
}

// probed puts probers where there are none, and waits until the mesh is well.
func (r *Run) probed(ctx context.Context) error {
	if err := r.attach(ctx); err != nil {
		return err
	}
	return r.AwaitWell(ctx)
}

// Close stops looking at the mesh.
func (r *Run) Close() {
	if r.Probes != nil {
		r.Probes.Close()
	}
	r.roster.close()
}

// Judge judges a run whose faults are over, and their tails, by what Again reads.
func (r *Run) Judge(ctx context.Context) ([]report.Criterion, error) {
	if c := first[*Crash](r); c != nil { // its sessions are looked for from when it was lost
		if _, err := c.Migrated(ctx); err != nil && verdict.Of(err) != report.Failed {
			return nil, err
		}
	}
	all := r.Again(ctx)
	for i := range all {
		for _, c := range r.Criteria {
			if c.ID == all[i].ID {
				all[i].Text = c.Text
			}
		}
	}
	return all, nil
}

// Leave takes back what is left of faults, stops looking, and tells what a fault left behind.
// The mesh stays.
func (r *Run) Leave(ctx context.Context) ([]string, error) {
	defer r.Close()
	return r.Withdraw(ctx)
}

// Disturb injects the fault of a fixture, whichever it is, and proves that it bites.
func (r *Run) Disturb(ctx context.Context, fixture string) (*Episode, error) {
	o, err := fault.Load(r.env.Fixtures, fixture)
	if err != nil {
		return nil, err
	}
	effect, err := fault.Effect(o)
	if err != nil {
		return nil, err
	}
	inject, ok := r.injectors()[effect]
	if !ok {
		return nil, fmt.Errorf("%s: nothing proves what %s does", fixture, effect)
	}
	return inject(ctx, fixture)
}

// injectors are how each effect of a fault is brought about and proven.
func (r *Run) injectors() map[string]func(context.Context, string) (*Episode, error) {
	return map[string]func(context.Context, string) (*Episode, error){
		"partition":   episodeOf(r.Partition),
		"delay":       episodeOf(r.Delay),
		"pod-kill":    episodeOf(r.Crash),
		"pod-failure": episodeOf(r.Fail),
		"stress":      episodeOf(r.Stress),
		"inject":      episodeOf(r.Inject),
		"forge":       episodeOf(r.Inject),
		"corrupt":     episodeOf(r.Corrupt),
		"replay":      episodeOf(r.Replay),
		"disk":        episodeOf(r.Storage),
		"clock":       episodeOf(r.SkewClocks),
	}
}

// episodeOf is an injector whatever the type of its fault.
func episodeOf[F disturbed](inject func(context.Context, string) (F, error)) func(context.Context, string) (*Episode, error) {
	return func(ctx context.Context, fixture string) (*Episode, error) {
		f, err := inject(ctx, fixture)
		if err != nil {
			return nil, err
		}
		return f.episode(), nil
	}
}
