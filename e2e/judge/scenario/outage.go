package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/x0tta6bl4/mesh/e2e/ground/lane"
	"github.com/x0tta6bl4/mesh/e2e/ground/mesh"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/verify"
	"github.com/x0tta6bl4/mesh/meshnode/api"
)

// Outage is the end of every node of a mesh at once.
type Outage struct {
	// Began is right before the nodes were ended, Freed when none of them was left, and others could come.
	Began, Freed time.Time

	run    *Run
	killed []corev1.Pod // as they were deployed
}

// EndAll ends every node at once, and lets none come back before the last of them has ended: all others could have what they lost
// from one that lives on, or that comes while another still runs. That none was left is proven by Kubernetes, which
// has no pod of theirs any more. A control without faults ends nobody.
func (r *Run) EndAll(ctx context.Context) (*Outage, error) {
	o := &Outage{run: r, killed: r.pods, Began: time.Now()}
	if o.Freed = o.Began; r.env.Absent {
		return o, nil
	}
	turn, err := r.turn(ctx, "end every node", lane.Span{To: makes, Open: true})
	if err != nil {
		return nil, verdict.Unproven(err)
	}
	err = r.endAll(ctx, o)
	// All of them start again now, which takes as much as to make the mesh.
	if err = errors.Join(err, verdict.Unproven(turn.Close(makes))); err != nil {
		return nil, err
	}
	return o, nil
}

func (r *Run) endAll(ctx context.Context, o *Outage) error {
	release, err := r.HoldBack(ctx)
	if err != nil {
		return err
	}
	r.watch.disturbed()
	defer r.watch.calmed()
	o.Began = time.Now()
	if err = r.Mesh.Kill(ctx); err == nil {
		err = await(ctx, WaitBite, r.nobody)
	}
	o.Freed = time.Now()
	if err = errors.Join(verdict.Unproven(err), release(ctx)); err != nil {
		return err
	}
	return verdict.Unproven(await(ctx, WaitAnswer, r.backToLife))
}

// backToLife has the nodes' controllers make pods, and checks that they have. Who keeps them from it may
// learn late that it is over.
func (r *Run) backToLife(ctx context.Context) error {
	if err := r.Mesh.Nudge(ctx); err != nil {
		return err
	}
	pods, err := r.Mesh.Pods(ctx, mesh.NodeApp)
	if err == nil && len(pods) < len(r.pods) {
		err = fmt.Errorf("%d of %d pods are there again", len(pods), len(r.pods))
	}
	return err
}

// nobody checks that there is no pod of a node.
func (r *Run) nobody(ctx context.Context) error {
	pods, err := r.Mesh.Pods(ctx, mesh.NodeApp)
	if err == nil && len(pods) > 0 {
		err = fmt.Errorf("%s and %d more have not ended", pods[0].Name, len(pods)-1)
	}
	return err
}

// Back returns how long after the nodes could come back each was ready, by its kubelet's clock (see KubeletSlack). That one is
// not is a shortfall.
func (o *Outage) Back(ctx context.Context) (verdict.Times, error) {
	pods, err := o.run.Mesh.Pods(ctx, mesh.NodeApp)
	if err != nil {
		return nil, err
	}
	took := verdict.Times{}
	for _, p := range o.killed {
		successor, err := mesh.Successor(pods, p)
		if err != nil {
			return nil, verdict.Shortf("%v", err)
		}
		took[p.Name] = readySince(successor).Sub(o.Freed)
	}
	return took, nil
}

// Promised checks that enough was acknowledged before the end for a loss to be seen.
func (o *Outage) Promised(ctx context.Context) error {
	ops, err := o.run.Operations(ctx)
	if err != nil {
		return err
	}
	return promised(ops, o.Began)
}

func promised(ops []api.Operation, before time.Time) error {
	if ids, _ := verify.Acknowledged(ops, before); len(ids) < LeastPromised {
		return verdict.Unproven(fmt.Errorf("%d records were acknowledged before the nodes ended, %d are needed: too little traffic", len(ids), LeastPromised))
	}
	return nil
}
