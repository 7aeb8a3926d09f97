package scenario

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/x0tta6bl4/mesh/e2e/ground/mesh"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/journal"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/e2e/observe/verify"
	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// Crash is a pod that was killed.
type Crash struct {
	*Episode
	Victim    string
	Survivors []string
	// KilledAt is right before the pod was deleted, DiedAt when the others last heard
	// the prober in it: on a busy machine a kubelet takes seconds to end a pod
	// whose deletion was forced, and the node in it goes on until then.
	KilledAt, DiedAt time.Time
	// GoneAt is when the mesh lost it: see LostAt.
	GoneAt time.Time

	killed corev1.Pod // as it was deployed
}

// Crash kills a pod by a fixture and proves from outside that it is gone:
// Kubernetes does not know the pod as it was any more, and the probers in the other
// pods have lost it.
func (r *Run) Crash(ctx context.Context, fixture string) (*Crash, error) {
	o, err := r.load(fixture)
	if err != nil {
		return nil, err
	}
	c := &Crash{}
	c.Episode, err = r.inject(ctx, o, func(e *Episode) proof {
		return proof{
			bites: func(ctx context.Context) error { return c.gone(ctx, e) },
			over:  func(ctx context.Context) error { _, err := c.Back(ctx); return err },
			presume: func() error {
				c.KilledAt, c.DiedAt = e.Window.Start, e.Window.Start
				return c.meet(e)
			},
		}
	})
	return note(r, c, err)
}

// AwaitHomes waits until the recording clients have made all their sessions, every node is
// home to one, so that there is something to lose wherever the fault strikes, and
// Prometheus knows where all of them are.
func (r *Run) AwaitHomes(ctx context.Context) error {
	return verdict.Unproven(await(ctx, WaitObserve, func(ctx context.Context) error {
		clients, err := r.Mesh.Pods(ctx, mesh.ClientApp)
		if err != nil {
			return err
		}
		ops, err := r.Operations(ctx)
		if err != nil {
			return err
		}
		told, err := r.Prom.Now(metric.SessionsHomed, nil, r.Mesh.Namespace, r.Nodes)(ctx)
		if err != nil {
			return err
		}
		return homed(keeps(clients), sessions(ops), told)
	}))
}

// keeps returns how many client sessions the recording clients are told to keep.
func keeps(clients []corev1.Pod) int {
	all := 0
	for _, p := range clients {
		for _, a := range p.Spec.Containers[0].Args {
			if n, ok := strings.CutPrefix(a, "--sessions="); ok {
				k, _ := strconv.Atoi(n) // the client takes no other
				all += k
			}
		}
	}
	return all
}

// sessions returns how many client sessions were made.
func sessions(ops []api.Operation) int {
	made := map[string]bool{}
	for _, o := range ops {
		if o.Op == api.OpSession && o.Result == api.OK {
			made[o.ID] = true
		}
	}
	return len(made)
}

// homed checks that all sessions that clients want are made, and that nodes have told of them.
func homed(want, made int, told map[string]float64) error {
	all := 0.0
	for n, k := range told {
		if k == 0 {
			return fmt.Errorf("no client session is at home on %s: %v", n, told)
		}
		all += k
	}
	if made < want || all < float64(want) {
		return fmt.Errorf("of %d client sessions clients have made %d, and nodes told of %v", want, made, all)
	}
	return nil
}

// meet finds out who the victim is, and who the survivors are.
func (c *Crash) meet(e *Episode) (err error) {
	if c.Victim, err = e.victim(); err != nil {
		return err
	}
	c.Survivors = slices.DeleteFunc(slices.Clone(e.run.Nodes), func(n string) bool { return n == c.Victim })
	for _, p := range e.run.pods {
		if p.Name == c.Victim {
			c.killed = p
		}
	}
	return nil
}

// gone proves the crash.
func (c *Crash) gone(ctx context.Context, e *Episode) error {
	if err := c.meet(e); err != nil {
		return err
	}
	r := e.run
	pod, err := r.pod(ctx, c.Victim)
	if err != nil {
		return err
	}
	if pod != nil && pod.UID == c.killed.UID && mesh.Ailing(*pod) == "" {
		return fmt.Errorf("pod %s is still the same and ready", c.Victim)
	}
	c.KilledAt = e.Window.Start
	if at := e.injection.Earliest(); !at.IsZero() {
		c.KilledAt = at
	}
	c.DiedAt, err = r.Probes.Lost(c.Victim, c.Survivors, c.KilledAt)
	return err
}

// pod returns a pod of the mesh by name, nil if there is none now.
func (r *Run) pod(ctx context.Context, name string) (*corev1.Pod, error) {
	pods, err := r.Mesh.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(pods, func(p corev1.Pod) bool { return p.Name == name })
	if i < 0 {
		return nil, nil
	}
	return &pods[i], nil
}

// Back returns when the victim's successor became ready, by the clock of its
// kubelet, which counts whole seconds. That there is none yet is a shortfall.
func (c *Crash) Back(ctx context.Context) (time.Time, error) {
	pods, err := c.run.Mesh.Nodes(ctx)
	if err != nil {
		return time.Time{}, err
	}
	pod, err := mesh.Successor(pods, c.killed)
	if err != nil {
		return time.Time{}, verdict.Shortf("%v", err)
	}
	return readySince(pod), nil
}

// readySince is since when a pod that is ready has been.
func readySince(p corev1.Pod) time.Time {
	i := slices.IndexFunc(p.Status.Conditions, func(k corev1.PodCondition) bool { return k.Type == corev1.PodReady })
	return p.Status.Conditions[i].LastTransitionTime.Time
}

// Restarted returns how long after the kill, by this machine's clock, the victim's successor was ready.
func (c *Crash) Restarted(ctx context.Context) (verdict.Times, error) {
	back, err := c.Back(ctx)
	return verdict.Times{c.Victim: back.Sub(c.KilledAt)}, err
}

// Apart returns how far the clocks may lie apart that date the loss of the victim, by probers and by its successor's
// journal, and the answers elsewhere, by clients.
func (c *Crash) Apart(ctx context.Context) (time.Duration, error) {
	return c.run.Apart(slices.Concat(c.run.Nodes, []string{ClockOfClients})...)(ctx)
}

// LostAt returns when a mesh lost a node: when it died, or before that when its successor
// joined in its name, by the first entry of the successor's own. Kubernetes starts a
// successor at once, and the kubelet leaves processes two seconds to end. A journal goes on from the one before
// it: what the successor has written came after it started.
func LostAt(started, died time.Time, entries []event.Entry) time.Time {
	joined, ok := journal.First(entries, started, func(event.Entry) bool { return true })
	if ok && joined.Time.Before(died) {
		return joined.Time
	}
	return died
}

// Loop is what the survivors' loop is expected to do about the crash.
func (c *Crash) Loop() *Loop {
	about := map[string][]string{}
	for _, n := range c.Survivors {
		about[n] = []string{c.Victim}
	}
	return c.Expect(Loop{
		Incident: metric.NodeCrash, About: about, Symptoms: []string{event.PeerUnreachable, event.PeerRestarted, event.SessionLost},
		Actions: []string{metric.MigrateSessions, metric.ActivateBackupRoutes},
	})
}

// Unheard returns by how much each survivor's count of losses of the victim grew: that it
// lost its heartbeats, and was not told of the crash by a successor's hello.
func (c *Crash) Unheard(ctx context.Context) (map[string]float64, error) {
	window := c.Window
	window.Pods = c.Survivors
	return c.run.Prom.Growth(metric.PeerUnreachable, prom.Labels{metric.LabelPeer: c.Victim}, window)(ctx)
}

// WasOne checks that every survivor lost the victim's heartbeats. Where one did not it was no crash that they saw, and nothing
// of how the mesh heals from one can be concluded; of a crash that is absent all can.
func (c *Crash) WasOne(ctx context.Context) error {
	if c.Absent {
		return nil
	}
	_, err := verdict.Await(ctx, WaitScraped, func(ctx context.Context) (struct{}, error) { return struct{}{}, c.Lost(ctx) })
	return verdict.Unproven(err)
}

// Whole checks that each survivor found the loss of its session with the victim under the victim's own incident.
func (c *Crash) Whole(ctx context.Context) error {
	return c.Loop().each(ctx, func(n string, i journal.Incident) error { return whole(n, c.Victim, i) })
}

func whole(node, victim string, i journal.Incident) error {
	if !slices.ContainsFunc(i.Entries, journal.All(journal.Kind(event.SessionLost), journal.About(victim))) {
		return verdict.Shortf("%s lost no session with %s under incident %v", node, victim, i)
	}
	return nil
}

// Lost checks that every survivor counts a loss of the victim.
func (c *Crash) Lost(ctx context.Context) error {
	unheard, err := c.Unheard(ctx)
	if err != nil {
		return err
	}
	for _, n := range c.Survivors {
		if unheard[n] == 0 {
			return verdict.Shortf("%s counts no loss of %s", n, c.Victim)
		}
	}
	return nil
}

// Migrated returns how long after the mesh lost the victim each client session that was at
// home there answered elsewhere. That one has not, or that the survivors do not count each, is
// a shortfall.
func (c *Crash) Migrated(ctx context.Context) (verdict.Times, error) {
	c.GoneAt = c.DiedAt
	if pod, err := c.run.pod(ctx, c.Victim); err != nil {
		return nil, err
	} else if !c.Absent && pod != nil && mesh.Ailing(*pod) == "" {
		successor, err := c.run.Mesh.Status(ctx, c.Victim)
		if err != nil {
			return nil, err
		}
		if successor.Started.Before(c.KilledAt) {
			return nil, fmt.Errorf("%s answers that it started at %s, before it was killed", c.Victim, successor.Started.Format(time.TimeOnly))
		}
		entries, err := c.run.Mesh.Journal(ctx, c.Victim)
		if err != nil {
			return nil, err
		}
		c.GoneAt = LostAt(successor.Started, c.DiedAt, entries)
	}
	t, err := c.takeover(ctx)
	if err != nil {
		return nil, err
	}
	return verdict.Times(t.Took), c.migrationsCounted(ctx, t.Homed())
}

// takeover returns what became of the client sessions that were at home on the victim when the
// mesh lost it. That one has not answered elsewhere is a shortfall.
func (c *Crash) takeover(ctx context.Context) (verify.Takeover, error) {
	ops, err := c.run.Operations(ctx)
	if err != nil {
		return verify.Takeover{}, err
	}
	t := verify.Sessions(ops, c.Victim, c.GoneAt)
	switch {
	case t.Homed() == 0:
		return t, verdict.Unproven(fmt.Errorf("no client session was at home on %s", c.Victim))
	case len(t.Silent) > 0:
		return t, verdict.Shortf("of %d sessions that were at home on %s these have not answered elsewhere: %v", t.Homed(), c.Victim, t.Silent)
	}
	return t, nil
}

// migrationsCounted checks that the survivors together count exactly as many migrations as client
// sessions were at home on the victim, by the last that it told of itself. So many are known
// to have been there by clients.
func (c *Crash) migrationsCounted(ctx context.Context, known int) error {
	told, err := c.run.Prom.At(metric.SessionsHomed, nil, c.Window.Namespace, []string{c.Victim}, c.KilledAt)(ctx)
	if err != nil {
		return err
	}
	window := c.Window
	window.Pods = c.Survivors
	counted, err := c.run.Prom.Total(metric.SessionsMigratedTotal, nil, window)(ctx)
	if err != nil {
		return err
	}
	return migrations(float64(known), told[c.Victim], counted)
}

// migrations judges a count of migrations by how many client sessions the clients know to have
// been at home on the victim, and how many it told of. The clients may know fewer: a request
// for a session that is not answered in time is made again, and what the first one made is
// nobody's.
func migrations(known, told, counted float64) error {
	switch {
	case told < known:
		return verdict.Unproven(fmt.Errorf("the victim told of %v client sessions at home, and clients know %v: some are younger than its last scrape", told, known))
	case counted != told:
		return verdict.Shortf("%v client sessions were at home on the victim, and the survivors count %v migrations", told, counted)
	}
	return nil
}
