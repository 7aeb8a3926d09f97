// Package e2e verifies the mesh's self-healing in a real cluster, under real
// faults of Chaos Mesh, by criteria that read Prometheus and the nodes'
// journals.
//
//	go test ./e2e -profile full -ginkgo.label-filter network-partition -args -artifacts DIR
//
// Exit codes: 0 all criteria passed, 1 one failed or something was left
// behind, 2 usage or a missing requirement, 3 invalid: nothing can be
// concluded.
package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/x0tta6bl4/mesh/e2e/ground/cluster"
	"github.com/x0tta6bl4/mesh/e2e/ground/fault"
	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
)

const (
	suiteName = "x0tta6bl4 self-healing"

	// setUpWithin bounds the making of the cluster, cleanUpWithin the removal
	// of all that the run made.
	setUpWithin   = 30 * time.Minute
	cleanUpWithin = 3 * time.Minute
	// preflightWithin bounds finding out whether a cluster can be made.
	preflightWithin = 2 * time.Minute
	// rehearseWithin bounds the dry run of the fixtures.
	rehearseWithin = time.Minute
	// reserve is how long before the test binary's own deadline the suite
	// stops, so that it can still clean up: Go's deadline kills without.
	reserve = 30 * time.Second
)

// suite is what the nodes of this process share.
var suite struct {
	options  options
	started  time.Time
	dir      string // of the artefacts of this run
	env      scenario.Env
	summary  report.Summary
	selected []types.SpecReport // the specs that the filters leave
	failed   map[string]bool    // scenarios with a failed spec
	usage    error              // makes the run end with report.ExitUsage
	written  error              // why the report is not whole
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	suite.options.register(flag.CommandLine)
	flag.Parse()
	if testing.Short() || listing() {
		return m.Run()
	}
	suite.started = time.Now()
	suite.failed = map[string]bool{}
	if err := suite.options.check(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return report.ExitUsage
	}
	if suite.options.checkOnly {
		return report.ExitPassed
	}
	if err := preflight(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		if errors.Is(err, cluster.ErrUsage) {
			return report.ExitUsage
		}
		return report.ExitFailed
	}
	code := m.Run()
	if suite.usage != nil {
		fmt.Fprintln(os.Stderr, "e2e:", suite.usage)
		return report.ExitUsage
	}
	if suite.dir == "" || GinkgoParallelProcess() > 1 { // TestE2E did not run, or only dry; or the first process reports for all
		return code
	}
	// After all that Ginkgo has to say: what failed, and why, is read at the end.
	if err := errors.Join(suite.written, report.Table(os.Stdout, &suite.summary, suite.dir)); err != nil {
		fmt.Fprintln(os.Stderr, "e2e: the report is not whole:", err)
		return max(code, report.ExitFailed)
	}
	return report.Exit(suite.summary.ExitCode(), code)
}

// preflight sees whether a cluster can be made, where one is to be made.
func preflight() error {
	if config, _ := GinkgoConfiguration(); config.DryRun || suite.options.kubeconfig != "" {
		return nil
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, preflightWithin)
	defer cancel()
	return cluster.Preflight(ctx)
}

// listing tells whether go test was only asked which tests there are.
func listing() bool {
	f := flag.Lookup("test.list")
	return f != nil && f.Value.String() != ""
}

func TestE2E(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a cluster, and -short asks for none")
	}
	RegisterFailHandler(Fail)
	klog.SetLogger(GinkgoLogr) // what client libraries say belongs to the spec
	ctrllog.SetLogger(GinkgoLogr)
	suiteConfig, reporterConfig := GinkgoConfiguration()
	suiteConfig.FailOnPending, suiteConfig.FailOnEmpty = true, true
	defer stopInTime(t, &suiteConfig).Stop()
	RunSpecs(t, suiteName, suiteConfig, reporterConfig)
}

// stopInTime interrupts the suite before its own time limit and Go's, so that
// it can clean up: Go's kills without, and after Ginkgo's the cleanup of an
// ordered container that was under way does not run, while after an interrupt
// it does.
func stopInTime(t *testing.T, c *types.SuiteConfig) *time.Timer {
	left := c.Timeout
	if deadline, ok := t.Deadline(); ok {
		left = min(left, time.Until(deadline)-reserve)
	}
	c.Timeout = 0
	return time.AfterFunc(left, func() {
		fmt.Fprintln(os.Stderr, "e2e: the time is nearly up (-test.timeout): stopping now, to clean up")
		if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
			fmt.Fprintln(os.Stderr, "e2e: cannot interrupt the suite:", err)
		}
	})
}

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

// current is the scenario under way in this process.
var current *scenario.Run

// begin starts a scenario: a fresh mesh, and the proof that it is well. What goes wrong
// up to there makes the scenario invalid.
func begin(ctx SpecContext, sc *scenario.Scenario) *scenario.Run {
	GinkgoHelper()
	current = nil
	m, err := take(sc)
	verdict.Must(err)
	s := m.run
	current = s
	DeferCleanup(func(ctx SpecContext) {
		m.stop()
		finish(ctx, s)
	}, NodeTimeout(scenario.WaitCollect+scenario.WaitCleanup))
	verdict.Must(verdict.Phase(sc.Name+": mesh", func() error { return m.wait(ctx) }))
	verdict.Must(verdict.Phase(sc.Name+": until it is well", func() error { return s.Settle(ctx) }))
	return s
}

// observe waits until there is a baseline to compare with: so many critical
// verifications of each node.
func observe(ctx SpecContext, s *scenario.Run, least int) {
	GinkgoHelper()
	verdict.Must(verdict.Phase(s.Name+": baseline", func() error { return s.Observe(ctx, least) }))
}

// disturb injects a fault and proves that it bites. What goes wrong up to there
// makes the scenario invalid.
func disturb[F any](ctx SpecContext, s *scenario.Run, inject func(context.Context, string) (F, error), fixture string) F {
	GinkgoHelper()
	var f F
	verdict.Must(verdict.Phase(s.Name+": inject "+fixture, func() (err error) {
		f, err = inject(ctx, fixture)
		return err
	}))
	return f
}

// heal waits until a fault is over.
func heal(ctx SpecContext, e *scenario.Episode) {
	GinkgoHelper()
	if e.Healed() {
		return
	}
	verdict.Must(verdict.Phase(e.Name+": until it is over", func() error { return e.AwaitHeal(ctx) }))
}

// remove takes the fault back and looks for what it left, then removes the
// mesh and looks again.
func remove(ctx SpecContext, s *scenario.Run) (left []string, err error) {
	err = verdict.Phase(s.Name+": withdraw", func() error {
		left, err = s.Withdraw(ctx)
		return err
	})
	if err != nil {
		return left, err
	}
	err = verdict.Phase(s.Name+": remove", func() error {
		more, err := s.Remove(ctx)
		left = append(left, more...)
		return err
	})
	return left, err
}

// finish keeps what can be known of a scenario and removes it. It runs in a
// context of its own, also after a failure, a panic or an interrupt.
func finish(ctx SpecContext, s *scenario.Run) {
	AddReportEntry(report.EntryFault, s.Fault(), ReportEntryVisibilityNever)
	collect(ctx, s)
	if kept(s) {
		fmt.Fprintf(os.Stderr, "e2e: kept for you to look at: namespace %s\n", s.Mesh.Namespace)
		return
	}
	left, err := s.Remove(ctx)
	for _, l := range left {
		err = errors.Join(err, errors.New(l))
	}
	cleaned("remove scenario "+s.Name, err)
}

// collect keeps what can be known of a scenario. What cannot be had is said,
// and is no verdict on the mesh.
func collect(ctx SpecContext, s *scenario.Run) {
	if err := s.Collect(ctx); err != nil {
		AddReportEntry("artefacts are missing", err.Error(), ReportEntryVisibilityFailureOrVerbose)
	}
}

// kept tells whether a scenario is to be left as it is.
func kept(s *scenario.Run) bool {
	return suite.options.keep && (suite.failed[s.Name] || CurrentSpecReport().Failed())
}
