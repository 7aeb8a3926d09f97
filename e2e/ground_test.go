package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/x0tta6bl4/mesh/e2e/ground/cluster"
	"github.com/x0tta6bl4/mesh/e2e/ground/fault"
	"github.com/x0tta6bl4/mesh/e2e/ground/image"
	"github.com/x0tta6bl4/mesh/e2e/ground/lane"
	"github.com/x0tta6bl4/mesh/e2e/judge/guard"
	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/report/page"
	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/doctor"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
)

var _ = BeforeSuite(func(ctx SpecContext) {
	g, err := newGround(ctx)
	if g != nil { // also if only a part of it was made
		DeferCleanup(func(ctx SpecContext) { cleaned(g.remove(ctx)) }, NodeTimeout(cleanUpWithin))
	}
	verdict.Must(err)
	suite.env = g.env()
	DeferCleanup(func(ctx SpecContext) { cleaned("remove meshes that no scenario took", removeMade(ctx)) }, NodeTimeout(cleanUpWithin))
}, NodeTimeout(setUpWithin))

// ground is what scenarios stand on: a cluster, its Prometheus, and a directory for what
// a run leaves.
type ground struct {
	cluster *cluster.Cluster
	prom    *prom.Client
}

// newGround makes the cluster, or opens one, and has it check every fixture. Where it
// fails after it has made something, it returns what there is.
func newGround(ctx context.Context) (*ground, error) {
	c, err := cluster.Up(ctx, cluster.Options{
		Kubeconfig: suite.options.kubeconfig,
		Network:    suite.options.network,
		Log:        os.Stderr,
		OnPhase: func(name string, d time.Duration) {
			suite.summary.Phases = append(suite.summary.Phases, report.Phase{Name: name, Seconds: d.Seconds()})
		},
	})
	var g *ground
	if c != nil {
		g = &ground{cluster: c}
	}
	if errors.Is(err, cluster.ErrUsage) {
		suite.usage = err
		return g, err
	}
	if err == nil {
		g.prom, err = prom.New(c.Config, c.Prometheus)
	}
	if err == nil && !c.Created && inLane() == "" {
		if suite.usage = examine(ctx, g); suite.usage != nil { // before a run leaves anything
			return g, suite.usage
		}
	}
	if suite.dir = inLane(); suite.dir == "" {
		var dirErr error
		suite.dir, dirErr = report.NewDir(suite.options.artifacts, suite.started)
		err = errors.Join(err, dirErr)
	}
	if err != nil {
		return g, err
	}
	if err := g.prom.Ready(ctx); err != nil || inLane() != "" { // who has made the lanes has done the rest
		return g, err
	}
	if err := rehearse(ctx, c); err != nil {
		return g, err
	}
	if err := guard.Check(ctx, g.prom.Unrecorded(), suite.options.abortOn, time.Now()); err != nil {
		err = fmt.Errorf("-abort-on: %w", err)
		if errors.Is(err, guard.ErrExpression) {
			suite.usage = err
		}
		return g, err
	}
	for _, i := range c.Images {
		suite.summary.Images = append(suite.summary.Images, report.Image{Name: i.Name, Digest: i.Digest, Source: i.Source})
	}
	for _, name := range slices.Sorted(maps.Keys(suite.options.published)) {
		suite.summary.Images = append(suite.summary.Images, report.Image{Name: name, Digest: suite.options.published.Ref(name), Source: "registry"})
	}
	ready := time.Since(commandStarted())
	suite.summary.Phases = append(suite.summary.Phases, report.Phase{Name: report.FirstSpec, Seconds: ready.Seconds()})
	fmt.Fprintf(os.Stderr, "ready for the first spec after %s\n", ready.Round(time.Second))
	return g, nil
}

// examine has a cluster that was there looked at before anything is deployed in it.
func examine(ctx context.Context, g *ground) error {
	say := func(line string) { fmt.Fprintln(os.Stderr, line) }
	found := doctor.Await(ctx, doctor.New(g.cluster, g.prom.Unrecorded(), suite.options.manifests, suite.options.published), say)
	for _, f := range found {
		fmt.Fprintln(os.Stderr, f)
	}
	if doctor.Fatal(found) {
		return fmt.Errorf("%w: the cluster of %s is not as the suite needs it", cluster.ErrUsage, suite.options.kubeconfig)
	}
	return nil
}

func (g *ground) env() scenario.Env {
	e := scenario.Env{
		Config: g.cluster.Config, Kube: g.cluster.Kubernetes, Client: g.cluster.Client, Prom: g.prom,
		Manifests: suite.options.manifests, Fixtures: suite.options.fixtures, Prober: suite.options.published.Ref(image.Probe), Profile: suite.options.profile,
		Artifacts: suite.dir, Prefix: suite.options.prefix, Keep: suite.options.keep,
		NodeArgs: []string{"--mapek=" + suite.options.mapek}, Absent: suite.options.control == report.ControlAbsent,
	}
	e.Live, e.AbortOn, e.Abort = suite.live, suite.options.abortOn, func() { interrupt("a scenario is aborted") }
	if inLane() != "" {
		e.Turns = lane.Open(filepath.Join(suite.dir, turnsFile))
	}
	return e
}

// remove keeps what Prometheus knows and removes the cluster. It returns what it could not do.
func (g *ground) remove(ctx context.Context) (what string, err error) {
	if g.prom != nil && suite.dir != "" && inLane() == "" {
		err = g.prom.Dump(ctx, filepath.Join(suite.dir, "prometheus"), suite.started)
	}
	if suite.options.keep {
		return "leave the cluster", errors.Join(err, g.cluster.Leave())
	}
	return "remove the cluster", errors.Join(err, g.cluster.Down(ctx))
}

// rehearseWithin bounds the dry run of the fixtures.
const rehearseWithin = time.Minute

// rehearse has the cluster check every fixture before a mesh is deployed. One that it refuses makes
// the run end as a wrong flag does.
func rehearse(ctx context.Context, c *cluster.Cluster) error {
	ctx, cancel := context.WithTimeout(ctx, rehearseWithin)
	defer cancel()
	all, _, err := fault.LoadAll(suite.options.fixtures)
	if err == nil {
		err = fault.DryRun(ctx, c.Client.Resources().GetControllerRuntimeClient(), metav1.NamespaceDefault, all)
	}
	var refused *fault.FixtureError
	if errors.As(err, &refused) {
		suite.usage = err
	}
	return err
}

// commandStarted is when the command that a person typed began: the suite's runner
// says so in the environment; otherwise it is this process.
func commandStarted() time.Time {
	if t, err := time.Parse(time.RFC3339Nano, os.Getenv("E2E_STARTED")); err == nil {
		return t
	}
	return suite.started
}

// cleaned reports what could not be cleaned up as that: it says nothing about
// any criterion.
func cleaned(what string, err error) {
	if err != nil {
		AddReportEntry(report.EntryCleanup, what+": "+err.Error(), ReportEntryVisibilityAlways)
	}
}

// note remembers that a spec of the scenario has failed, and if the machine was to blame.
// It is an AfterEach of each container: a ReportAfterEach of the suite is lost after
// PreviewSpecs.
func note(ctx SpecContext) {
	defer tellVerdict()
	r := CurrentSpecReport()
	if !r.Failed() {
		return
	}
	suite.failed[report.ScenarioOf(r)] = true
	judged := slices.ContainsFunc(r.ReportEntries, func(e types.ReportEntry) bool { return e.Name == report.EntryInvalid })
	if current == nil || judged || r.State.Is(types.SpecStateInterrupted) {
		return
	}
	if why := current.Busy(ctx); why != "" {
		AddReportEntry(report.EntryInvalid, report.Reason{Why: why + "; otherwise failed: " + r.Failure.Message, Cause: report.CauseBusy}, ReportEntryVisibilityNever)
	}
}

var _ = ReportAfterSuite("artefacts", func(r Report) {
	if suite.dir == "" || suite.usage != nil { // nothing ran
		return
	}
	if inLane() != "" {
		suite.written = report.WriteSuite(laneReport(planned()[0]), r)
		return
	}
	suite.summary.Build(r, suite.selected)
	write(r)
	// go test must not answer the next time from its cache: it does not keep
	// the result of a test that looked at a file as young as this one.
	_, err := os.Stat(filepath.Join(suite.dir, "summary.json"))
	suite.written = errors.Join(suite.written, err)
})

// write writes the report of a run whose criteria are in the summary.
func write(r Report) {
	s := &suite.summary
	s.Version, s.Profile, s.Started = report.Version, suite.options.profile.Name, suite.started.UTC()
	s.Mapek, s.Control = suite.options.mapek, suite.options.control
	s.WallSeconds = time.Since(suite.started).Seconds()
	var err error
	s.Machine, err = report.ThisMachine()
	suite.written = errors.Join(err, report.Write(suite.dir, s, r))
	_, err = page.Write(suite.dir)
	suite.written = errors.Join(suite.written, err)
}
