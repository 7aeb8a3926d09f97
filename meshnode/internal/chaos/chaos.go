// Package chaos is the command line of meshchaos: attacks on mesh nodes, for tests
// of what they make of them. It is no part of the node's binary.
package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/internal/command"
	"github.com/x0tta6bl4/mesh/meshnode/internal/node"
)

// Binary returns the command line of meshchaos.
func Binary() command.Binary {
	return command.Binary{Name: "meshchaos", Commands: []command.Command{
		{Name: "corrupt", Summary: "flip bits in the signatures that leave this pod", Run: runCorrupt},
		{Name: "inject", Summary: "as a member, send invalid signatures and unknown keys to nodes", Run: runInject},
		{Name: "forge", Summary: "as no member, send frames in the name of members to nodes", Run: runForge},
		{Name: "replay", Summary: "record what this pod sends, and send it again when its sessions are over", Run: runReplay},
	}}
}

// tell prints one JSON line about a fault, with the time.
func tell(out io.Writer, event string, detail any) error {
	line := struct {
		Time  time.Time `json:"time"`
		Event string    `json:"event"`
		Fault any       `json:"fault"`
	}{time.Now().UTC(), event, detail}
	return json.NewEncoder(out).Encode(line)
}

// target is a node that is attacked; the attacks have types of their own like it.
type target = struct {
	Name string
	Addr netip.AddrPort
}

// findWithin is how long the look-up of peers may be tried.
const findWithin = 15 * time.Second

// findTargets looks up the nodes, until all that are wanted are found. wanted is a
// comma-separated list of names; empty: all but self.
func findTargets(ctx context.Context, peers, self, wanted string) ([]target, error) {
	d, err := node.ParsePeers(peers, self, "")
	if err != nil {
		return nil, fmt.Errorf("%w: --peers: %w", command.ErrUsage, err)
	}
	ctx, cancel := context.WithTimeout(ctx, findWithin)
	defer cancel()
	for {
		found, err := targetsAmong(ctx, d, self, wanted)
		if err == nil {
			return found, nil
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(findWithin / 15):
		}
	}
}

func targetsAmong(ctx context.Context, d node.Discoverer, self, wanted string) ([]target, error) {
	members, err := d.Members(ctx)
	if err != nil {
		return nil, err
	}
	var targets []target
	for _, m := range members {
		if m.Name != self && (wanted == "" || slices.Contains(strings.Split(wanted, ","), m.Name)) {
			targets = append(targets, target(m))
		}
	}
	switch {
	case wanted != "" && len(targets) < len(strings.Split(wanted, ",")):
		return nil, fmt.Errorf("--targets: of %s only %v are peers", wanted, names(targets))
	case len(targets) == 0:
		return nil, errors.New("--peers names no node")
	}
	return targets, nil
}

func names(targets []target) []string {
	var all []string
	for _, t := range targets {
		all = append(all, t.Name)
	}
	return all
}
