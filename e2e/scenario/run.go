package scenario

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/e2e-framework/klient"

	"github.com/x0tta6bl4/mesh/e2e/fault"
	"github.com/x0tta6bl4/mesh/e2e/mesh"
	"github.com/x0tta6bl4/mesh/e2e/probe"
	"github.com/x0tta6bl4/mesh/e2e/prom"
	"github.com/x0tta6bl4/mesh/e2e/report"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// Env is what all scenarios of a run share.
type Env struct {
	Config    *rest.Config
	Kube      kubernetes.Interface
	Client    klient.Client
	Prom      *prom.Client
	Manifests fs.FS // of the mesh
	Fixtures  fs.FS
	Profile   Profile
	Artifacts string // of this run
	Prefix    string // of namespaces
	Keep      bool   // leave the namespace of a failed scenario
}

// InvalidError says why nothing can be concluded from a scenario.
type InvalidError struct{ Reason string }

func (e *InvalidError) Error() string { return e.Reason }

func invalid(err error) error {
	if err == nil {
		return nil
	}
	return &InvalidError{Reason: err.Error()}
}

// Run is one scenario under way.
type Run struct {
	Name   string
	Mesh   *mesh.Mesh
	Probes *probe.Probes
	Prom   *prom.Client
	// Nodes are the names of the mesh's pods, sorted.
	Nodes []string
	// Cut are the pairs that the fault cuts, Open the others.
	Cut, Open []probe.Pair
	// Window opens right before the fault.
	Window prom.Window
	// Fault tells when it was injected, proven and recovered.
	Fault report.Fault
	// CutAt is when each node's partition began, by the prober in its own pod:
	// see CutMoment.
	CutAt map[string]time.Time

	env       Env
	pods      []corev1.Pod
	object    fault.Object
	lasts     time.Duration
	before    map[string]fault.NetState
	injection *fault.Injection
	healed    bool
	collected bool
	deleted   bool
}

// New prepares a scenario with a fixture. It touches nothing yet.
func New(env Env, name, fixture string) (*Run, error) {
	o, err := fault.Load(env.Fixtures, fixture)
	if err != nil {
		return nil, err
	}
	if env.Profile.Fault > 0 {
		if err := fault.Shorten(o, env.Profile.Fault, AlertFor); err != nil {
			return nil, err
		}
	}
	lasts, err := fault.Duration(o)
	if err != nil {
		return nil, err
	}
	suffix := make([]byte, 2)
	if _, err := rand.Read(suffix); err != nil {
		return nil, err
	}
	namespace := env.Prefix + "-" + name + "-" + hex.EncodeToString(suffix)
	fault.Retarget(o, namespace)
	return &Run{
		Name: name, env: env, object: o, lasts: lasts, Prom: env.Prom,
		Mesh: mesh.New(env.Config, env.Kube, env.Client.Resources().GetControllerRuntimeClient(), namespace),
	}, nil
}

// Deploy makes the mesh and puts probers into its pods, then checks that it is
// well without a fault: every pair of pods reaches each other, every session
// is verified, no incident is open.
func (r *Run) Deploy(ctx context.Context) error {
	if err := r.Mesh.Deploy(ctx, r.env.Manifests); err != nil {
		return invalid(err)
	}
	err := within(ctx, Wait.Ready, func(ctx context.Context) error { return r.Mesh.WaitReady(ctx) })
	if err != nil {
		return invalid(err)
	}
	if r.pods, err = r.Mesh.Nodes(ctx); err != nil {
		return invalid(err)
	}
	for _, p := range r.pods {
		r.Nodes = append(r.Nodes, p.Name)
	}
	// Before the probers start, so that a selector that matches nothing is
	// said at once.
	source, target, err := fault.Sides(r.object, r.pods)
	if err != nil {
		return invalid(err)
	}
	all := probe.All(r.Nodes)
	r.Cut = probe.Between(source, target)
	r.Open = probe.Without(all, r.Cut)
	err = within(ctx, Wait.Probes, func(ctx context.Context) (err error) {
		if r.Probes, err = probe.Attach(ctx, r.env.Kube, r.pods); err != nil {
			return err
		}
		return until(ctx, func(context.Context) error { return r.Probes.Proof(nil, all) })
	})
	if err != nil {
		return invalid(fmt.Errorf("without a fault: %w", err))
	}
	err = within(ctx, Wait.Baseline, func(ctx context.Context) error { return until(ctx, r.well) })
	if err != nil {
		return invalid(fmt.Errorf("without a fault: %w", err))
	}
	x := r.env.Client.Resources()
	if r.before, err = fault.Look(ctx, x.GetControllerRuntimeClient(), x, r.pods); err != nil {
		return invalid(err)
	}
	return nil
}

// well checks that every session is verified and no incident is open.
func (r *Run) well(ctx context.Context) error {
	if err := r.SessionsVerified(ctx); err != nil {
		return err
	}
	for _, n := range r.Nodes {
		s, err := r.Mesh.Status(ctx, n)
		if err != nil {
			return err
		}
		for _, i := range s.Incidents {
			if i.Resolved.IsZero() {
				return fmt.Errorf("%s has an open incident %s about %v", n, i.Type, i.Peers)
			}
		}
	}
	return nil
}

// SessionsVerified checks with Prometheus that every node has a verified
// session with every other.
func (r *Run) SessionsVerified(ctx context.Context) error {
	verified, err := r.Prom.Now(metric.Sessions, prom.Labels{metric.LabelState: metric.StateVerified}, r.Mesh.Namespace, r.Nodes)(ctx)
	if err != nil {
		return err
	}
	for _, n := range r.Nodes {
		if want := float64(len(r.Nodes) - 1); verified[n] != want {
			return fmt.Errorf("%s has %v verified sessions, not %v", n, verified[n], want)
		}
	}
	return nil
}

// Inject applies the fault and proves from outside that it bites: every pair
// that it should cut is cut, and no other.
func (r *Run) Inject(ctx context.Context) error {
	r.Window = prom.Window{Namespace: r.Mesh.Namespace, Pods: r.Nodes, Start: time.Now()}
	var err error
	c := r.env.Client.Resources().GetControllerRuntimeClient()
	if r.injection, err = fault.Apply(ctx, c, r.object); err != nil {
		return invalid(err)
	}
	if err := within(ctx, Wait.Inject, r.injection.WaitInjected); err != nil {
		return invalid(err)
	}
	r.Fault.Injected = now()
	err = within(ctx, Wait.Bite, func(ctx context.Context) error {
		return until(ctx, func(context.Context) error { return r.Probes.Proof(r.Cut, r.Open) })
	})
	if err != nil {
		return invalid(fmt.Errorf("the fault does not bite: %w", err))
	}
	r.Fault.Proven = now()
	r.CutAt = map[string]time.Time{}
	for _, n := range r.Nodes {
		peers := probe.PeersOf(n, r.Cut)
		if len(peers) == 0 {
			continue
		}
		losses, err := r.Probes.Losses(n, peers)
		if err != nil { // healed in the same breath
			return invalid(fmt.Errorf("the fault does not last: %w", err))
		}
		r.CutAt[n] = CutMoment(losses)
	}
	return nil
}

// AwaitHeal waits until Chaos Mesh has taken the fault back and the probers
// see it. It does so once; later calls return at once.
func (r *Run) AwaitHeal(ctx context.Context) error {
	if r.healed {
		return nil
	}
	if r.Fault.Injected == nil {
		return invalid(errors.New("there was no fault"))
	}
	left := time.Until(r.Window.Start.Add(r.lasts + Wait.Recover))
	if err := within(ctx, left, r.injection.WaitRecovered); err != nil {
		return invalid(err)
	}
	r.Fault.Recovered = now()
	err := within(ctx, Wait.Heal, func(ctx context.Context) error {
		return until(ctx, func(context.Context) error { return r.Probes.Proof(nil, probe.All(r.Nodes)) })
	})
	if err != nil {
		return invalid(fmt.Errorf("after the recovery that Chaos Mesh reports: %w", err))
	}
	r.healed = true
	return nil
}
