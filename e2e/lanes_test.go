package e2e

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
)

// Most of a scenario is waiting: for a fault to end, for an alert, for pods to go. In
// lanes scenarios wait side by side. This process makes the cluster and runs each scenario
// in a process of its own; the report is made of what they report.

const (
	// laneVariable tells a lane's process the directory of the run.
	laneVariable = "E2E_LANE"
	// laneFile is what a lane's process has open for as long as it needs its lane.
	laneFile = 3
	// turnsFile is the book of turns in it.
	turnsFile = "turns"
)

// inLane returns the directory of the run of which this process judges one scenario.
func inLane() string { return os.Getenv(laneVariable) }

// laneReport is the file in which a scenario's process leaves its report.
func laneReport(sc *scenario.Scenario) string {
	return filepath.Join(suite.dir, sc.Name, "ginkgo.json")
}

// leaveLane gives the lane to the next scenario: what is left to do here is to wait.
func leaveLane() {
	if inLane() != "" {
		_ = os.NewFile(laneFile, "lane").Close()
	}
}

// lanes returns how many scenarios run side by side. There is one lane for a single
// scenario, and where somebody else, as the ginkgo command, runs several processes.
func lanes() int {
	config, _ := GinkgoConfiguration()
	if inLane() != "" || config.DryRun || config.ParallelTotal > 1 {
		return 1
	}
	return min(suite.options.lanes, len(planned()))
}

// planned are the scenarios that are selected, those that take longest first.
func planned() []*scenario.Scenario {
	all := slices.DeleteFunc(slices.Clone(scenarios), func(sc *scenario.Scenario) bool { return len(specsOf(sc)) == 0 })
	slices.SortStableFunc(all, func(a, b *scenario.Scenario) int { return cmp.Compare(b.Takes, a.Takes) })
	return all
}

// specsOf are a scenario's selected specs.
func specsOf(sc *scenario.Scenario) []types.SpecReport {
	return slices.DeleteFunc(slices.Clone(suite.selected), func(s types.SpecReport) bool { return report.ScenarioOf(s) != sc.Name })
}

// inLanes runs the selected scenarios, so many at a time, and returns the exit code.
func inLanes(n int) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if limit, ok := flag.Lookup("test.timeout").Value.(flag.Getter).Get().(time.Duration); ok && limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit-reserve, errors.New("the time is nearly up (-test.timeout)"))
		defer cancel()
	}
	s := &suite.summary
	whole := types.Report{SuiteDescription: suiteName}
	code := report.ExitPassed
	setUp, cancel := context.WithTimeout(ctx, setUpWithin)
	defer cancel()
	g, err := newGround(setUp)
	if err == nil {
		all := planned()
		runs := make([]laneRun, len(all))
		free := make(chan struct{}, n) // lanes that are taken
		var work sync.WaitGroup
		for i, sc := range all {
			free <- struct{}{}
			leave := sync.OnceFunc(func() { <-free })
			work.Go(func() {
				defer leave()
				runs[i] = judge(ctx, sc, g.cluster.Kubeconfig, leave)
			})
		}
		work.Wait()
		for i, r := range runs {
			s.Build(r.report, specsOf(all[i]))
			whole.SpecReports = append(whole.SpecReports, r.report.SpecReports...)
			if r.err != nil {
				s.Cleanup = append(s.Cleanup, fmt.Sprintf("scenario %s: %v", all[i].Name, r.err))
			}
			code = max(code, r.code)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = report.ExitInvalid
	}
	if g != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpWithin)
		defer cancel()
		if what, err := g.remove(ctx); err != nil {
			s.Cleanup = append(s.Cleanup, what+": "+err.Error())
		}
	}
	if suite.usage == nil && suite.dir != "" {
		write(whole)
	}
	return code
}

// laneRun is what a scenario's own process leaves.
type laneRun struct {
	report types.Report
	code   int
	err    error // why there is no report, or not the whole
}

// judge runs one scenario in a process of its own, and calls leave when that needs its
// lane no more. Its output is kept, and shown if it is of interest: those of several at a
// time cannot be read.
func judge(ctx context.Context, sc *scenario.Scenario, kubeconfig string, leave func()) laneRun {
	if ctx.Err() != nil {
		return laneRun{code: report.ExitInvalid, err: context.Cause(ctx)}
	}
	began := time.Now()
	fmt.Fprintf(os.Stderr, "%s begins\n", sc.Name)
	output, err := runLane(ctx, sc, kubeconfig, leave)
	var r laneRun
	if exit := new(exec.ExitError); errors.As(err, &exit) && exit.ExitCode() > 0 {
		r.code, err = exit.ExitCode(), nil
	}
	r.report, r.err = report.ReadSuite(laneReport(sc))
	if r.err = errors.Join(err, r.err); r.err != nil {
		r.code = max(r.code, report.ExitInvalid)
	}
	_, reporter := GinkgoConfiguration()
	how := "passed"
	if r.code != 0 {
		how = "did not pass"
	}
	if r.code != 0 || reporter.Verbosity().GTE(types.VerbosityLevelVerbose) {
		_, _ = os.Stderr.Write(output)
	}
	fmt.Fprintf(os.Stderr, "%s %s after %s\n", sc.Name, how, time.Since(began).Round(time.Second))
	return r
}

// runLane runs the process of one scenario to its end and returns what it has printed.
// When ctx ends it is asked to clean up.
func runLane(ctx context.Context, sc *scenario.Scenario, kubeconfig string, leave func()) (output []byte, err error) {
	runtime.LockOSThread() // Pdeathsig is about the thread
	defer runtime.UnlockOSThread()
	dir := filepath.Dir(laneReport(sc))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, laneArgs(sc, kubeconfig)...)
	cmd.Env = append(os.Environ(), laneVariable+"="+suite.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = cleanUpWithin
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer read.Close()
	cmd.ExtraFiles = []*os.File{write} // laneFile
	err = cmd.Start()
	_ = write.Close()
	if err == nil {
		go func() {
			_, _ = read.Read(make([]byte, 1)) // until it is closed there, at the latest by the process's end
			leave()
		}()
		err = cmd.Wait()
	}
	output = out.Bytes()
	return output, errors.Join(err, os.WriteFile(filepath.Join(dir, "output.log"), output, 0o644))
}

// laneArgs are the arguments of a lane's process: those of this one, but for one scenario.
func laneArgs(sc *scenario.Scenario, kubeconfig string) []string {
	config, _ := GinkgoConfiguration()
	own := map[string]string{
		"test.timeout":        "0", // this process sees to it
		"ginkgo.label-filter": fmt.Sprintf("(%s) && %s", config.LabelFilter, only(sc)),
		flagKubeconfig:        kubeconfig,
	}
	var args []string
	flag.Visit(func(f *flag.Flag) {
		if _, ok := own[f.Name]; !ok && !slices.Contains(ofTheWhole, f.Name) {
			args = append(args, "-"+f.Name+"="+f.Value.String())
		}
	})
	for name, value := range own {
		args = append(args, "-"+name+"="+value)
	}
	return args
}

// only is the label filter of one scenario: others may have its name among their labels.
func only(sc *scenario.Scenario) string {
	filter := sc.Name
	for _, other := range scenarios {
		if other != sc && other.Is(sc.Name) {
			filter += " && !" + other.Name
		}
	}
	return filter
}

// ofTheWhole are flags of the whole run, which make no sense for a part of it.
var ofTheWhole = []string{"test.testlogfile", "test.coverprofile", "test.gocoverdir", "ginkgo.json-report", "ginkgo.junit-report", "ginkgo.teamcity-report"}
