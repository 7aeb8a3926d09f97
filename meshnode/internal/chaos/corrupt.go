package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/corruptor"
	"github.com/x0tta6bl4/mesh/meshnode/internal/command"
	"github.com/x0tta6bl4/mesh/meshnode/internal/mutant"
)

const corruptExample = `meshchaos corrupt --interface eth0 --peers mesh-node-b-0.mesh-nodes,10.244.0.7 --rate 1.0 --duration 20s`

const (
	// flipOffset is the byte of each fragment's payload in which a bit is flipped. In
	// the first fragment, the signature begins at byte 8; the last one has 517 bytes.
	flipOffset = 64
	flipMask   = 1
	// corruptTold is how often the counts are printed.
	corruptTold = time.Second
	// resolveTimeout bounds the look-up of peers' names.
	resolveTimeout = 5 * time.Second
)

// corruptCounts is what a line about the corruptor says.
type corruptCounts struct {
	Interface string   `json:"interface"`
	Mode      string   `json:"mode"`            // how the program is attached
	Peers     []string `json:"peers,omitempty"` // none: all
	Rate      float64  `json:"rate"`
	Seconds   float64  `json:"seconds"` // that it is to last
	// Signature fragments since it was attached; see corruptor.Counts.
	Seen      uint64 `json:"seen"`
	Corrupted uint64 `json:"corrupted"`
	Failed    uint64 `json:"failed"`
}

func runCorrupt(ctx context.Context, args []string, out io.Writer) error {
	f := command.NewFlags("meshchaos corrupt", corruptExample, out)
	iface := f.String("interface", "eth0", "network `interface` through which the signatures leave")
	peers := f.String("peers", "", "comma-separated `addresses` or names of the peers that get bad signatures; empty: all")
	rate := f.Float64("rate", 1, "`part` of the signature fragments that are corrupted, above 0 and up to 1")
	duration := f.Duration("duration", 20*time.Second, "how long it lasts; it also ends with this process")
	mode := f.String("mode", "", "`way` in which the program is attached, tcx or clsact; empty: tcx where the kernel has it")
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := f.Need("interface"); err != nil {
		return err
	}
	if !(*rate > 0 && *rate <= 1) || *duration <= 0 {
		return fmt.Errorf("%w: --rate must be above 0 and up to 1, --duration positive", command.ErrUsage)
	}
	if !slices.Contains([]string{"", corruptor.ModeTCX, corruptor.ModeClsact}, *mode) {
		return fmt.Errorf("%w: --mode is %s or %s", command.ErrUsage, corruptor.ModeTCX, corruptor.ModeClsact)
	}
	chosen, err := resolvePeers(ctx, *peers)
	if err != nil {
		return err
	}
	c, err := corruptor.Open(corruptor.Config{Interface: *iface, Mode: *mode, Peers: chosen, Offset: flipOffset, Mask: flipMask, Rate: *rate})
	if errors.Is(err, os.ErrPermission) { // the loader's own words guess at limits
		return fmt.Errorf("may not attach an eBPF program to %s: needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON", *iface)
	}
	if err != nil {
		return err
	}
	line := corruptCounts{Interface: *iface, Mode: c.Mode(), Rate: *rate, Seconds: duration.Seconds()}
	for _, p := range chosen {
		line.Peers = append(line.Peers, p.String())
	}
	err = watchCorruptor(ctx, c, &line, *duration, out)
	if mutant.LeaveProgram {
		defer c.Close()
	} else if err := errors.Join(err, c.Close()); err != nil {
		return err
	}
	if err := tell(out, "detached", line); err != nil {
		return err
	}
	if mutant.LeaveProgram {
		<-ctx.Done()
	}
	if line.Corrupted == 0 && ctx.Err() == nil {
		return fmt.Errorf("nothing was corrupted: of %d signature fragments that left through %s in %v, none was changed", line.Seen, *iface, *duration)
	}
	return nil
}

// watchCorruptor prints the counts until the time is up or ctx ends.
func watchCorruptor(ctx context.Context, c *corruptor.Corruptor, line *corruptCounts, d time.Duration, out io.Writer) error {
	if err := tell(out, "attached", line); err != nil {
		return err
	}
	end := time.NewTimer(d)
	defer end.Stop()
	ticker := time.NewTicker(corruptTold)
	defer ticker.Stop()
	for {
		done := false
		select {
		case <-ctx.Done():
			done = true
		case <-end.C:
			done = true
		case <-ticker.C:
		}
		counts, err := c.Counts()
		if err != nil {
			return err
		}
		line.Seen, line.Corrupted, line.Failed = counts.Seen, counts.Corrupted, counts.Failed
		if done {
			return nil
		}
		if err := tell(out, "corrupting", line); err != nil {
			return err
		}
	}
}

// resolvePeers reads a list of addresses and names.
func resolvePeers(ctx context.Context, list string) ([]netip.Addr, error) {
	if list == "" {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	var all []netip.Addr
	for _, p := range strings.Split(list, ",") {
		if p == "" {
			return nil, fmt.Errorf("%w: --peers: an empty name in %q", command.ErrUsage, list)
		}
		if a, err := netip.ParseAddr(p); err == nil {
			all = append(all, a.Unmap())
			continue
		}
		found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", p)
		if err != nil {
			return nil, fmt.Errorf("--peers: %w", err)
		}
		for _, a := range found {
			all = append(all, a.Unmap())
		}
	}
	if len(all) > corruptor.MaxPeers {
		return nil, fmt.Errorf("%w: --peers: %d addresses, at most %d", command.ErrUsage, len(all), corruptor.MaxPeers)
	}
	return all, nil
}
