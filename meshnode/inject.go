package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
	"github.com/x0tta6bl4/mesh/meshnode/internal/inject"
	"github.com/x0tta6bl4/mesh/meshnode/internal/node"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
)

const injectExample = `meshnode chaos inject --peers mesh-nodes --ca https://mesh-ca:8443 --token-file /var/run/secrets/mesh/token \
      --trust-dir /etc/mesh/trust --count 10 --interval 100ms`

// minInterval keeps the handshakes below what a node takes from one address: 200 frames a
// second, of which a bad signature takes eight and an unknown key five.
const minInterval = 10 * time.Millisecond

// findWithin is how long the look-up of peers may be tried.
const findWithin = 15 * time.Second

func runInject(ctx context.Context, args []string, out io.Writer) error {
	var o options
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	f := newFlags("chaos inject", injectExample, out)
	f.StringVar(&o.name, "name", host, "the injector's own `name`; in a cluster the pod's name")
	f.StringVar(&o.peers, "peers", "", "headless `service` whose SRV records name the nodes, or a list NAME=IP:PORT,…")
	targets := f.String("targets", "", "comma-separated `names` of the nodes that are attacked; empty: all")
	f.StringVar(&o.ca, "ca", "", "`URL` of the certificate authority")
	f.StringVar(&o.tokenFile, "token-file", "", "`file` with the service-account token for the certificate authority")
	f.StringVar(&o.trustDir, "trust-dir", "", "`directory` of the mesh's trust bundle")
	f.DurationVar(&o.enrolTimeout, "enrol-timeout", 30*time.Second, "how long to try to get a certificate")
	count := f.Int("count", 10, "how `many` of each kind every node is sent")
	kinds := f.String("kinds", "signatures,keys", "comma-separated `kinds` of what is sent: signatures (invalid ones), keys (unknown ones)")
	interval := f.Duration("interval", 100*time.Millisecond, "time between two of a kind")
	stay := f.Duration("stay", 5*time.Second, "how long to stay as an honest member afterwards, for the nodes' new keys")
	forge := f.Bool("forge", false, "send frames without the header key instead, as somebody off the path could: they must do nothing")
	o.logger = f.logLevel()
	if err := f.parse(args); err != nil {
		return err
	}
	if err := f.need("name", "peers", "ca", "token-file", "trust-dir"); err != nil {
		return err
	}
	if *count < 1 || *interval < minInterval || *stay < 0 {
		return fmt.Errorf("%w: --count must be positive, --interval at least %v and --stay not negative", errUsage, minInterval)
	}
	cfg := inject.Config{
		Interval: *interval, Stay: *stay, Logger: o.logger().With("node", o.name),
		Listen: func() (transport.Conn, error) { return transport.ListenUDP(netip.MustParseAddrPort("[::]:0")) },
	}
	if *forge {
		cfg.Forged = *count
	} else if err := setKinds(&cfg, *kinds, *count); err != nil {
		return err
	}
	discover, err := o.discoverer()
	if err != nil {
		return err
	}
	if cfg.Targets, err = findTargets(ctx, discover, o.name, *targets); err != nil {
		return err
	}
	enrol, cancel := context.WithTimeout(ctx, o.enrolTimeout)
	defer cancel()
	enroller := &identity.Enroller{URL: o.ca, TokenFile: o.tokenFile, TrustDir: o.trustDir, Name: o.name, Logger: cfg.Logger}
	if cfg.Identity, err = enroller.Enrol(enrol); err != nil {
		return err
	}
	if err := tell(out, "injecting", names(cfg.Targets)); err != nil {
		return err
	}
	counts, err := inject.Run(ctx, cfg)
	for _, c := range counts {
		err = errors.Join(err, tell(out, "injected", c))
	}
	return err
}

func setKinds(cfg *inject.Config, list string, count int) error {
	for _, k := range strings.Split(list, ",") {
		switch k {
		case "signatures":
			cfg.Signatures = count
		case "keys":
			cfg.UnknownKeys = count
		default:
			return fmt.Errorf("%w: --kinds: %q is none of signatures, keys", errUsage, k)
		}
	}
	return nil
}

func names(targets []inject.Target) []string {
	var all []string
	for _, t := range targets {
		all = append(all, t.Name)
	}
	return all
}

// findTargets looks up the nodes, until all that are wanted are found.
func findTargets(ctx context.Context, d node.Discoverer, self, wanted string) ([]inject.Target, error) {
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

func targetsAmong(ctx context.Context, d node.Discoverer, self, wanted string) ([]inject.Target, error) {
	members, err := d.Members(ctx)
	if err != nil {
		return nil, err
	}
	var targets []inject.Target
	for _, m := range members {
		if m.Name != self && (wanted == "" || slices.Contains(strings.Split(wanted, ","), m.Name)) {
			targets = append(targets, inject.Target{Name: m.Name, Addr: m.Addr})
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
