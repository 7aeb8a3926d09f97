package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"

	"github.com/x0tta6bl4/mesh/e2e/ground/fault"
	"github.com/x0tta6bl4/mesh/e2e/ground/iofault"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/journal"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// Storage is a fault of the disk of one node's store.
type Storage struct {
	*Episode
	Victim string
	// Kind is what the node should take it for.
	Kind string
	// Server is who injects it: a released toda, or the stand-in.
	Server string
}

// tries is how often the disk is tried for a proof.
const tries = 4

// Storage puts a fault into the disk of a node's store by a fixture, and proves from outside
// that a write with a flush, through what lies over the volume, is as slow as it says, or fails as it says.
func (r *Run) Storage(ctx context.Context, fixture string) (*Storage, error) {
	o, err := r.load(fixture)
	if err != nil {
		return nil, err
	}
	disk, ok := o.(*v1alpha1.IOChaos)
	if !ok {
		return nil, fmt.Errorf("%T %s is no fault of a disk", o, o.GetName())
	}
	s := &Storage{Kind: storageKind(disk)}
	s.Episode, err = r.inject(ctx, o, func(e *Episode) proof {
		meet := func() (err error) {
			s.Victim, err = e.victim()
			return err
		}
		return proof{
			bites: func(ctx context.Context) error {
				if err := meet(); err != nil {
					return err
				}
				server, tried, err := s.try(ctx, r)
				if err != nil {
					return err
				}
				s.Server = server
				return bitten(disk, server, tried)
			},
			over: func(ctx context.Context) error {
				server, tried, err := s.try(ctx, r)
				if err != nil {
					return err
				}
				return sound(server, tried)
			},
			presume: meet,
		}
	})
	return note(r, s, err)
}

// storageKind returns what a node should take a fault of a disk for.
func storageKind(disk *v1alpha1.IOChaos) string {
	switch {
	case disk.Spec.Action == v1alpha1.IoLatency:
		return metric.FaultLatency
	case syscall.Errno(disk.Spec.Errno) == syscall.ENOSPC:
		return metric.FaultFull
	}
	return metric.FaultError
}

// try asks who injects faults into the victim, and tries its disk.
func (s *Storage) try(ctx context.Context, r *Run) (server string, tried []fault.Try, err error) {
	pod, err := r.pod(ctx, s.Victim)
	if err == nil && pod == nil {
		err = errors.New("is gone")
	}
	if err != nil {
		return "", nil, fmt.Errorf("pod %s: %w", s.Victim, err)
	}
	x := r.env.Client.Resources()
	c := x.GetControllerRuntimeClient()
	out, err := fault.OnNodeOf(ctx, c, x, *pod, iofault.ServerScript)
	if err != nil {
		return "", nil, err
	}
	if server, err = iofault.Server(out); err != nil {
		return "", nil, err
	}
	tried, err = fault.TryDisk(ctx, c, x, *pod, fault.StoreVolume, tries)
	return server, tried, err
}

// bitten checks that attempts at a disk went as its fault says.
func bitten(disk *v1alpha1.IOChaos, server string, tried []fault.Try) error {
	if server == iofault.Nobody {
		return errors.New("nothing lies over the volume")
	}
	if disk.Spec.Action == v1alpha1.IoLatency {
		delay, err := time.ParseDuration(disk.Spec.Delay)
		if err != nil {
			return err
		}
		for _, t := range tried {
			if t.Error != "" || t.Took < delay {
				return fmt.Errorf("a write took %v, not %v or more: %s", t.Took, delay, t.Error)
			}
		}
		return nil
	}
	want := syscall.Errno(disk.Spec.Errno).Error()
	for _, t := range tried {
		if strings.Contains(strings.ToLower(t.Error), want) {
			return nil
		}
	}
	return fmt.Errorf("of %d writes none failed with %q: %v", len(tried), want, tried)
}

// sound checks that nothing of a fault is left in a disk.
func sound(server string, tried []fault.Try) error {
	if server != iofault.Nobody {
		return fmt.Errorf("%s still lies over the volume", server)
	}
	for _, t := range tried {
		if t.Error != "" || t.Took >= fault.LeastDiskDelay {
			return fmt.Errorf("a write took %v: %s", t.Took, t.Error)
		}
	}
	return nil
}

// Loop is what the victim's loop is expected to do about the fault.
func (s *Storage) Loop() *Loop {
	return s.Expect(Loop{
		Incident: metric.StorageFault, About: map[string][]string{s.Victim: nil}, Symptoms: []string{event.ConditionRaised},
		Actions: []string{metric.StopWrites, metric.YieldSessions, metric.RecoverStore},
	})
}

// Recognised returns how long after the fault met the first write of a client at the victim the
// node recognised it. Nothing else tells from outside when it began to bite; that none was met proves nothing. The
// write is dated by the client, and the incident by the node.
func (s *Storage) Recognised(ctx context.Context) (verdict.Times, error) {
	found, err := s.Loop().Found(ctx)
	if err != nil {
		return nil, err
	}
	ops, err := s.run.Operations(ctx)
	if err != nil {
		return nil, err
	}
	met, ok := firstMet(ops, s.Victim, s.Window.Start)
	if !ok {
		return nil, verdict.Unproven(fmt.Errorf("no client wrote to %s and felt the fault", s.Victim))
	}
	// The node's own records and others' may meet it before a client's.
	return verdict.Times{s.Victim + ", " + s.Kind: max(found[s.Victim].Opened.Sub(met), 0)}, nil
}

// felt is how long a write at a sound node does not take.
const felt = 300 * time.Millisecond

// firstMet returns when the first write at a node after a time was sent that was slow or failed.
func firstMet(ops []api.Operation, node string, after time.Time) (time.Time, bool) {
	var met []time.Time
	for _, o := range ops {
		if o.Op == api.OpWrite && o.Service == "" && o.Node == node && o.Returned.After(after) &&
			(o.Result != api.OK || o.Attempts > 1 || o.Returned.Sub(o.Invoked) >= felt) {
			met = append(met, o.Invoked)
		}
	}
	if len(met) == 0 {
		return time.Time{}, false
	}
	return slices.MinFunc(met, time.Time.Compare), true
}

// Measured checks that the victim's metrics show the fault: its kind, and commits that take long or fail.
func (s *Storage) Measured(ctx context.Context) error {
	w := s.Window
	w.Pods = []string{s.Victim}
	seen, err := s.run.Prom.Spread(metric.StoreFault, prom.Labels{metric.LabelKind: s.Kind}, w)(ctx)
	if err != nil {
		return err
	}
	if seen[s.Victim].Most < 1 {
		return verdict.Shortf("%s shows no fault %s of its store", s.Victim, s.Kind)
	}
	if s.Kind == metric.FaultLatency {
		busy, err := s.run.Prom.Spread(metric.StoreBusy, nil, w)(ctx)
		if err != nil {
			return err
		}
		if busy[s.Victim].Most < fault.LeastDiskDelay.Seconds() {
			return verdict.Shortf("%s waited for its disk for %v s at most", s.Victim, busy[s.Victim].Most)
		}
		return nil
	}
	failed, err := s.run.Prom.Growth(metric.StoreErrorsTotal, prom.Labels{metric.LabelKind: s.Kind}, w)(ctx)
	if err != nil {
		return err
	}
	if failed[s.Victim] == 0 {
		return verdict.Shortf("%s counts no commit that failed", s.Victim)
	}
	return nil
}

// Named checks that the incident names the kind of the fault.
func (s *Storage) Named(ctx context.Context) error {
	return s.Loop().each(ctx, func(n string, i journal.Incident) error {
		for _, e := range i.Entries {
			if e.Phase == event.Analyze && e.Detail[event.DetailKind] == s.Kind {
				return nil
			}
		}
		return verdict.Shortf("%s does not name %s in incident %v", n, s.Kind, i)
	})
}

// Remembered checks that the victim's knowledge has the kind of the fault.
func (s *Storage) Remembered(ctx context.Context) error {
	k, err := s.run.Knowledge(ctx, s.Victim)
	if err != nil {
		return err
	}
	for _, e := range k.Events {
		if e.Type == metric.StorageFault && e.Kind == s.Kind && !e.Opened.Before(s.Window.Start) {
			return nil
		}
	}
	return verdict.Shortf("%s remembers no %s of kind %s", s.Victim, metric.StorageFault, s.Kind)
}

// Recovered waits until the victim is well by itself, and returns how long after the disk it was: its incident is
// over, it is ready, and it accepts what clients write. The node dates the end of its incident, this machine that of the
// fault.
func (s *Storage) Recovered(ctx context.Context) (verdict.Times, error) {
	if s.Times.Recovered == nil {
		return nil, verdict.Unproven(errors.New("the fault is not over"))
	}
	var took verdict.Times
	err := await(ctx, WaitSettle, func(ctx context.Context) error {
		found, err := s.Loop().Found(ctx)
		if err != nil {
			return err
		}
		i := found[s.Victim]
		if i.Resolved.IsZero() {
			return verdict.Shortf("incident %v of %s is not over", i, s.Victim)
		}
		status, err := s.run.Status(ctx, s.Victim)
		if err != nil {
			return err
		}
		if !status.Ready {
			return verdict.Shortf("%s is not ready: %v", s.Victim, status.NotReady)
		}
		ops, err := s.run.Operations(ctx)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(ops, func(o api.Operation) bool {
			return o.Op == api.OpWrite && o.Service == "" && o.Node == s.Victim && o.Result == api.OK && o.Invoked.After(i.Resolved)
		}) {
			return verdict.Shortf("%s has accepted no record since %s", s.Victim, i.Resolved.UTC().Format(time.TimeOnly))
		}
		took = verdict.Times{s.Victim + ", " + s.Kind: max(i.Resolved.Sub(*s.Times.Recovered), 0)}
		return nil
	})
	return took, err
}
