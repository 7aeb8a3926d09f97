// Package e2e verifies the mesh's self-healing in a real cluster, under real
// faults of Chaos Mesh, by criteria that read Prometheus and the nodes'
// journals.
//
//	go test ./e2e -profile full -ginkgo.label-filter network-partition -args -artifacts DIR
//
// Exit codes: 0 all criteria passed, 1 one failed or something was left
// behind, or the run broke off, 2 usage or a missing requirement, 3 invalid:
// nothing can be concluded, 4 a scenario was aborted (-abort-on) and nothing
// failed, 5 a control: nothing was done to the mesh.
package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
	. "github.com/onsi/gomega"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/x0tta6bl4/mesh/e2e/ground/cluster"
	"github.com/x0tta6bl4/mesh/e2e/judge/live"
	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/report/page"
	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
)

const (
	suiteName = "x0tta6bl4 self-healing"

	// setUpWithin bounds the making of the cluster, cleanUpWithin the removal
	// of all that the run made.
	setUpWithin   = 30 * time.Minute
	cleanUpWithin = 3 * time.Minute
)

// suite is what the nodes of this process share.
var suite struct {
	options  options
	started  time.Time
	dir      string // of the artefacts of this run
	env      scenario.Env
	live     *live.Sender // to who shows the run; nil: nobody does
	summary  report.Summary
	selected []types.SpecReport // the specs that the filters leave
	failed   map[string]bool    // scenarios with a failed spec
	usage    error              // makes the run end with report.ExitUsage
	written  error              // why the report is not whole
	// signalled ends when this process is told to stop, while Ginkgo judges.
	signalled context.Context
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
	if suite.options.list {
		if err := list(os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "e2e:", err)
			return report.ExitFailed
		}
		return report.ExitPassed
	}
	if suite.options.judge != "" {
		code, err := judgeRun(context.Background(), os.Stdout, suite.options.judge)
		if err != nil {
			fmt.Fprintln(os.Stderr, "e2e:", err)
		}
		return code
	}
	if suite.options.byHand {
		code, err := faultByHand(os.Stdout)
		if err != nil {
			fmt.Fprintln(os.Stderr, "e2e:", err)
		}
		return code
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
	code := 0
	if n := lanes(); n > 0 {
		code = inLanes(n)
	} else {
		suite.live = toDriver()
		code = m.Run()
	}
	if suite.usage != nil {
		fmt.Fprintln(os.Stderr, "e2e:", suite.usage)
		return report.ExitUsage
	}
	if suite.dir == "" || GinkgoParallelProcess() > 1 || inLane() != "" { // TestE2E did not run, or only dry; or another process reports for all
		return code
	}
	// After all that Ginkgo has to say: what failed, and why, is read at the end.
	if err := errors.Join(suite.written, report.Publish(os.Stdout, &suite.summary, suite.dir, os.Getenv)); err != nil {
		fmt.Fprintln(os.Stderr, "e2e: the report is not whole:", err)
		return max(code, report.ExitFailed)
	}
	fmt.Printf("report: %s\n", filepath.Join(suite.dir, page.File))
	return report.Exit(suite.summary.ExitCode(), code)
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
