package crash

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/store"
)

// network joins the replicas by what nodes join them by, in a bubble, so that what is
// certified is what a node does when it starts again. What is sent arrives at once.
type network struct {
	replicators map[string]*store.Replicator

	mu      sync.Mutex
	refused []string
}

// end is a replica's way to the others.
type end struct {
	*network
	name string
}

// Send implements store.Peers.
func (e end) Send(peer string, t frame.Type, payload []byte) error {
	e.replicators[peer].Receive(e.name, t, payload)
	return nil
}

// Reachable implements store.Peers.
func (e end) Reachable() (others []string) {
	for _, r := range replicas {
		if r != e.name {
			others = append(others, r)
		}
	}
	return others
}

// Refused implements store.Peers.
func (e end) Refused(peer string, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.refused = append(e.refused, fmt.Sprintf("%s refuses what %s says: %v", e.name, peer, err))
}

func connect(t *testing.T, stores map[string]*store.Store) *network {
	n := &network{replicators: map[string]*store.Replicator{}}
	for _, name := range replicas {
		n.replicators[name] = store.NewReplicator(stores[name], end{n, name}, func(int) {}, quiet())
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, r := range n.replicators {
		wg.Go(func() { r.Run(ctx) })
	}
	t.Cleanup(func() { cancel(); wg.Wait() })
	return n
}

// spread has each replica ask the others what they have, and returns what was refused when
// there is nothing more to say.
func (n *network) spread() (refused []string) {
	for name, r := range n.replicators {
		for _, peer := range replicas {
			if peer != name {
				r.Sync(peer)
			}
		}
	}
	synctest.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	refused, n.refused = n.refused, nil
	return refused
}
