package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/control"
	"github.com/x0tta6bl4/mesh/e2e/ground/cluster/remains"
	"github.com/x0tta6bl4/mesh/e2e/ground/engine"
	"github.com/x0tta6bl4/mesh/fixtures"
)

// breakage is a part of the harness that goes out of order while a scenario is judged.
type breakage struct {
	name, scenario string
	// do and undo are shell scripts for every node of the cluster, or for its control plane.
	everywhere bool
	do, undo   string
}

// kubectl is how a control-plane node talks to its API server.
const kubectl = "kubectl --kubeconfig=/etc/kubernetes/admin.conf "

var breakages = []breakage{
	{name: "Prometheus is stopped", scenario: "network-partition",
		do: kubectl + "-n monitoring scale deployment prometheus --replicas=0", undo: kubectl + "-n monitoring scale deployment prometheus --replicas=1 && " + kubectl + "-n monitoring rollout status deployment prometheus --timeout=90s"},
	{name: "a prober is killed", scenario: "network-partition", everywhere: true,
		do: "pkill -KILL -x -n probe || true"},
}

// controls runs the scenarios where the mesh cannot pass, and wants every criterion to say
// so.
func controls(ctx context.Context, args []string) (int, error) {
	flags := flag.NewFlagSet("controls", flag.ContinueOnError)
	cells := flags.String("cells", "O,E,H", "comma-separated `cells` to run: "+string(control.LoopOff+","+control.Empty+","+control.Harness))
	profile := flags.String("profile", "quick", "as of run")
	if err := flags.Parse(args); err != nil {
		return exitUsage, err
	}
	for _, c := range fields(*cells) {
		if !slices.Contains([]control.Cell{control.LoopOff, control.Empty, control.Harness}, control.Cell(c)) {
			return exitUsage, fmt.Errorf("-cells: there is no cell %q, or nothing runs it yet", c)
		}
	}
	s, err := open()
	if err != nil {
		return exitFailed, err
	}
	defer s.close()
	score := control.Score{Commit: commit(s.project)}
	err = s.inKept(ctx, func(e *engine.Engine, suite string) error {
		for _, c := range fields(*cells) {
			results, err := s.cell(ctx, e, suite, *profile, control.Cell(c))
			if err != nil {
				return fmt.Errorf("cell %s: %w", c, err)
			}
			score.Results = append(score.Results, results...)
		}
		return nil
	})
	code, err := s.code(err)
	var table error
	said := s.tell("controls", score, func(w io.Writer) { table = score.Table(w) })
	if code == 0 && score.Sound() < len(score.Results) {
		code = exitFailed
	}
	return code, errors.Join(err, said, table)
}

// cell runs the scenarios of one cell.
func (s *session) cell(ctx context.Context, e *engine.Engine, suite, profile string, c control.Cell) ([]control.Result, error) {
	dir := filepath.Join(s.project, "artifacts", "controls", string(c))
	args := []string{"-profile", profile, "-abort-on=off"} // what must fail here must not end it
	switch c {
	case control.LoopOff:
		summary, _, err := s.judged(ctx, suite, dir, append(args, "-mapek=off", "-ginkgo.label-filter="+strings.Join(control.Scenarios(), " || "))...)
		if err != nil {
			return nil, err
		}
		return control.Judge(c, "", summary, control.Scenarios()...), nil
	case control.Empty:
		empty, err := os.MkdirTemp("", "fixtures")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(empty)
		if err := control.EmptyFixtures(fixtures.FS, empty); err != nil {
			return nil, err
		}
		summary, _, err := s.judged(ctx, suite, dir, append(args, "-fixtures", empty, "-ginkgo.label-filter="+strings.Join(control.Emptied(), " || "))...)
		if err != nil {
			return nil, err
		}
		return control.Judge(c, "", summary, control.Emptied()...), nil
	}
	var all []control.Result
	for i, b := range breakages {
		over := make(chan error, 1)
		watch, stop := context.WithCancel(ctx)
		go func() { over <- b.strike(watch, e) }()
		summary, _, err := s.judged(ctx, suite, filepath.Join(dir, fmt.Sprint(i)), append(args, "-ginkgo.label-filter="+alone(b.scenario))...)
		stop()
		if err = errors.Join(err, <-over, b.mend(ctx, e)); err != nil {
			return nil, fmt.Errorf("%s: %w", b.name, err)
		}
		all = append(all, control.Judge(c, b.name, summary, b.scenario)...)
	}
	return all, nil
}

// strikePoll is how often it is looked for the fault under which the harness is to break.
const strikePoll = time.Second

// strike waits until a fault of Chaos Mesh is there, and breaks what is to be broken.
func (b breakage) strike(ctx context.Context, e *engine.Engine) error {
	nodes, err := remains.Nodes(ctx, e, remains.Kept())
	if err != nil {
		return err
	}
	plane := slices.IndexFunc(nodes, func(n string) bool { return strings.HasSuffix(n, "control-plane") })
	if plane < 0 {
		return fmt.Errorf("no control plane among %v", nodes)
	}
	every := time.NewTicker(strikePoll)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return errors.New("the run was over before there was a fault under which to break it")
		case <-every.C:
		}
		out, err := e.Output(ctx, "exec", nodes[plane], "sh", "-c", kubectl+"get networkchaos -A -o name")
		if err == nil && strings.TrimSpace(out) != "" {
			return b.run(ctx, e, b.do)
		}
	}
}

// mend undoes it, also after an interrupt.
func (b breakage) mend(ctx context.Context, e *engine.Engine) error {
	if b.undo == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	return b.run(ctx, e, b.undo)
}

func (b breakage) run(ctx context.Context, e *engine.Engine, script string) error {
	nodes, err := remains.Nodes(ctx, e, remains.Kept())
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if b.everywhere || strings.HasSuffix(n, "control-plane") {
			if _, err := e.Output(ctx, "exec", n, "sh", "-c", script); err != nil {
				return err
			}
		}
	}
	return nil
}
