package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/ground/engine"
	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

const (
	// abortScenario is run, and abortFault is how long its first fault lasts by itself.
	abortScenario = "network-partition"
	abortFault    = time.Minute
	// abortOn becomes true ten seconds after a node has found the partition: the fault is proven by then.
	abortOn = `max(x0tta6bl4_mapek_anomalies_detected{namespace="$namespace",type="network_partition"} offset 10s) > 0`
	// takenBackWithin is how long it may take from the expression's answer until Chaos Mesh has recovered every pod.
	takenBackWithin = 20 * time.Second
	// whatIsLeft names the faults and the meshes of scenarios that are in a cluster. The mesh to play with is none of them.
	whatIsLeft = kubectl + "get networkchaos -A -o name && " + kubectl + "get namespaces -l 'x0tta6bl4.test/scenario,x0tta6bl4.test/scenario!=x0tta6bl4' -o name"
)

// aborted is what came of a run that was to be aborted.
type aborted struct {
	ExitCode int `json:"exit_code"`
	// After and TakenBack are seconds: from the fault's injection to the abort, and from there until the fault was taken back.
	After     float64  `json:"after"`
	TakenBack float64  `json:"taken_back"`
	Wrong     []string `json:"wrong"`
}

// abortRun runs a scenario that -abort-on ends in the middle of its fault, and sees that the fault was taken back at once,
// that what was not judged is aborted, and that nothing is left.
func abortRun(ctx context.Context, args []string) (int, error) {
	if len(args) > 0 {
		return exitUsage, fmt.Errorf("abort: unexpected argument %q", args[0])
	}
	s, err := open()
	if err != nil {
		return exitFailed, err
	}
	defer s.close()
	var a aborted
	err = s.inKept(ctx, func(e *engine.Engine, suite string) error {
		all, err := s.scenarios(ctx, suite)
		if err != nil {
			return err
		}
		alone, err := filter(all, abortScenario)
		if err != nil {
			return err
		}
		dir := filepath.Join(s.project, "artifacts", "abort")
		summary, _, code, err := s.concluded(ctx, suite, dir, "-profile", "full", "-abort-on="+abortOn, "-ginkgo.label-filter="+alone)
		if err != nil {
			return err
		}
		a = asAborted(summary, code)
		plane, err := planeOf(ctx, e)
		if err != nil {
			return err
		}
		left, err := e.Output(ctx, "exec", plane, "sh", "-c", whatIsLeft)
		if err != nil {
			return err
		}
		for _, what := range strings.Fields(left) {
			a.Wrong = append(a.Wrong, "left in the cluster: "+what)
		}
		return nil
	})
	if err != nil {
		return s.code(err)
	}
	said := s.tell("abort", a, func(w io.Writer) {
		fmt.Fprintf(w, "aborted\t%.1f s after the injection\ntaken back\t%.1f s after that\nexit code\t%d\n", a.After, a.TakenBack, a.ExitCode)
		for _, what := range a.Wrong {
			fmt.Fprintf(w, "wrong\t%s\n", what)
		}
	})
	if len(a.Wrong) > 0 {
		return exitFailed, errors.Join(errors.New("the scenario was not aborted as it must be"), said)
	}
	return 0, said
}

// asAborted holds what a run concluded, and its exit code, against what must be of one that is aborted in its fault.
func asAborted(s *report.Summary, code int) aborted {
	a := aborted{ExitCode: code}
	wrong := func(format string, args ...any) { a.Wrong = append(a.Wrong, fmt.Sprintf(format, args...)) }
	if code != report.ExitAborted {
		wrong("the exit code is %d, not %d", code, report.ExitAborted)
	}
	for _, what := range s.Cleanup {
		wrong("not cleaned up: %s", what)
	}
	if len(s.Scenarios) != 1 || s.Scenarios[0].Name != abortScenario || s.Scenarios[0].Aborted == nil {
		wrong("the scenario %s, and it alone, was to be aborted", abortScenario)
		return a
	}
	sc := s.Scenarios[0]
	n := sc.Count()
	if unjudged := len(sc.Criteria) - n[report.Passed]; n[report.Aborted] == 0 || n[report.Aborted] != unjudged {
		wrong("%d criteria are aborted, of %d that have not passed", n[report.Aborted], unjudged)
	}
	f, at := sc.Fault, sc.Aborted.At
	switch {
	case f.Injected == nil || f.Proven == nil || at.Before(*f.Proven):
		wrong("it was aborted before its fault was proven")
	case f.Recovered == nil:
		wrong("its fault was never taken back")
	default:
		a.After, a.TakenBack = at.Sub(*f.Injected).Seconds(), f.Recovered.Sub(at).Seconds()
		if took := f.Recovered.Sub(at); took < 0 || took > takenBackWithin {
			wrong("its fault was taken back %v after the abort, at most %v is allowed", took.Round(time.Millisecond), takenBackWithin)
		}
		if lasted := f.Recovered.Sub(*f.Injected); lasted >= abortFault {
			wrong("its fault lasted for %v: it was over by itself", lasted.Round(time.Second))
		}
	}
	return a
}
