package e2e

import (
	"context"
	"errors"
	"slices"

	. "github.com/onsi/ginkgo/v2"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
)

// A mesh takes its time to go, and its namespace longer. Meanwhile the mesh of the
// scenario that follows is made: nothing is judged then that the nodes' speed has to do
// with.

// made holds the meshes that no scenario has taken yet, by its name.
var made = map[string]*making{}

// making is a scenario whose mesh is being made.
type making struct {
	run    *scenario.Run
	cancel context.CancelFunc
	done   chan struct{}
	err    error // once done is closed
}

func newMaking(sc *scenario.Scenario) (*making, error) {
	run, err := scenario.New(suite.env, sc)
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
func take(sc *scenario.Scenario) (*making, error) {
	if m, ok := made[sc.Name]; ok {
		delete(made, sc.Name)
		return m, nil
	}
	return newMaking(sc)
}

// makeAhead begins to make the mesh of the scenario that follows another one. Among
// several processes nobody knows which that is. If it cannot begin, the scenario will
// say so itself.
func makeAhead(after string) {
	name := report.Following(suite.selected, after)
	i := slices.IndexFunc(scenarios, func(s *scenario.Scenario) bool { return s.Name == name })
	if config, _ := GinkgoConfiguration(); i < 0 || scenarios[i].Quiet || made[name] != nil || config.ParallelTotal > 1 {
		return
	}
	if m, err := newMaking(scenarios[i]); err == nil {
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
