package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// ErrPlace is the error of what names no place in a registry.
var ErrPlace = errors.New("no place for images")

// ErrRegistry is the error of a registry that does not take or have the project's images.
var ErrRegistry = errors.New("registry")

const (
	// resolveTimeout bounds the question which images a registry has.
	resolveTimeout = 20 * time.Second
	// pushTimeout bounds the push of all of them, some tens of megabytes.
	pushTimeout = 10 * time.Minute
)

// own are the project's own images that every cluster needs, and no public registry has.
var own = func() (names []string) {
	for _, p := range products {
		names = append(names, p.name)
	}
	return names
}()

// Published are the project's own images as a registry has them: the reference by digest of each.
// A nil one is of images that are in the cluster's machines.
type Published map[string]string

// Ref is the reference under which a cluster finds an image.
func (p Published) Ref(image string) string {
	if ref, ok := p[image]; ok {
		return ref
	}
	return image
}

// FS is manifests, or fixtures, with these images in place of the project's names for them.
func (p Published) FS(files fs.FS) fs.FS {
	if len(p) == 0 {
		return files
	}
	var pairs []string
	for image, ref := range p {
		pairs = append(pairs, image, ref)
	}
	return renamed{files, strings.NewReplacer(pairs...)}
}

// String is the form by digest, which Find takes, too.
func (p Published) String() string { return strings.Join(p.Refs(), ",") }

// Refs are the references by digest.
func (p Published) Refs() []string {
	refs := make([]string, 0, len(p))
	for _, image := range own {
		if ref, ok := p[image]; ok {
			refs = append(refs, ref)
		}
	}
	return refs
}

// below is the name of one of the project's images, with its tag, below host/prefix.
func below(where, image string) (name.Tag, error) {
	host, prefix, _ := strings.Cut(where, "/")
	tag, err := name.NewTag(strings.TrimSuffix(where, "/") + "/" + base(image))
	// Without a dot, a port or this name the first word is no host, but a user of a public registry.
	if err != nil || prefix == "" || strings.ContainsAny(where, "@ ") || strings.Contains(where, "://") || !strings.ContainsAny(host, ".:") && host != "localhost" {
		if strings.Contains(where, "@") { // there may be a password in it
			where = "what was given"
		}
		return tag, fmt.Errorf("%w: %s: give a registry's host and a prefix, such as registry.example.com/mesh", ErrPlace, where)
	}
	return tag, nil
}

// base is an image's name without its path: meshnode:dev.
func base(image string) string { return image[strings.LastIndex(image, "/")+1:] }

// Push brings the project's own images, built from the sources as they are, to a registry, below
// host/prefix. Who may do so is known from docker login.
func (s *Store) Push(ctx context.Context, where string) (Published, error) {
	if _, err := below(where, Mesh); err != nil { // before anything is built
		return nil, err
	}
	set, err := s.withProject(ctx, Set{})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, pushTimeout, fmt.Errorf("not all pushed within %v", pushTimeout))
	defer cancel()
	step := s.progress.Step("push to " + where)
	p := Published{}
	for i, image := range set.Images {
		if err = p.push(ctx, where, image.Name, set.Load[i]); err != nil {
			break
		}
	}
	return p, step.End("", err)
}

func (p Published) push(ctx context.Context, where, image, archive string) error {
	tag, err := below(where, image)
	if err != nil {
		return err
	}
	img, err := tarball.ImageFromPath(archive, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", archive, err)
	}
	if err := remote.Write(tag, img, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		return refused(tag, err)
	}
	digest, err := img.Digest()
	if err != nil {
		return err
	}
	p[image] = tag.Digest(digest.String()).String()
	return nil
}

// Find asks a registry for the project's images below host/prefix, and returns them by digest. It
// also takes the form by digest, and asks nobody then. Without a place there are none.
func Find(ctx context.Context, where string) (Published, error) {
	if where == "" {
		return nil, nil
	}
	if strings.Contains(where, "@sha256:") {
		return byDigest(where)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, resolveTimeout, fmt.Errorf("no answer within %v", resolveTimeout))
	defer cancel()
	p := Published{}
	for _, image := range own {
		tag, err := below(where, image)
		if err != nil {
			return nil, err
		}
		there, err := remote.Get(tag, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
		if err != nil {
			return nil, refused(tag, err)
		}
		p[image] = tag.Digest(there.Digest.String()).String()
	}
	return p, nil
}

// byDigest reads the form by digest: one reference for each of the project's images.
func byDigest(refs string) (Published, error) {
	p := Published{}
	for ref := range strings.SplitSeq(refs, ",") {
		d, err := name.NewDigest(ref)
		if err != nil {
			return nil, fmt.Errorf("%w: not each of the references is one by digest, as make push prints them", ErrPlace)
		}
		for _, image := range own {
			if repository, _, _ := strings.Cut(base(image), ":"); base(d.RepositoryStr()) == repository {
				p[image] = d.String()
			}
		}
	}
	if len(p) != len(own) {
		return nil, fmt.Errorf("%w: not each of meshnode, meshchaos and probe has one reference by digest, as make push prints them", ErrPlace)
	}
	return p, nil
}

// refused says what to do about an answer of a registry.
func refused(tag name.Tag, err error) error {
	var answer *transport.Error
	if errors.As(err, &answer) {
		switch answer.StatusCode {
		case http.StatusUnauthorized, http.StatusForbidden:
			return fmt.Errorf("%w %s refuses %s: docker login %[2]s, as somebody who may", ErrRegistry, tag.RegistryStr(), tag)
		case http.StatusNotFound:
			return fmt.Errorf("%w %s does not have %s: make push REGISTRY=%s", ErrRegistry, tag.RegistryStr(), tag, strings.TrimSuffix(tag.Context().Name(), "/"+base(tag.RepositoryStr())))
		}
		if len(answer.Errors) == 0 { // its text is the whole page of whatever answered
			return fmt.Errorf("%w %s answers %d %s to what is asked for %s", ErrRegistry, tag.RegistryStr(), answer.StatusCode, http.StatusText(answer.StatusCode), tag)
		}
	}
	return fmt.Errorf("%w %s, asked for %s: %s", ErrRegistry, tag.RegistryStr(), tag, strings.Join(strings.Fields(err.Error()), " "))
}

// renamed is a file system in whose files names are replaced.
type renamed struct {
	fs.FS
	names *strings.Replacer
}

func (r renamed) Open(path string) (fs.File, error) {
	f, err := r.FS.Open(path)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || info.IsDir() {
		return f, err
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return replaced{f, bytes.NewReader([]byte(r.names.Replace(string(b))))}, nil
}

// replaced is a file with another content; its size is still that of the file.
type replaced struct {
	fs.File
	content *bytes.Reader
}

func (r replaced) Read(b []byte) (int, error) { return r.content.Read(b) }
