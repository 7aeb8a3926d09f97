package image

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/sync/errgroup"
)

const (
	// answerTimeout bounds the question whether a registry can be reached at all.
	answerTimeout = 20 * time.Second
	pullTimeout   = 10 * time.Minute
)

// source is a published image: the name under which it is used, and what to pull for
// it, by digest where a published source states one and otherwise by exact tag.
type source struct{ name, pull string }

// registry is where published images come from.
type registry struct {
	probe string // a small image whose pull shows that registries can be reached
	node  source
	load  []source // to be loaded into the nodes
}

// published are the images that others publish. The digest is that of the kind
// v0.31.0 release notes. Chaos Mesh is not among them: no release has the API that its
// module has, so it is always built.
var published = registry{
	probe: Pause,
	node:  source{publishedNode, publishedNode + "@sha256:08497ee19eace7b4b5348db5c6a1591d7752b164530a36f855cb0f2bdcbadd48"},
	load:  []source{{Prometheus, Prometheus}, {MetricsServer, MetricsServer}},
}

// fetch gets a published image into the engine, under the reference name. Our own engine has no way out
// of its enclosure: this process fetches for it, through this machine's own proxies if it has some.
func (s *Store) fetch(ctx context.Context, ref, as string, out io.Writer) error {
	if !s.engine.Own {
		cmd := s.engine.Command(ctx, "pull", ref)
		var last tail
		cmd.Stdout, cmd.Stderr = io.MultiWriter(out, s.log), io.MultiWriter(&last, s.log)
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%w: %s", err, last.String())
		}
		_, err := s.engine.Output(ctx, "tag", ref, as)
		return err
	}
	source, err := name.ParseReference(ref)
	if err != nil {
		return err
	}
	target, err := name.NewTag(as)
	if err != nil {
		return err
	}
	img, err := remote.Image(source, remote.WithContext(ctx), remote.WithPlatform(v1.Platform{OS: "linux", Architecture: runtime.GOARCH}))
	if err != nil {
		return err
	}
	archive := filepath.Join(s.dir, "fetched.tar")
	defer os.Remove(archive)
	if err := tarball.WriteToFile(archive, target, img); err != nil {
		return err
	}
	_, err = s.engine.Output(ctx, "load", "--quiet", "--input", archive)
	return err
}

// answers reports whether a registry answers.
func (r registry) answers(ctx context.Context, s *Store) bool {
	step := s.progress.Step("ask for a registry")
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	if err := s.fetch(ctx, r.probe, r.probe, step); err != nil {
		_ = step.End("none answers, images are built from source", nil)
		return false
	}
	_ = step.End("answers, published images are pulled", nil)
	return true
}

// pullSet pulls what is published and builds the rest.
func (s *Store) pullSet(ctx context.Context) (Set, error) {
	for _, src := range append([]source{s.registry.node}, s.registry.load...) {
		if err := s.pull(ctx, src); err != nil {
			return Set{}, err
		}
	}
	built, err := s.buildChaos(ctx)
	if err != nil {
		return Set{}, err
	}
	return s.pulledSet(ctx, Pulled, Built, built)
}

// pulledBefore returns the set of an earlier pullSet, if it is whole.
func (s *Store) pulledBefore(ctx context.Context) (Set, bool) {
	archives, err := s.chaosArchives()
	if err != nil {
		return Set{}, false
	}
	if !allExist(archives) {
		return Set{}, false
	}
	set, err := s.pulledSet(ctx, Present, Present, archives)
	return set, err == nil
}

func allExist(paths []string) bool {
	for _, p := range paths {
		if _, err := os.Stat(p); err != nil {
			return false
		}
	}
	return true
}

// pull pulls one image and gives it its name.
func (s *Store) pull(ctx context.Context, src source) error {
	ctx, cancel := context.WithTimeoutCause(ctx, pullTimeout, fmt.Errorf("pull of %s took longer than %s", src.pull, pullTimeout))
	defer cancel()
	step := s.progress.Step("pull " + src.pull)
	err := s.fetch(ctx, src.pull, src.name, step)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		err = fmt.Errorf("pull %s: %w", src.pull, err)
	}
	return step.End("", err)
}

// pulledSet describes the set whose images are in the engine, and saves those that
// the nodes have to load.
func (s *Store) pulledSet(ctx context.Context, pulled, built string, archives []string) (Set, error) {
	set := Set{Node: s.registry.node.name, Load: archives}
	for i, name := range []string{ChaosMesh, ChaosDaemon} {
		set.Images = append(set.Images, Image{Name: name, Digest: filepath.Base(archives[i]), Source: built})
	}
	for i, src := range append([]source{s.registry.node}, s.registry.load...) {
		id, err := s.engine.Output(ctx, "image", "inspect", "--format", "{{.Id}}", src.name)
		if err != nil {
			return Set{}, err
		}
		set.Images = append(set.Images, Image{Name: src.name, Digest: id, Source: pulled})
		if i == 0 {
			continue
		}
		archive := filepath.Join(s.dir, strings.NewReplacer("/", "_", ":", "_").Replace(src.name)+"-"+id[len("sha256:"):][:16]+".tar")
		if _, err := os.Stat(archive); err != nil {
			if _, err := s.engine.Output(ctx, "save", "--output", archive+".new", src.name); err != nil {
				return Set{}, err
			}
			if err := os.Rename(archive+".new", archive); err != nil {
				return Set{}, err
			}
		}
		set.Load = append(set.Load, archive)
	}
	return set, nil
}

// chaosArchives names the archives of Chaos Mesh's two images.
func (s *Store) chaosArchives() ([]string, error) {
	content, err := s.nodeHash()
	if err != nil {
		return nil, err
	}
	return []string{
		filepath.Join(s.dir, "chaos-mesh-"+content[:16]+".tar"),
		filepath.Join(s.dir, "chaos-daemon-"+content[:16]+".tar"),
	}, nil
}

// buildChaos builds Chaos Mesh's two images, which no registry has.
func (s *Store) buildChaos(ctx context.Context) ([]string, error) {
	archives, err := s.chaosArchives()
	if err != nil || allExist(archives) {
		return archives, err
	}
	dir := filepath.Join(s.dir, "node")
	bin := filepath.Join(dir, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return nil, err
	}
	group, lanes := errgroup.WithContext(ctx)
	group.Go(func() error {
		for _, b := range []binaries{chaosManager, chaosDaemon, netemTC, todaStandIn} {
			step := s.progress.Step("build " + b.what)
			if err := step.End("", s.compile(lanes, b, bin, step)); err != nil {
				return err
			}
		}
		return s.compileHelpers(lanes, bin)
	})
	group.Go(func() error {
		step := s.progress.Step("root file system of " + daemonRoot.name)
		return step.End("", s.bootstrap(lanes, daemonRoot, dir, step))
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for _, p := range preloads(dir) {
		for i, name := range []string{ChaosMesh, ChaosDaemon} {
			if p.tags[0] != name {
				continue
			}
			root := ""
			if p.root != "" {
				root = filepath.Join(dir, rootTar(p.root))
			}
			if _, err := compose(archives[i], root, p.layer, p.config, p.tags...); err != nil {
				return nil, err
			}
		}
	}
	return archives, nil
}
