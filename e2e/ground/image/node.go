package image

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
)

// contentLabel lists the images in a node image: name=id, separated by spaces.
const contentLabel = Label + ".images"

// preloaded lists the images in the node image that was built here.
func (s *Store) preloaded(ctx context.Context, source string) ([]Image, error) {
	list, err := s.engine.Output(ctx, "image", "inspect", "--format", `{{index .Config.Labels "`+contentLabel+`"}}`, Node)
	if err != nil {
		return nil, err
	}
	var images []Image
	for _, entry := range strings.Fields(list) {
		name, id, _ := strings.Cut(entry, "=")
		images = append(images, Image{Name: name, Digest: id, Source: source})
	}
	return images, nil
}

// preload is an image to put into the node image: a layer over a root file system.
type preload struct {
	tags   []string
	root   string // tar of a rootFS, "" for none
	layer  layer
	config v1.Config
}

func staticConfig(entrypoint ...string) v1.Config {
	return v1.Config{Env: []string{"PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, Entrypoint: entrypoint}
}

// preloads describes every image that the node image carries; dir holds the binaries
// and the root file systems. Each has one layer beside its root, since the overlay snapshotter cannot stack layers
// inside the build container, whose own root is an overlay: images with a root are flattened.
func preloads(dir string) []preload {
	bin := func(name string) file { return executable(filepath.Join(dir, "bin", name)) }
	control := func(name string) preload {
		return preload{
			tags:  []string{"registry.k8s.io/" + name + ":" + KubernetesVersion},
			layer: layer{"/usr/local/bin/" + name: bin(name)}, config: staticConfig(),
		}
	}
	return []preload{
		control("kube-apiserver"), control("kube-controller-manager"), control("kube-scheduler"),
		{
			tags: []string{"registry.k8s.io/kube-proxy:" + KubernetesVersion}, root: proxyRoot.name,
			layer: layer{
				"/usr/local/bin/kube-proxy":   bin("kube-proxy"),
				"/usr/sbin/iptables":          {link: "xtables-nft-multi"},
				"/usr/sbin/iptables-save":     {link: "xtables-nft-multi"},
				"/usr/sbin/iptables-restore":  {link: "xtables-nft-multi"},
				"/usr/sbin/ip6tables":         {link: "xtables-nft-multi"},
				"/usr/sbin/ip6tables-save":    {link: "xtables-nft-multi"},
				"/usr/sbin/ip6tables-restore": {link: "xtables-nft-multi"},
			},
			config: staticConfig(),
		},
		{tags: []string{"registry.k8s.io/etcd:" + etcdTag}, layer: layer{"/usr/local/bin/etcd": bin("etcd")}, config: staticConfig()},
		{tags: []string{"registry.k8s.io/coredns/coredns:" + CoreDNSTag}, layer: layer{"/coredns": bin("coredns")}, config: staticConfig("/coredns")},
		{
			tags: []string{Pause, "registry.k8s.io/pause:3.10"}, layer: layer{"/pause": bin("k8s-pause")},
			config: v1.Config{User: "65535:65535", Entrypoint: []string{"/pause"}},
		},
		{tags: []string{ChaosMesh}, layer: layer{"/usr/local/bin/chaos-controller-manager": bin("chaos-controller-manager")}, config: staticConfig()},
		{
			tags: []string{ChaosDaemon}, root: daemonRoot.name,
			layer: layer{
				"/usr/local/bin/chaos-daemon":  bin("chaos-daemon"),
				"/usr/local/bin/pause":         bin("pause"),
				"/usr/local/bin/nsexec":        bin("nsexec"),
				"/usr/local/bin/memStress":     bin("memStress"),
				"/usr/local/bin/tc":            bin("tc"),
				"/usr/local/bin/toda":          bin("toda"),
				"/usr/local/lib/libnsenter.so": bin("libnsenter.so"),
			},
			config: staticConfig(),
		},
		{tags: []string{Prometheus}, layer: layer{"/bin/prometheus": bin("prometheus")}, config: staticConfig("/bin/prometheus")},
		{tags: []string{MetricsServer}, layer: layer{"/metrics-server": bin("metrics-server")}, config: staticConfig("/metrics-server")},
	}
}

// buildNode builds the node image: two lanes, the compiler's and the package manager's, then assembly.
func (s *Store) buildNode(ctx context.Context) (Image, error) {
	content, err := s.nodeHash()
	if err != nil {
		return Image{}, err
	}
	dir := filepath.Join(s.dir, "node")
	bin := filepath.Join(dir, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return Image{}, err
	}
	group, lanes := errgroup.WithContext(ctx)
	group.Go(func() error {
		for _, b := range []binaries{kubernetes, metricsServer, chaosManager, chaosDaemon, netemTC, todaStandIn, prometheus, containerd} {
			step := s.progress.Step("build " + b.what)
			if err := step.End("", s.compile(lanes, b, bin, step)); err != nil {
				return err
			}
		}
		return s.compileHelpers(lanes, bin)
	})
	group.Go(func() error {
		for _, r := range []rootFS{nodeRoot, daemonRoot, proxyRoot} {
			step := s.progress.Step("root file system of " + r.name)
			if err := step.End("", s.bootstrap(lanes, r, dir, step)); err != nil {
				return err
			}
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return Image{}, err
	}
	step := s.progress.Step("assemble the node image")
	img, err := s.assemble(ctx, dir, content, step.Detail)
	return img, step.End("", err)
}

// compileHelpers builds what is in C: the pod sandbox's pause, three programs and a library of chaos-daemon.
func (s *Store) compileHelpers(ctx context.Context, bin string) error {
	k8s, err := s.module(ctx, imagesModule, "k8s.io/kubernetes")
	if err != nil {
		return err
	}
	chaos, err := s.module(ctx, imagesModule, chaosMesh)
	if err != nil {
		return err
	}
	recipe := filepath.Join(s.project, imagesModule, "chaos-daemon")
	return errors.Join(
		s.compileC(ctx, filepath.Join(k8s, "build/pause/linux/pause.c"), filepath.Join(bin, "k8s-pause"), "-static", "-DVERSION=3.10.1"),
		s.compileC(ctx, filepath.Join(chaos, "hack/pause.c"), filepath.Join(bin, "pause"), "-static"),
		s.compileC(ctx, filepath.Join(recipe, "nsexec.c"), filepath.Join(bin, "nsexec"), "-static"),
		s.compileC(ctx, filepath.Join(recipe, "nsenter.c"), filepath.Join(bin, "libnsenter.so"), "-shared", "-fPIC"),
		s.compileC(ctx, filepath.Join(recipe, "memstress.c"), filepath.Join(bin, "memStress"), "-static"),
	)
}

// rootTar names the tar file of a root file system after its recipe.
func rootTar(name string) string {
	for _, r := range []rootFS{nodeRoot, daemonRoot, proxyRoot} {
		if r.name == name {
			sum := sha256.Sum256(fmt.Appendf(nil, "%+v", r))
			return fmt.Sprintf("%s-%x.tar", name, sum[:6])
		}
	}
	panic("image: no root file system " + name)
}

// bootstrap makes the tar file of r in dir.
func (s *Store) bootstrap(ctx context.Context, r rootFS, dir string, out io.Writer) error {
	target := filepath.Join(dir, rootTar(r.name))
	if _, err := os.Stat(target); err == nil {
		return nil
	}
	args := []string{"--variant=" + r.variant, "--aptopt=Apt::Install-Recommends \"false\"", "--include=" + strings.Join(r.packages, ",")}
	for _, h := range r.hooks {
		args = append(args, "--customize-hook="+h)
	}
	suite, err := debianSuite()
	if err != nil {
		return err
	}
	fresh := target + ".new.tar"
	if err := s.run(ctx, out, dir, []string{"LC_ALL=C"}, "mmdebstrap", append(args, suite, fresh)...); err != nil {
		return err
	}
	return os.Rename(fresh, target)
}

// debianSuite is this machine's release: mmdebstrap then uses its apt sources as they are.
func debianSuite() (string, error) {
	b, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		if suite, ok := strings.CutPrefix(strings.TrimSpace(line), "VERSION_CODENAME="); ok {
			return strings.Trim(suite, `"`), nil
		}
	}
	return "", errors.New("/etc/os-release names no VERSION_CODENAME: build the images on Debian or Ubuntu")
}
