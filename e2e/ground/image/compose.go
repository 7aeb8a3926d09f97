package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path"
	"sort"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// file is one file of a layer: content of a file on disk, bytes, or a symbolic link.
type file struct {
	from string
	data []byte
	link string
	mode int64
}

// layer maps absolute paths in the image to their content.
type layer map[string]file

// executable returns the layer entry of a binary on disk.
func executable(from string) file { return file{from: from, mode: 0o755} }

// tar writes l as a reproducible tar stream: sorted, owned by root, without times.
func (l layer) tar(w io.Writer) error {
	out := tar.NewWriter(w)
	made := map[string]bool{}
	for _, p := range l.paths() {
		var parents []string
		for dir := path.Dir(p); dir != "/" && !made[dir]; dir = path.Dir(dir) {
			made[dir] = true
			parents = append(parents, dir)
		}
		for i := len(parents) - 1; i >= 0; i-- {
			if err := out.WriteHeader(&tar.Header{Name: parents[i][1:] + "/", Typeflag: tar.TypeDir, Mode: 0o755}); err != nil {
				return err
			}
		}
		if err := l[p].tar(out, p[1:]); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	return out.Close()
}

func (l layer) paths() []string {
	paths := make([]string, 0, len(l))
	for p := range l {
		paths = append(paths, p)
	}
	sort.Strings(paths)
	return paths
}

func (f file) tar(out *tar.Writer, name string) error {
	if f.link != "" {
		return out.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: f.link, Mode: 0o777})
	}
	var content io.Reader = bytes.NewReader(f.data)
	size := int64(len(f.data))
	if f.from != "" {
		on, err := os.Open(f.from)
		if err != nil {
			return err
		}
		defer on.Close()
		info, err := on.Stat()
		if err != nil {
			return err
		}
		content, size = on, info.Size()
	}
	if err := out.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: f.mode, Size: size}); err != nil {
		return err
	}
	_, err := io.Copy(out, content)
	return err
}

// compose builds the image of a root file system (a tar file, or "" for none) under a
// layer, writes it as a docker-archive with the given tags, and returns its id: the digest of its configuration.
func compose(archive, rootTar string, l layer, config v1.Config, tags ...string) (string, error) {
	img := mutate.ConfigMediaType(empty.Image, "application/vnd.docker.container.image.v1+json")
	var layers []v1.Layer
	if rootTar != "" {
		root, err := tarball.LayerFromFile(rootTar, tarball.WithCompressionLevel(gzip.BestSpeed))
		if err != nil {
			return "", fmt.Errorf("layer of %s: %w", rootTar, err)
		}
		layers = append(layers, root)
	}
	opener := func() (io.ReadCloser, error) {
		r, w := io.Pipe()
		go func() { w.CloseWithError(l.tar(w)) }()
		return r, nil
	}
	top, err := tarball.LayerFromOpener(opener, tarball.WithCompressionLevel(gzip.BestSpeed))
	if err != nil {
		return "", fmt.Errorf("layer: %w", err)
	}
	img, err = mutate.AppendLayers(img, append(layers, top)...)
	if err != nil {
		return "", err
	}
	file, err := img.ConfigFile()
	if err != nil {
		return "", err
	}
	file = file.DeepCopy()
	file.Architecture, file.OS, file.Config = "amd64", "linux", config
	if img, err = mutate.ConfigFile(img, file); err != nil {
		return "", err
	}
	refs := map[name.Reference]v1.Image{}
	for _, t := range tags {
		ref, err := name.NewTag(t)
		if err != nil {
			return "", err
		}
		refs[ref] = img
	}
	fresh := archive + ".new"
	if err := tarball.MultiRefWriteToFile(fresh, refs); err != nil {
		return "", fmt.Errorf("write %s: %w", archive, err)
	}
	id, err := img.ConfigName()
	if err != nil {
		return "", err
	}
	return id.String(), os.Rename(fresh, archive)
}

// merge writes the tar file root with the entries of l over it as one tar file.
func merge(root string, l layer, target string) error {
	in, err := os.Open(root)
	if err != nil {
		return err
	}
	defer in.Close()
	fresh, err := os.Create(target)
	if err != nil {
		return err
	}
	defer fresh.Close()
	out := tar.NewWriter(fresh)
	for entries := tar.NewReader(in); ; {
		header, err := entries.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("%s: %w", root, err)
		}
		if _, replaced := l[path.Clean("/"+header.Name)]; replaced {
			continue
		}
		if err := out.WriteHeader(header); err != nil {
			return err
		}
		if _, err := io.Copy(out, entries); err != nil {
			return err
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if err := l.tar(fresh); err != nil { // its end is the end of the whole
		return err
	}
	return fresh.Close()
}
