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
	// rosterEvery is how often is looked which nodes there are.
	rosterEvery = 5 * time.Second
)

// What a terminal is told: the cursor to the upper left; a line's, and the screen's, rest empty.
const (
	home    = "\x1b[H"
	restOf  = "\x1b[K"
	restAll = "\x1b[J"
)

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
		return show(ctx, m, names)
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
func nodes(ctx context.Context, m *mesh.Mesh) ([]string, error) {
	pods, err := m.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	if len(pods) == 0 {
		return nil, fmt.Errorf("%w in namespace %s: make mesh-up makes one", scenario.ErrNoMesh, m.Namespace)
	}
	var names []string
	for _, p := range pods {
		names = append(names, p.Name)
	}
	return names, nil
}

// show draws the mesh every second until ctx ends. Nodes that come are shown, too.
func show(ctx context.Context, m *mesh.Mesh, names []string) error {
	s := screen{out: os.Stdout, terminal: term.IsTerminal(int(os.Stdout.Fd()))}
	p := newPicture()
	watching := map[string]bool{}
	looked := time.Now()
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		if time.Since(looked) > rosterEvery {
			looked = time.Now()
			now, err := nodes(ctx, m)
			switch {
			case ctx.Err() != nil:
				return nil
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
				go m.WatchStatus(ctx, n, askEvery, func(s *api.Status, err error) { p.see(n, s, err) })
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := s.draw(func(b *page) error { return p.write(b, names, time.Now()) }); err != nil {
			return err
		}
	}
}
