package scenario

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io/fs"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/e2e-framework/klient"

	"github.com/x0tta6bl4/mesh/e2e/ground/fault"
	"github.com/x0tta6bl4/mesh/e2e/ground/lane"
	"github.com/x0tta6bl4/mesh/e2e/ground/mesh"
	"github.com/x0tta6bl4/mesh/e2e/judge/live"
	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/probe"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
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
	Prober    string // the image of the probers
	Profile   Profile
	Artifacts string // of this run
	Prefix    string // of namespaces
	Keep      bool   // leave the namespace of a failed scenario
	// Live is told what happens; nil: nobody is.
	Live *live.Sender
	// AbortOn is an expression of guard's, and Abort what is called, once, when a guard
	// wants the scenario to end.
	AbortOn string
	Abort   func()
	// Turns are the moments in which a lane must be alone; nil where there is one.
	Turns *lane.Book
	// NodeArgs are further flags of every node, such as --mapek=off for a
	// control.
	NodeArgs []string
	// Absent injects no fault, but judges as if it had: a control, in which all that claims a
	// reaction has to fail. A fault that only prepares what is judged is there all the same.
	Absent bool
}

// faultless makes an error inconclusive that came before any fault.
func faultless(err error) error {
	if err == nil {
		return nil
	}
	return verdict.Unproven(fmt.Errorf("without a fault: %w", err))
}

// Run is one scenario under way: a mesh of its own and the faults in it.
type Run struct {
	*Scenario
	Mesh   *mesh.Mesh
	Probes *probe.Probes // nil unless Probed
	Prom   *prom.Client
	// Nodes are the names of the mesh's pods as it was deployed, sorted.
	Nodes []string
	// Baseline is the part of the run before its first fault.
	Baseline prom.Window

	env      Env
	pods     []corev1.Pod
	before   map[string]fault.NetState
	episodes []*Episode
	roster   *roster
	watch    *watch
	faults   []disturbed // what the episodes are of; see note
	// unsupported is whether a fault cannot be injected in this cluster.
	unsupported bool
	clocks      clocks
	visited     []Guest    // what Misdiagnoses asked last
	opening     *lane.Turn // until its first fault bites; nil: none is kept
	artefacts   *artefacts // of a finished run, which is judged again; nil while it lives
	collected   bool
	deleted     bool
}

// New prepares a scenario. It touches nothing yet.
func New(env Env, s *Scenario) (*Run, error) {
	suffix := make([]byte, 2)
	if _, err := rand.Read(suffix); err != nil {
		return nil, err
	}
	namespace := env.Prefix + "-" + s.Name + "-" + hex.EncodeToString(suffix)
	return Join(env, s, namespace), nil
}

// Make makes the mesh as planned, and waits until it is well.
func (r *Run) Make(ctx context.Context) (err error) {
	turn, err := r.turn(ctx, "make the mesh", lane.Span{To: makes, Open: true})
	if err != nil {
		return verdict.Unproven(err)
	}
	defer func() { err = r.made(turn, err) }()
	if err := r.deploy(ctx, r.Mesh.Deploy); err != nil {
		return verdict.Unproven(err)
	}
	if r.Probed { // first: their start takes much of a small machine
		if err := r.attach(ctx); err != nil {
			return faultless(err)
		}
	}
	return faultless(r.AwaitWell(ctx))
}

// deploy has the mesh made, waits until its pods are ready, and gets to know its nodes.
func (r *Run) deploy(ctx context.Context, create func(context.Context, fs.FS, ...string) error) error {
	err := within(ctx, WaitReady, func(ctx context.Context) error {
		if err := create(ctx, r.env.Manifests, slices.Concat(r.Scenario.NodeArgs, r.env.NodeArgs)...); err != nil {
			return err
		}
		return r.Mesh.WaitReady(ctx)
	})
	if err != nil {
		return err
	}
	return r.meet(ctx)
}

// meet gets to know the pods of the nodes, and begins to watch them.
func (r *Run) meet(ctx context.Context) (err error) {
	if r.pods, err = r.Mesh.Nodes(ctx); err != nil {
		return err
	}
	for _, p := range r.pods {
		r.Nodes = append(r.Nodes, p.Name)
	}
	r.roster, err = watchPods(r.env.Kube, r.Mesh.Namespace)
	return err
}

// attach puts probers into the pods, and waits until each sees every other.
func (r *Run) attach(ctx context.Context) error {
	return within(ctx, WaitProbes, func(ctx context.Context) (err error) {
		if r.Probes, err = probe.Attach(ctx, r.env.Kube, r.env.Prober, r.pods); err != nil {
			return err
		}
		return until(ctx, func(context.Context) error { return r.Probes.Proof(nil, probe.All(r.Nodes)) })
	})
}

// Settle sees that the mesh is well without a fault, every session verified and no
// incident open, and begins the baseline.
func (r *Run) Settle(ctx context.Context) error {
	if err := r.AwaitWell(ctx); err != nil {
		return faultless(err)
	}
	r.Baseline = prom.Window{Namespace: r.Mesh.Namespace, Pods: r.Nodes, Start: time.Now()}
	x := r.env.Client.Resources()
	var err error
	if r.before, err = fault.Look(ctx, x.GetControllerRuntimeClient(), x, r.pods); err != nil {
		return verdict.Unproven(err)
	}
	r.watchOver()
	return nil
}

// Observe waits until each node has made at least so many critical verifications, and
// ends the baseline.
func (r *Run) Observe(ctx context.Context, least int) error {
	err := await(ctx, WaitObserve, func(ctx context.Context) error {
		seen, err := r.Prom.Growth(metric.VerificationsTotal, critical, r.Baseline)(ctx)
		if err != nil {
			return err
		}
		for _, n := range r.Nodes {
			if seen[n] < float64(least) {
				return fmt.Errorf("%s has verified %v signatures of high priority only, %d are needed to compare with", n, seen[n], least)
			}
		}
		return nil
	})
	r.Baseline.End = time.Now()
	return verdict.Unproven(err)
}

// critical are the verifications that sessions need to stay verified.
var critical = prom.Labels{metric.LabelPriority: metric.PriorityCritical}

// AwaitWell waits until the mesh is well.
func (r *Run) AwaitWell(ctx context.Context) error {
	return await(ctx, WaitBaseline, r.Well)
}

// Well checks that every session is verified and no incident is open. That it is not so is a shortfall.
func (r *Run) Well(ctx context.Context) error {
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
				return verdict.Shortf("%s has an open incident %s about %v", n, i.Type, i.Peers)
			}
		}
	}
	return nil
}

// SessionsVerified checks with Prometheus that every node has a verified
// session with every other. That one has not is a shortfall.
func (r *Run) SessionsVerified(ctx context.Context) error {
	verified, err := r.Prom.Now(metric.Sessions, prom.Labels{metric.LabelState: metric.StateVerified}, r.Mesh.Namespace, r.Nodes)(ctx)
	if err != nil {
		return err
	}
	for _, n := range r.Nodes {
		if want := float64(len(r.Nodes) - 1); verified[n] != want {
			return verdict.Shortf("%s has %v verified sessions, not %v", n, verified[n], want)
		}
	}
	return nil
}

// Unreplaced says for each pod that the mesh was deployed with what keeps another one
// from being ready in its place.
func (r *Run) Unreplaced(ctx context.Context) ([]string, error) {
	pods, err := r.Mesh.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	var left []string
	for _, p := range r.pods {
		if _, err := mesh.Successor(pods, p); err != nil {
			left = append(left, err.Error())
		}
	}
	return left, nil
}

// Restart replaces the mesh's pods, one after the other, unless the faults are absent.
func (r *Run) Restart(ctx context.Context) error {
	if r.env.Absent {
		return nil
	}
	return r.Mesh.Restart(ctx)
}

// Fault tells when the scenario's first fault, the document's own, was
// injected, proven and recovered.
func (r *Run) Fault() report.Fault {
	for _, e := range r.episodes {
		if !e.aside {
			return e.Times
		}
	}
	return report.Fault{}
}
