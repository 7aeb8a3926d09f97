package image

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/x0tta6bl4/mesh/e2e/ground/cluster/remains"
)

// Seeded builds the image of the mesh node, or of its attacker, with a defect that a build
// tag compiles in. It returns the docker-archive, which holds the image under the name of the
// sound one: loaded into a cluster, it takes its place until that is loaded again.
func (s *Store) Seeded(ctx context.Context, tag string, attacker bool) (archive string, err error) {
	name, command, b := Mesh, "meshnode", meshnode
	if attacker {
		name, command, b = Chaos, "meshchaos", meshchaos
	}
	b.tags = tag
	dir := filepath.Join(s.dir, "bin", "seeded")
	if err := s.compile(ctx, b, dir, io.Discard); err != nil {
		return "", err
	}
	archive = filepath.Join(s.dir, "seeded.tar")
	_, err = compose(archive, "", layer{"/" + command: executable(filepath.Join(dir, command))}, staticConfig("/"+command), name)
	return archive, err
}

// Load puts the images of docker-archive files into every node of a kind cluster that runs in
// the store's engine, as kind does. An image takes the place of one of its name.
func (s *Store) Load(ctx context.Context, cluster string, archives ...string) error {
	nodes, err := remains.Nodes(ctx, s.engine, cluster)
	if err != nil {
		return err
	}
	if len(nodes) == 0 {
		return fmt.Errorf("cluster %s does not run in this engine", cluster)
	}
	for _, node := range nodes {
		for _, a := range archives {
			if err := s.importInto(ctx, node, a); err != nil {
				return fmt.Errorf("load %s into %s: %w", filepath.Base(a), node, err)
			}
		}
	}
	return nil
}

func (s *Store) importInto(ctx context.Context, node, archive string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	cmd := s.engine.Command(ctx, "exec", "--interactive", "--privileged", node,
		"ctr", "--namespace=k8s.io", "images", "import", "--all-platforms", "--digests", "--snapshotter=overlayfs", "-")
	cmd.Stdin = f
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
