package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/chaos/replay"
	"github.com/x0tta6bl4/mesh/meshnode/internal/chaos/wire"
	"github.com/x0tta6bl4/mesh/meshnode/internal/command"
)

const replayExample = `meshchaos replay --interface eth0 --capture 2s --settle 1s --duration 60s
  meshchaos replay --capture 2s --after 20s --peers mesh-node-b-0.mesh-nodes`

// replayed is one line about frames that were captured from, or sent again to, one
// peer: events "captured" and "replayed".
type replayed struct {
	Time     time.Time `json:"time"`
	Event    string    `json:"event"`
	Frames   int       `json:"frames"`
	Sessions []string  `json:"sessions"` // their ids, in hexadecimal
	To       []string  `json:"to"`       // the peer's address
}

func runReplay(ctx context.Context, args []string, out io.Writer) (err error) {
	f := command.NewFlags("meshchaos replay", replayExample, out)
	iface := f.String("interface", "eth0", "network `interface` through which the frames leave")
	peers := f.String("peers", "", "comma-separated `addresses` or names of the peers whose frames are sent again; empty: all")
	capture := f.Duration("capture", 2*time.Second, "how long frames are recorded")
	after := f.Duration("after", 0, "how long after that they are sent again; 0: once every peer has a new session")
	settle := f.Duration("settle", time.Second, "how long after the new sessions were seen the frames are sent again")
	duration := f.Duration("duration", time.Minute, "how long all of it may take")
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := f.Need("interface"); err != nil {
		return err
	}
	if *capture <= 0 || *after < 0 || *settle < 0 || *duration <= *capture+*after {
		return fmt.Errorf("%w: --capture must be positive, --after and --settle not negative, --duration more than the first two", command.ErrUsage)
	}
	chosen, err := resolvePeers(ctx, *peers)
	if err != nil {
		return err
	}
	tap, err := wire.OpenTap(*iface)
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("may not see what leaves %s: needs CAP_NET_RAW", *iface)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tap.Close()) }()
	ctx, cancel := context.WithTimeout(ctx, *duration)
	defer cancel()
	recording, stop := context.WithTimeout(ctx, *capture)
	defer stop()
	all, err := replay.Capture(recording, tap, chosen)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return fmt.Errorf("no sealed frame to %s left through %s within %v", orAll(*peers), *iface, *capture)
	}
	for _, r := range all.Sorted() {
		if err := tellReplay(out, "captured", r); err != nil {
			return err
		}
	}
	wait := *after
	if wait == 0 {
		if err := replay.Changed(ctx, tap, all); err != nil {
			return err
		}
		wait = *settle
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("nothing was sent again: %w", ctx.Err())
	case <-time.After(wait):
	}
	for _, r := range all.Sorted() {
		if err := replay.Send(ctx, tap, r); err != nil {
			return err
		}
		if err := tellReplay(out, "replayed", r); err != nil {
			return err
		}
	}
	return nil
}

func orAll(peers string) string {
	if peers == "" {
		return "any peer"
	}
	return peers
}

func tellReplay(out io.Writer, event string, r *replay.Record) error {
	line := replayed{Time: time.Now().UTC(), Event: event, Frames: r.Frames(), To: []string{r.To.Addr().String()}}
	ids := slices.Collect(maps.Keys(r.Sessions))
	slices.SortFunc(ids, func(a, b frame.SessionID) int { return slices.Compare(a[:], b[:]) })
	for _, id := range ids {
		line.Sessions = append(line.Sessions, id.String())
	}
	return json.NewEncoder(out).Encode(line)
}
