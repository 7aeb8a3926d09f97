package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/e2e-framework/support/kind"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	"sigs.k8s.io/yaml"

	"github.com/x0tta6bl4/mesh/e2e/ground/cluster/remains"
	"github.com/x0tta6bl4/mesh/e2e/ground/engine"
	"github.com/x0tta6bl4/mesh/e2e/ground/image"
)

// create makes the kind cluster and connects to it.
func (c *Cluster) create(ctx context.Context, project string, set image.Set, detail func(string, ...any)) error {
	if err := remains.Remove(ctx, c.engine, c.name); err != nil { // what a killed run left
		return err
	}
	var err error
	if c.dir, err = engine.Scratch(c.name); err != nil {
		return err
	}
	config, err := writeConfig(project, c.dir, set.DNSTag, c.net)
	if err != nil {
		return err
	}
	binary, err := exec.CommandContext(ctx, "go", "-C", project, "tool", "-n", "kind").Output()
	if err != nil {
		return fmt.Errorf("build kind: %w", err)
	}
	command, err := remains.Kind(c.dir, strings.TrimSpace(string(binary)))
	if err != nil {
		return err
	}
	// e2e-framework hands its own environment to kind. TMPDIR: kind's kubeconfig is put there.
	restore, err := c.engine.Setenv()
	if err != nil {
		return err
	}
	defer restore()
	for name, value := range map[string]string{
		"KUBECONFIG": filepath.Join(c.dir, "kubeconfig"), "TMPDIR": c.dir,
		"KIND_EXPERIMENTAL_DOCKER_NETWORK": remains.Network(), "KIND_EXPERIMENTAL_PROVIDER": "docker",
	} {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	c.kind = kind.NewCluster(c.name).WithOpts(kind.WithImage(set.Node), kind.WithPath(command)).(*kind.Cluster)
	if c.Kubeconfig, err = c.kind.Create(ctx, "--config", config); err != nil {
		return err
	}
	if c.Config, err = clientcmd.BuildConfigFromFlags("", c.Kubeconfig); err != nil {
		return err
	}
	if err := c.connect(); err != nil {
		return err
	}
	if err := c.checkCapabilities(ctx); err != nil {
		return err
	}
	detail("network")
	if err := c.network(ctx); err != nil {
		return err
	}
	for _, archive := range set.Load {
		detail("load %s", filepath.Base(archive))
		if err := c.kind.LoadImageArchive(ctx, archive); err != nil {
			return err
		}
	}
	return nil
}

// writeConfig writes kind's configuration, with the DNS image of a node image that was built here,
// and the network that was asked for.
func writeConfig(project, dir, dnsTag string, network Network) (string, error) {
	b, err := os.ReadFile(filepath.Join(project, "kind-config.yaml"))
	if err != nil {
		return "", err
	}
	var config v1alpha4.Cluster
	if err := yaml.UnmarshalStrict(b, &config); err != nil {
		return "", usage(fmt.Errorf("kind-config.yaml: %w", err))
	}
	if dnsTag != "" {
		config.KubeadmConfigPatches = append(config.KubeadmConfigPatches,
			"kind: ClusterConfiguration\ndns:\n  imageTag: "+dnsTag+"\n")
	}
	network.apply(&config.Networking)
	if b, err = yaml.Marshal(config); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "kind-config.yaml")
	return path, os.WriteFile(path, b, 0o600)
}

// nodes are the names of the cluster's node containers.
func (c *Cluster) nodes(ctx context.Context) ([]string, error) {
	return remains.Nodes(ctx, c.engine, c.name)
}
