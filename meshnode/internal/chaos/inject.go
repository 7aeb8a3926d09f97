package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/internal/chaos/inject"
	"github.com/x0tta6bl4/mesh/meshnode/internal/command"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
)

const injectExample = `meshchaos inject --peers mesh-nodes --ca https://mesh-ca:8443 --token-file /var/run/secrets/mesh/token \
      --trust-dir /etc/mesh/trust --count 10 --interval 100ms`

// minInterval keeps the handshakes below what a node takes from one address: 200 frames a
// second, of which a bad signature takes eight and an unknown key five.
const minInterval = 10 * time.Millisecond

func runInject(ctx context.Context, args []string, out io.Writer) error {
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	f := command.NewFlags("meshchaos inject", injectExample, out)
	name := f.String("name", host, "the injector's own `name`; in a cluster the pod's name")
	peers := f.String("peers", "", "headless `service` whose SRV records name the nodes, or a list NAME=IP:PORT,…")
	targets := f.String("targets", "", "comma-separated `names` of the nodes that are attacked; empty: all")
	ca := f.String("ca", "", "`URL` of the certificate authority")
	tokenFile := f.String("token-file", "", "`file` with the service-account token for the certificate authority")
	trustDir := f.String("trust-dir", "", "`directory` of the mesh's trust bundle")
	enrolTimeout := f.Duration("enrol-timeout", 30*time.Second, "how long to try to get a certificate")
	count := f.Int("count", 10, "how `many` of each kind every node is sent")
	kinds := f.String("kinds", "signatures,keys", "comma-separated `kinds` of what is sent: signatures (invalid ones), keys (unknown ones)")
	interval := f.Duration("interval", 100*time.Millisecond, "time between two of a kind")
	stay := f.Duration("stay", 5*time.Second, "how long to stay as an honest member afterwards, for the nodes' new keys")
	forge := f.Bool("forge", false, "send frames without the header key instead, half of them with the ids of the injector's own sessions, which must live on; compare meshchaos forge")
	newLogger := f.LogLevel()
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := f.Need("name", "peers", "ca", "token-file", "trust-dir"); err != nil {
		return err
	}
	if *count < 1 || *interval < minInterval || *stay < 0 {
		return fmt.Errorf("%w: --count must be positive, --interval at least %v and --stay not negative", command.ErrUsage, minInterval)
	}
	cfg := inject.Config{
		Interval: *interval, Stay: *stay, Logger: newLogger().With("node", *name),
		Listen: func() (transport.Conn, error) { return transport.ListenUDP(netip.MustParseAddrPort("[::]:0"), "") },
	}
	if *forge {
		cfg.Forged = *count
	} else if err := setKinds(&cfg, *kinds, *count); err != nil {
		return err
	}
	found, err := findTargets(ctx, *peers, *name, *targets)
	if err != nil {
		return err
	}
	for _, t := range found {
		cfg.Targets = append(cfg.Targets, inject.Target(t))
	}
	enrol, cancel := context.WithTimeout(ctx, *enrolTimeout)
	defer cancel()
	enroller := &identity.Enroller{URL: *ca, TokenFile: *tokenFile, TrustDir: *trustDir, Name: *name, Logger: cfg.Logger}
	if cfg.Identity, err = enroller.Enrol(enrol); err != nil {
		return err
	}
	if err := tell(out, "injecting", names(found)); err != nil {
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
			return fmt.Errorf("%w: --kinds: %q is none of signatures, keys", command.ErrUsage, k)
		}
	}
	return nil
}
