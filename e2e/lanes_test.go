package e2e

import (
	"bytes"
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
	"sync/atomic"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"

	"github.com/x0tta6bl4/mesh/e2e/ground/image"
	"github.com/x0tta6bl4/mesh/e2e/ground/lane"
	"github.com/x0tta6bl4/mesh/e2e/judge/live"
	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
)

// Most of a scenario is waiting: for a fault to end, for an alert, for pods to go. In
// lanes scenarios wait side by side. This process makes the cluster and runs each scenario
// in a process of its own; the report is made of what they report.

const (
	// laneVariable tells a lane's process the directory of the run.
	laneVariable = "E2E_LANE"
	// eventsFile is where a lane's process tells what happens.
	eventsFile = 3
	// tellsWithin is how long a scenario waits at most for somebody to read an event.
	tellsWithin = 100 * time.Millisecond
	// turnsFile is the book of turns in it.
	turnsFile = "turns"
)

// inLane returns the directory of the run of which this process judges one scenario.
func inLane() string { return os.Getenv(laneVariable) }

// laneReport is the file in which a scenario's process leaves its report.
func laneReport(sc *scenario.Scenario) string {
	return filepath.Join(suite.dir, sc.Name, "ginkgo.json")
}

// lanes returns how many scenarios run side by side. There is none where this process is to
// judge itself: in a lane, where somebody else, as the ginkgo command, runs several
// processes, and where Ginkgo's own output is wanted of one scenario at a time.
func lanes() int {
	config, _ := GinkgoConfiguration()
	n := min(suite.options.lanes, len(planned()))
	if inLane() != "" || config.DryRun || config.ParallelTotal > 1 || n == 1 && ginkgosOwn() {
		return 0
	}
	return n
}

// planned are the scenarios that are selected: those that must be alone, while all lanes are
// free, and then those that take longest first.
func planned() []*scenario.Scenario {
	all := slices.DeleteFunc(slices.Clone(scenarios), func(sc *scenario.Scenario) bool { return len(specsOf(sc)) == 0 })
	slices.SortStableFunc(all, func(a, b *scenario.Scenario) int {
		return lane.Need{Alone: a.Alone, Takes: a.Takes}.Compare(lane.Need{Alone: b.Alone, Takes: b.Takes})
	})
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
		pool := lane.NewPool(n)
		view := show(all)
		var work sync.WaitGroup
		for i, sc := range all {
			place := pool.Take(sc.Alone)
			work.Go(func() {
				defer place.End()
				runs[i] = judge(ctx, sc, g.cluster.Kubeconfig, place.Lane(), view)
			})
		}
		work.Wait()
		view.Close()
		for i, r := range runs {
			s.Build(r.report, specsOf(all[i]))
			if !r.began.IsZero() {
				s.Ran(all[i].Name, r.lane, r.began, r.ended)
			}
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

	lane         int
	began, ended time.Time // zero: it never began
}

// judge runs one scenario in a process of its own. Its output is kept, and shown if it is of
// interest: those of several at a time cannot be read.
func judge(ctx context.Context, sc *scenario.Scenario, kubeconfig string, lane int, view live.View) laneRun {
	if ctx.Err() != nil {
		return laneRun{code: report.ExitInvalid, err: context.Cause(ctx)}
	}
	r := laneRun{lane: lane, began: time.Now()}
	begins := live.Event{Kind: live.Begins, At: r.began, Scenario: sc.Name, Lane: lane}
	for _, s := range specsOf(sc) {
		begins.Criteria = append(begins.Criteria, live.Criterion{ID: report.ID(s), Bar: barOf(sc, report.ID(s))})
	}
	view.Send(begins)
	told := map[string]live.Criterion{} // how criteria were judged, by what the scenario tells
	output, err := runLane(ctx, sc, kubeconfig, func(e live.Event) {
		if e.Criterion != nil && e.Kind == live.Judged {
			if e.Criterion.Bar == "" {
				e.Criterion.Bar = barOf(sc, e.Criterion.ID)
			}
			told[e.Criterion.ID] = *e.Criterion
		}
		if !ginkgosOwn() {
			view.Send(e)
		}
	})
	if exit := new(exec.ExitError); errors.As(err, &exit) && exit.ExitCode() > 0 {
		r.code, err = exit.ExitCode(), nil
	}
	r.report, r.err = report.ReadSuite(laneReport(sc))
	if r.err = errors.Join(err, r.err); r.err != nil {
		r.code = max(r.code, report.ExitInvalid)
	}
	r.ended = time.Now()
	// The report has the last word, and all of those that were never judged.
	var judged report.Summary
	judged.Build(r.report, specsOf(sc))
	for _, c := range judged.Scenarios[0].Criteria {
		if last := live.CriterionOf(c, barOf(sc, c.ID)); told[c.ID] != last && !ginkgosOwn() {
			view.Send(live.Event{Kind: live.Judged, At: r.ended, Scenario: sc.Name, Criterion: &last})
		}
	}
	how := "passed"
	show := r.code != 0
	switch {
	case judged.Scenarios[0].Aborted != nil:
		how, show = "was aborted", false // Ginkgo's word on an interruption is a thousand lines of goroutines
	case r.code != 0:
		how = "did not pass"
	}
	if show || ginkgosOwn() {
		_, _ = view.Write(output)
	}
	view.Send(live.Event{Kind: live.Ends, At: r.ended, Scenario: sc.Name, Text: fmt.Sprintf("%s after %s", how, r.ended.Sub(r.began).Round(time.Second))})
	return r
}

// runLane runs the process of one scenario to its end and returns what it has printed.
// When ctx ends it is asked to clean up, unless it does so already. What it tells goes to
// take, in another goroutine that is over when this returns.
func runLane(ctx context.Context, sc *scenario.Scenario, kubeconfig string, take func(live.Event)) (output []byte, err error) {
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
	cmd := exec.CommandContext(ctx, self, laneArgs(flag.CommandLine, sc, kubeconfig, suite.options.published)...)
	cmd.Env = append(os.Environ(), laneVariable+"="+suite.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	var aborted atomic.Bool
	cmd.Cancel = func() error {
		if aborted.Load() { // a second interrupt would end its clean-up
			return nil
		}
		return cmd.Process.Signal(os.Interrupt)
	}
	cmd.WaitDelay = cleanUpWithin
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	events, tell, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer events.Close()
	cmd.ExtraFiles = []*os.File{tell} // eventsFile
	err = cmd.Start()
	_ = tell.Close()
	if err == nil {
		var reader sync.WaitGroup
		reader.Go(func() {
			live.Read(events, func(e live.Event) {
				if e.Kind == live.Aborted {
					aborted.Store(true)
				}
				take(e)
			})
		})
		defer reader.Wait()
		// A process that it has left may have the other end open still.
		defer func() { _ = events.SetReadDeadline(time.Now().Add(tellsWithin)) }()
		err = cmd.Wait()
	}
	output = out.Bytes()
	return output, errors.Join(err, os.WriteFile(filepath.Join(dir, report.Output), output, 0o644))
}

// laneArgs are the arguments of a lane's process: this one's flags, but for one scenario in the
// cluster that is there.
func laneArgs(flags *flag.FlagSet, sc *scenario.Scenario, kubeconfig string, published image.Published) []string {
	config, _ := GinkgoConfiguration()
	own := map[string]string{
		"test.timeout":        "0", // this process sees to it
		"ginkgo.label-filter": fmt.Sprintf("(%s) && %s", config.LabelFilter, only(sc)),
		flagKubeconfig:        kubeconfig,
		flagImages:            published.String(), // as they were when the run began
	}
	var args []string
	flags.Visit(func(f *flag.Flag) {
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
var ofTheWhole = []string{"test.testlogfile", "test.coverprofile", "test.gocoverdir", "ginkgo.json-report", "ginkgo.junit-report", "ginkgo.teamcity-report", flagFamily, flagMTU}
