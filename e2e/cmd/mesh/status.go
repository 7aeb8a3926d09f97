package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
	corev1 "k8s.io/api/core/v1"

	"github.com/x0tta6bl4/mesh/e2e/ground/cluster"
	"github.com/x0tta6bl4/mesh/e2e/ground/mesh"
	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
	"github.com/x0tta6bl4/mesh/meshnode/api"
)

const (
	// askWithin is how long a node may take to answer for a single picture.
	askWithin = 15 * time.Second
	// askEvery is how often nodes are asked while they are watched, and drawn.
	askEvery = time.Second
	// rosterEvery is for how many pictures nobody looks again which nodes there are.
	rosterEvery = 5
)

// What a terminal is told: the cursor to the upper left; a line's, and the screen's, rest empty.
const (
	home    = "\x1b[H"
	restOf  = "\x1b[K"
	restAll = "\x1b[J"
)

// watched is what is asked of a mesh that is watched; mesh.Mesh does it.
type watched interface {
	Pods(ctx context.Context, app string) ([]corev1.Pod, error)
	WatchStatus(ctx context.Context, node string, every time.Duration, tell func(*api.Status, error))
}

// status shows the mesh, once or until ctx ends.
func status(ctx context.Context, c *cluster.Cluster, args []string) error {
	f := flag.NewFlagSet("mesh status", flag.ContinueOnError)
	watch := f.Bool("watch", false, "show it again every second, until Ctrl-C")
	if err := f.Parse(args); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	m := open(c)
	names, err := nodes(ctx, m)
	if err != nil {
		return err
	}
	if *watch {
		return show(ctx, os.Stdout, m, names, askEvery)
	}
	p := newPicture()
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	var asked sync.WaitGroup
	for _, n := range names {
		asked.Go(func() {
			s, err := m.Status(ctx, n)
			p.see(n, s, err)
		})
	}
	asked.Wait()
	return p.write(os.Stdout, names, time.Now())
}

// nodes are the names of the mesh's nodes now.
func nodes(ctx context.Context, m watched) ([]string, error) {
	pods, err := m.Pods(ctx, mesh.NodeApp)
	if err != nil {
		return nil, err
	}
	if len(pods) == 0 {
		return nil, fmt.Errorf("%w in namespace %s: make mesh-up makes one", scenario.ErrNoMesh, mesh.Documented)
	}
	var names []string
	for _, p := range pods {
		names = append(names, p.Name)
	}
	return names, nil
}

// show draws the mesh every so often until ctx ends. Nodes that come are shown, too.
func show(ctx context.Context, out *os.File, m watched, names []string, every time.Duration) error {
	s := screen{out: out, terminal: term.IsTerminal(int(out.Fd())) && os.Getenv("TERM") != "dumb"}
	p := newPicture()
	watching := map[string]bool{}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for drawn := 0; ; drawn++ {
		if drawn > 0 && drawn%rosterEvery == 0 {
			now, err := nodes(ctx, m)
			switch {
			case ctx.Err() != nil:
				return s.leave()
			case errors.Is(err, scenario.ErrNoMesh):
				return err
			case err == nil:
				names = now
			}
			// An API server that does not answer takes no node away: those known are asked on.
		}
		for _, n := range names {
			if !watching[n] {
				watching[n] = true
				go m.WatchStatus(ctx, n, every, func(s *api.Status, err error) { p.see(n, s, err) })
			}
		}
		select {
		case <-ctx.Done():
			return s.leave()
		case <-tick.C:
		}
		if err := s.draw(func(b *page) error { return p.write(b, names, time.Now()) }); err != nil {
			return err
		}
	}
}
