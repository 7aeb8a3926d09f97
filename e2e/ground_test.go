package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	. "github.com/onsi/ginkgo/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/x0tta6bl4/mesh/e2e/ground/cluster"
	"github.com/x0tta6bl4/mesh/e2e/ground/fault"
	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
)

var _ = BeforeSuite(func(ctx SpecContext) {
	c, err := cluster.Up(ctx, cluster.Options{
		Kubeconfig: suite.options.kubeconfig,
		Log:        os.Stderr,
		OnPhase: func(name string, d time.Duration) {
			suite.summary.Phases = append(suite.summary.Phases, report.Phase{Name: name, Seconds: d.Seconds()})
		},
	})
	if c != nil { // also if only a part of it was made
		DeferCleanup(func(ctx SpecContext) {
			if suite.options.keep {
				cleaned("leave the cluster", c.Leave())
			} else {
				cleaned("remove the cluster", c.Down(ctx))
			}
		}, NodeTimeout(cleanUpWithin))
	}
	if errors.Is(err, cluster.ErrUsage) {
		suite.usage = err
	} else {
		var dirErr error
		suite.dir, dirErr = report.NewDir(suite.options.artifacts, suite.started)
		verdict.Must(dirErr)
	}
	verdict.Must(err)
	verdict.Must(rehearse(ctx, c))
	for _, i := range c.Images {
		suite.summary.Images = append(suite.summary.Images, report.Image{Name: i.Name, Digest: i.Digest, Source: i.Source})
	}

	p, err := prom.New(c.Config, c.Prometheus)
	verdict.Must(err)
	verdict.Must(p.Ready(ctx))
	DeferCleanup(func(ctx SpecContext) {
		cleaned("keep a copy of Prometheus' data", p.Dump(ctx, filepath.Join(suite.dir, "prometheus"), suite.started))
	}, NodeTimeout(cleanUpWithin))

	suite.env = scenario.Env{
		Config: c.Config, Kube: c.Kubernetes, Client: c.Client, Prom: p,
		Manifests: suite.options.manifests, Fixtures: suite.options.fixtures, Profile: suite.options.profile,
		Artifacts: suite.dir, Prefix: suite.options.prefix, Keep: suite.options.keep,
		NodeArgs: []string{"--mapek=" + suite.options.mapek},
	}
	DeferCleanup(func(ctx SpecContext) { cleaned("remove meshes that no scenario took", removeMade(ctx)) }, NodeTimeout(cleanUpWithin))
	ready := time.Since(commandStarted())
	suite.summary.Phases = append(suite.summary.Phases, report.Phase{Name: "from the command to the first spec", Seconds: ready.Seconds()})
	fmt.Fprintf(os.Stderr, "ready for the first spec after %s\n", ready.Round(time.Second))
}, NodeTimeout(setUpWithin))

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

// note remembers that a spec of the scenario has failed. It is an AfterEach of
// each container: a ReportAfterEach of the suite is lost after PreviewSpecs.
func note() {
	if r := CurrentSpecReport(); r.Failed() {
		suite.failed[report.ScenarioOf(r)] = true
	}
}

var _ = ReportAfterSuite("artefacts", func(r Report) {
	if suite.dir == "" || suite.usage != nil { // nothing ran
		return
	}
	s := &suite.summary
	s.Version, s.Profile, s.Started = report.Version, suite.options.profile.Name, suite.started.UTC()
	s.Mapek = suite.options.mapek
	s.WallSeconds = time.Since(suite.started).Seconds()
	var err error
	s.Machine, err = report.ThisMachine()
	s.Build(r, suite.selected)
	suite.written = errors.Join(err, report.Write(suite.dir, s, r))
	// go test must not answer the next time from its cache: it does not keep
	// the result of a test that looked at a file as young as this one.
	_, err = os.Stat(filepath.Join(suite.dir, "summary.json"))
	suite.written = errors.Join(suite.written, err)
})
