package image

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/x0tta6bl4/mesh/e2e/ground/engine"
	"github.com/x0tta6bl4/mesh/e2e/ground/progress"
)

// ErrMissing is the error of Find when images have to be built first.
var ErrMissing = errors.New("images are missing")

// ErrVersion is the error of a Kubernetes version that cannot be had here.
var ErrVersion = errors.New("no node image of this Kubernetes version")

// versionVariable asks for another Kubernetes version than the one that is built here.
const versionVariable = "E2E_KUBERNETES"

var versionForm = regexp.MustCompile(`^v1\.[0-9]+\.[0-9]+$`)

// Label marks what this package makes in an engine; its value is the content's hash.
const Label = "io.x0tta6bl4.e2e"

// The sources of an image.
const (
	Built   = "built"
	Pulled  = "pulled"
	Present = "present" // there already, with the same content
)

// Image is one image of the set.
type Image struct {
	Name   string
	Digest string
	Source string
}

// Set is everything that a cluster needs.
type Set struct {
	Node   string   // the node image's name in the engine
	Built  bool     // the node image was built here and holds what is deployed, but for Archives
	Load   []string // docker-archive files to load into the nodes
	Images []Image
	DNSTag string // CoreDNS tag on the node image where it is not kubeadm's default
}

// Store is where images are kept and made.
type Store struct {
	project  string // root of the project
	dir      string
	engine   *engine.Engine
	progress *progress.Reporter
	log      io.Writer
	registry registry
	other    bool // another version than the one that is built here
}

// Open returns the store of the project at root. Commands and their output go to log.
func Open(root string, e *engine.Engine, p *progress.Reporter, log io.Writer) (*Store, error) {
	dir, err := stateDir()
	if err != nil {
		return nil, err
	}
	s := &Store{project: root, dir: dir, engine: e, progress: p, log: log, registry: published}
	if v := os.Getenv(versionVariable); v != "" && v != KubernetesVersion {
		if !versionForm.MatchString(v) {
			return nil, fmt.Errorf("%w: %s=%q is not of the form v1.34.3", ErrVersion, versionVariable, v)
		}
		ref := "kindest/node:" + v
		s.other, s.registry.node = true, source{name: ref, pull: ref}
	}
	return s, nil
}

func stateDir() (string, error) {
	dir, err := engine.Dir()
	if err != nil {
		return "", err
	}
	if os.Geteuid() == 0 {
		dir = filepath.Join(dir, "images")
	}
	return dir, os.MkdirAll(dir, 0o755)
}

// Find returns the set if nothing has to be pulled or built but the project's own
// images, which take seconds. The error wraps ErrMissing.
func (s *Store) Find(ctx context.Context) (Set, error) {
	set, err := s.find(ctx)
	if err != nil {
		return Set{}, err
	}
	return s.withProject(ctx, set, volumes)
}

// Lacking is the error of Find, which it tells without making anything.
func (s *Store) Lacking(ctx context.Context) error {
	_, err := s.find(ctx)
	return err
}

// find returns the set without the project's own images.
func (s *Store) find(ctx context.Context) (Set, error) {
	set := Set{Node: Node, Built: true, DNSTag: CoreDNSTag}
	want, err := s.nodeHash()
	if err != nil {
		return Set{}, err
	}
	if node, ok := s.present(ctx, Node, want); ok && !s.other {
		inside, err := s.preloaded(ctx, Present)
		if err != nil {
			return Set{}, err
		}
		set.Images = append([]Image{node}, inside...)
	} else if set, ok = s.pulledBefore(ctx); !ok {
		return Set{}, fmt.Errorf("%w: run `make images` (about 15 minutes on 2 cores the first time, seconds after that)", ErrMissing)
	}
	return set, nil
}

// Ensure returns the set after pulling or building what is missing.
func (s *Store) Ensure(ctx context.Context) (Set, error) {
	set, err := s.Find(ctx)
	if err == nil || !errors.Is(err, ErrMissing) {
		return set, err
	}
	if s.registry.answers(ctx, s) {
		set, err = s.pullSet(ctx)
	} else if s.other {
		return Set{}, fmt.Errorf("%w: %s can only be pulled, and no registry answers; %s is built here", ErrVersion, s.registry.node.name, KubernetesVersion)
	} else {
		set, err = s.buildSet(ctx)
	}
	if err != nil {
		return Set{}, err
	}
	return s.withProject(ctx, set, volumes)
}

// buildSet builds the node image with everything that is deployed in it.
func (s *Store) buildSet(ctx context.Context) (Set, error) {
	node, err := s.buildNode(ctx)
	if err != nil {
		return Set{}, err
	}
	inside, err := s.preloaded(ctx, Built)
	return Set{Node: Node, Built: true, DNSTag: CoreDNSTag, Images: append([]Image{node}, inside...)}, err
}

// present looks for an image with the label of the given content.
func (s *Store) present(ctx context.Context, name, content string) (Image, bool) {
	out, err := s.engine.Output(ctx, "image", "inspect", "--format", `{{.Id}} {{index .Config.Labels "`+Label+`"}}`, name)
	id, label, _ := strings.Cut(out, " ")
	return Image{Name: name, Digest: id, Source: Present}, err == nil && label == content
}

const (
	// Chaos is what attacks the mesh, of which the mesh node holds nothing.
	Chaos = "x0tta6bl4/meshchaos:dev"
	// Volumes makes the volumes of the cluster that is made here.
	Volumes = "x0tta6bl4/volumes:dev"
)

// product is an image of the project's own: one command.
type product struct {
	name, command string
	binaries      binaries
}

// products are those that every cluster needs: the mesh node, its attacker and the probe.
var products = []product{
	{Mesh, "meshnode", meshnode},
	{Chaos, "meshchaos", meshchaos},
	{Probe, "probe", probe},
}

var (
	meshchaos = binaries{what: "the mesh's attacker", module: ".", packages: []string{"./meshnode/cmd/meshchaos"}}

	// volumes is for a cluster that is made here. Another has volumes of its own.
	volumes = product{Volumes, "volumes", binaries{what: "the maker of volumes", module: ".", packages: []string{"./e2e/cmd/volumes"}}}
)

// withProject adds the products, and further ones, built from the sources as they are.
func (s *Store) withProject(ctx context.Context, set Set, further ...product) (Set, error) {
	all := slices.Concat(products, further)
	step := s.progress.Step("build the project's own images")
	images, archives := make([]Image, len(all)), make([]string, len(all))
	group, ctx := errgroup.WithContext(ctx)
	for i, p := range all {
		group.Go(func() (err error) {
			images[i], archives[i], err = s.buildProject(ctx, p.name, p.command, p.binaries)
			return err
		})
	}
	if err := step.End("", group.Wait()); err != nil {
		return Set{}, err
	}
	set.Images = append(set.Images, images...)
	set.Load = append(set.Load, archives...)
	return set, nil
}

// buildProject builds one image of the project's own: a static binary and nothing else. The
// archive's name holds the hash of the binary, which a rebuild of the same sources repeats.
func (s *Store) buildProject(ctx context.Context, name, command string, b binaries) (Image, string, error) {
	dir := filepath.Join(s.dir, "bin", command)
	if err := s.compile(ctx, b, dir, io.Discard); err != nil {
		return Image{}, "", err
	}
	binary := filepath.Join(dir, command)
	hash := sha256.New()
	if err := hashFile(hash, binary); err != nil {
		return Image{}, "", err
	}
	digest := hex.EncodeToString(hash.Sum(nil))
	archive := filepath.Join(s.dir, command+"-"+digest[:16]+".tar")
	img := Image{Name: name, Digest: "sha256:" + digest, Source: Present}
	if now := time.Now(); os.Chtimes(archive, now, now) == nil { // it is there, and in use
		return img, archive, nil
	}
	img.Source = Built
	if _, err := compose(archive, "", layer{"/" + command: executable(binary)}, staticConfig("/"+command), name); err != nil {
		return Image{}, "", err
	}
	return img, archive, removeSuperseded(s.dir, command)
}

// recipes are the sources that decide what a node image holds, beside manifests/images
// and those of netemTC and todaStandIn.
//
//go:embed recipe.go node.go assemble.go compose.go clock.go
var recipes embed.FS

// nodeHash is the hash of everything that goes into the node image, but for Debian's
// packages, which are as they were on the day it was built.
func (s *Store) nodeHash() (string, error) {
	hash := sha256.New()
	fmt.Fprintln(hash, runtime.Version())
	roots := []fs.FS{recipes}
	for _, dir := range []string{imagesModule, "e2e/cmd/tc", "e2e/ground/netem", "e2e/cmd/toda", "e2e/ground/iofault"} {
		roots = append(roots, os.DirFS(filepath.Join(s.project, dir)))
	}
	for _, root := range roots {
		err := fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasSuffix(path, "_test.go") {
				return err
			}
			b, err := fs.ReadFile(root, path)
			fmt.Fprintf(hash, "%s %x\n", path, sha256.Sum256(b))
			return err
		})
		if err != nil {
			return "", fmt.Errorf("hash the recipes: %w", err)
		}
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

func hashFile(w io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

// scratch is the directory for temporary files of what is run, below that of a store.
const scratch = "tmp"

// RemoveScratch removes the temporary files of builds that were killed. The caller holds the locks of all who build.
func RemoveScratch() error {
	dir, err := stateDir()
	if err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(dir, scratch))
}

// RemoveState removes everything that was kept for the next time: images, binaries, root
// file systems. Our own engine must have been stopped.
func RemoveState() error {
	dir, err := stateDir()
	if err != nil {
		return err
	}
	errs := []error{os.RemoveAll(dir)}
	if os.Geteuid() == 0 {
		errs = append(errs, os.RemoveAll(engine.StateDir))
	}
	return errors.Join(errs...)
}
