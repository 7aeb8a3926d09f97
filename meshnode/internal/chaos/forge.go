package chaos

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/chaos/forge"
	"github.com/x0tta6bl4/mesh/meshnode/internal/chaos/wire"
	"github.com/x0tta6bl4/mesh/meshnode/internal/command"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
)

const forgeExample = `meshchaos forge --peers mesh-nodes --duration 10s --interval 20ms`

// forging is what the first line of the forger says.
type forging struct {
	Targets []string `json:"targets"`
	Spoofed bool     `json:"spoofed"` // in the name of members, or only in its own
	Why     string   `json:"why,omitempty"`
}

func runForge(ctx context.Context, args []string, out io.Writer) (err error) {
	f := command.NewFlags("meshchaos forge", forgeExample, out)
	peers := f.String("peers", "", "headless `service` whose SRV records name the nodes, or a list NAME=IP:PORT,…")
	targets := f.String("targets", "", "comma-separated `names` of the nodes that are attacked; empty: all")
	kinds := f.String("kinds", "signatures,control,data", "comma-separated `kinds` of frames: signatures, control, data, handshakes")
	sessions := f.String("sessions", "", "comma-separated `ids` of sessions in hexadecimal that were observed; empty: unknown ones only")
	interval := f.Duration("interval", 20*time.Millisecond, "time between two rounds; in each, every node gets one frame of every kind and session")
	duration := f.Duration("duration", 10*time.Second, "how long it lasts")
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := f.Need("peers"); err != nil {
		return err
	}
	if *interval <= 0 || *duration <= 0 {
		return fmt.Errorf("%w: --interval and --duration must be positive", command.ErrUsage)
	}
	cfg := forge.Config{Interval: *interval, Duration: *duration}
	for _, k := range strings.Split(*kinds, ",") {
		kind, err := forge.ParseKind(k)
		if err != nil {
			return fmt.Errorf("%w: --kinds: %w", command.ErrUsage, err)
		}
		cfg.Kinds = append(cfg.Kinds, kind)
	}
	if cfg.Sessions, err = parseSessions(*sessions); err != nil {
		return err
	}
	found, err := findTargets(ctx, *peers, "", *targets)
	if err != nil {
		return err
	}
	for _, t := range found {
		cfg.Targets = append(cfg.Targets, forge.Target(t))
	}
	if cfg.Conn, err = transport.ListenUDP(netip.MustParseAddrPort("[::]:0"), ""); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cfg.Conn.Close()) }()
	told := forging{Targets: names(found)}
	spoofer, err := wire.NewSpoofer()
	switch {
	case err == nil:
		defer func() { err = errors.Join(err, spoofer.Close()) }()
		cfg.Spoof, told.Spoofed = spoofer.Send, true
	case errors.Is(err, os.ErrPermission):
		told.Why = err.Error() // its own address must do
	default:
		return err
	}
	if err := tell(out, "forging", told); err != nil {
		return err
	}
	counts, err := forge.Run(ctx, cfg)
	for _, c := range counts {
		err = errors.Join(err, tell(out, "forged", c))
	}
	return err
}

func parseSessions(list string) (ids []frame.SessionID, err error) {
	if list == "" {
		return nil, nil
	}
	for _, s := range strings.Split(list, ",") {
		var id frame.SessionID
		if n, err := hex.Decode(id[:], []byte(s)); len(s) != 2*len(id) || err != nil || n != len(id) {
			return nil, fmt.Errorf("%w: --sessions: %q is no id of %d hexadecimal digits", command.ErrUsage, s, 2*len(id))
		}
		ids = append(ids, id)
	}
	return ids, nil
}
