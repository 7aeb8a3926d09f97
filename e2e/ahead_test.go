package e2e

import (
	"context"
	"errors"

	. "github.com/onsi/ginkgo/v2"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
)

// A mesh takes its time to go, and its namespace longer. Meanwhile the mesh of the
// scenario that follows is made: nothing is judged then that the nodes' speed has to do
// with.

// fromTheStart is the scenario in which that does not hold: it wants no alarm in the
// mesh's whole life, which must therefore begin on a quiet machine.
const fromTheStart = "fault-free"

// plans say what the scenarios' meshes have besides the nodes as they are deployed.
var plans = map[string]scenario.Plan{
	"network-partition":    {Probed: true},
	"node-crash":           {Probed: true},
	"node-crash-recurring": {Probed: true},
	"latency":              {Probed: true},
	// Nodes attest each other beyond what keeps sessions verified: the low-priority
	// work that a node in need can shed.
	"resource-stress": {NodeArgs: []string{"--reattest-interval=500ms"}},
}

// made holds the meshes that no scenario has taken yet, by its name.
var made = map[string]*making{}

// making is a scenario whose mesh is being made.
type making struct {
	run    *scenario.Run
	cancel context.CancelFunc
	done   chan struct{}
	err    error // once done is closed
}

func newMaking(name string) (*making, error) {
	run, err := scenario.New(suite.env, name, plans[name])
	if err != nil {
		return nil, err
	}
	// A mesh that is made ahead outlives the spec that begins it.
	ctx, cancel := context.WithCancel(context.Background())
	m := &making{run: run, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(m.done)
		m.err = run.Make(ctx)
	}()
	return m, nil
}

// wait returns how the making ended.
func (m *making) wait(ctx context.Context) error {
	select {
	case <-m.done:
		return m.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stop ends the making if it still goes on: what is removed must not be made
// meanwhile.
func (m *making) stop() {
	m.cancel()
	<-m.done
}

// take returns the making of a scenario's mesh, which may have begun before.
func take(name string) (*making, error) {
	if m, ok := made[name]; ok {
		delete(made, name)
		return m, nil
	}
	return newMaking(name)
}

// makeAhead begins to make the mesh of the scenario that follows another one. Among
// several processes nobody knows which that is. If it cannot begin, the scenario will
// say so itself.
func makeAhead(after string) {
	name := report.Following(suite.selected, after)
	if config, _ := GinkgoConfiguration(); name == "" || name == fromTheStart || made[name] != nil || config.ParallelTotal > 1 {
		return
	}
	if m, err := newMaking(name); err == nil {
		made[name] = m
	}
}

// removeMade removes the meshes that no scenario took, as after an interrupt.
func removeMade(ctx context.Context) error {
	var errs []error
	for _, m := range made {
		m.stop()
		_, err := m.run.Remove(ctx)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
