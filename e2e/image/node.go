package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
)

const (
	// builder is the container in which images are put into the node image's containerd.
	builder        = "x0tta6bl4-e2e-node-build"
	cleanupTimeout = 30 * time.Second
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
				"/usr/local/bin/chaos-daemon": bin("chaos-daemon"),
				"/usr/local/bin/pause":        bin("pause"),
				"/usr/local/bin/nsexec":       bin("nsexec"),
				"/usr/local/bin/memStress":    bin("memStress"),
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
		for _, b := range []binaries{kubernetes, metricsServer, chaosManager, chaosDaemon, prometheus, containerd} {
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

// compileHelpers builds the C programs: the pod sandbox's pause, and three of chaos-daemon.
func (s *Store) compileHelpers(ctx context.Context, bin string) error {
	k8s, err := s.module(ctx, imagesModule, "k8s.io/kubernetes")
	if err != nil {
		return err
	}
	chaos, err := s.module(ctx, imagesModule, "github.com/chaos-mesh/chaos-mesh")
	if err != nil {
		return err
	}
	recipe := filepath.Join(s.project, imagesModule, "chaos-daemon")
	return errors.Join(
		s.compileC(ctx, filepath.Join(k8s, "build/pause/linux/pause.c"), filepath.Join(bin, "k8s-pause"), "-DVERSION=3.10.1"),
		s.compileC(ctx, filepath.Join(chaos, "hack/pause.c"), filepath.Join(bin, "pause")),
		s.compileC(ctx, filepath.Join(recipe, "nsexec.c"), filepath.Join(bin, "nsexec")),
		s.compileC(ctx, filepath.Join(recipe, "memstress.c"), filepath.Join(bin, "memStress")),
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

// nodeSetup follows the RUN lines of kind's images/base/Dockerfile.
const nodeSetup = `set -e
find /lib/systemd/system/sysinit.target.wants/ -name systemd-tmpfiles-setup.service -delete
rm -f /lib/systemd/system/multi-user.target.wants/* /etc/systemd/system/*.wants/* /lib/systemd/system/local-fs.target.wants/*
rm -f /lib/systemd/system/sockets.target.wants/*udev* /lib/systemd/system/sockets.target.wants/*initctl* /lib/systemd/system/basic.target.wants/*
echo ReadKMsg=no >> /etc/systemd/journald.conf
ln -sf "$(which systemd)" /sbin/init
systemctl enable kubelet.service containerd.service undo-mount-hacks.service drop-empty-cgroups.service
systemctl mask systemd-binfmt.service
mkdir -p /etc/kubernetes/manifests
sed -i 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/' /etc/containerd/config.toml
rm -rf /var/cache/apt /var/lib/apt/lists /usr/share/doc /usr/share/man`

// assemble loads the bare node image, puts the preloads into its containerd, and commits the result.
func (s *Store) assemble(ctx context.Context, dir, content string, detail func(string, ...any)) (_ Image, err error) {
	detail("bare node image")
	bare := "x0tta6bl4/kind-node:bare"
	top, err := s.nodeLayer(ctx, filepath.Join(dir, "bin"))
	if err != nil {
		return Image{}, err
	}
	bareTar := filepath.Join(dir, "bare.tar")
	config := staticConfig("/usr/local/bin/entrypoint", "/sbin/init")
	config.Env = append(config.Env, "container=docker") // https://systemd.io/CONTAINER_INTERFACE
	config.StopSignal = "SIGRTMIN+3"
	if _, err := compose(bareTar, filepath.Join(dir, rootTar(nodeRoot.name)), top, config, bare); err != nil {
		return Image{}, err
	}
	defer func() {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
		defer cancel()
		err = errors.Join(err, s.Clean(clean), ignoreMissing(os.Remove(bareTar)))
	}()
	if err := s.Clean(ctx); err != nil { // what a killed run left
		return Image{}, err
	}
	for _, args := range [][]string{
		{"load", "--quiet", "--input", bareTar},
		{"run", "--detach", "--privileged", "--network", "none", "--name", builder, "--label", Label + "=build", "--entrypoint", "sleep", bare, "infinity"},
		{"exec", builder, "sh", "-c", nodeSetup},
		{"exec", "--detach", builder, "containerd", "--log-level", "warn"},
		{"exec", builder, "sh", "-c", "for i in $(seq 100); do ctr version >/dev/null 2>&1 && exit; sleep 0.1; done; exit 1"},
	} {
		detail("%s", args[0])
		if _, err := s.engine.Output(ctx, args...); err != nil {
			return Image{}, err
		}
	}
	var contents []string
	for _, p := range preloads(dir) {
		detail("%s", p.tags[0])
		id, err := s.preload(ctx, dir, p)
		if err != nil {
			return Image{}, fmt.Errorf("%s: %w", p.tags[0], err)
		}
		contents = append(contents, p.tags[0]+"="+id)
	}
	detail("commit")
	stop := `pkill -TERM containerd; for i in $(seq 100); do pgrep containerd >/dev/null || exit 0; sleep 0.1; done; exit 1`
	if _, err := s.engine.Output(ctx, "exec", builder, "sh", "-c", stop); err != nil {
		return Image{}, err
	}
	id, err := s.engine.Output(ctx, "commit", "--change", `ENTRYPOINT ["/usr/local/bin/entrypoint","/sbin/init"]`,
		"--change", "CMD []", "--change", "LABEL "+Label+"="+content,
		"--change", fmt.Sprintf("LABEL %s=%q", contentLabel, strings.Join(contents, " ")), builder, Node)
	if err != nil {
		return Image{}, err
	}
	if _, err := s.engine.Output(ctx, "rmi", bare); err != nil { // its layers stay, below the other's
		return Image{}, err
	}
	// What this one replaces is of no use any more, and large.
	_, err = s.engine.Output(ctx, "image", "prune", "--force", "--filter", "label="+Label)
	return Image{Name: Node, Digest: id, Source: Built}, err
}

// preload imports one image into the builder's containerd.
func (s *Store) preload(ctx context.Context, dir string, p preload) (string, error) {
	archive := filepath.Join(dir, "preload.tar")
	root := ""
	if p.root != "" {
		merged := filepath.Join(dir, "merged.tar")
		if err := merge(filepath.Join(dir, rootTar(p.root)), p.layer, merged); err != nil {
			return "", err
		}
		defer os.Remove(merged)
		root, p.layer = merged, nil
	}
	id, err := compose(archive, root, p.layer, p.config, p.tags...)
	if err != nil {
		return "", err
	}
	defer os.Remove(archive)
	f, err := os.Open(archive)
	if err != nil {
		return "", err
	}
	defer f.Close()
	cmd := s.engine.Command(ctx, "exec", "-i", builder, "ctr", "-n", "k8s.io", "images", "import", "-")
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = f, &out, &out
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("import: %w: %s", err, strings.TrimSpace(out.String()))
	}
	return id, nil
}

// Clean removes containers that a build left.
func (s *Store) Clean(ctx context.Context) error {
	left, err := s.engine.Output(ctx, "ps", "--all", "--quiet", "--filter", "label="+Label+"=build")
	if err != nil || left == "" {
		return err
	}
	_, err = s.engine.Output(ctx, append([]string{"rm", "--force", "--volumes"}, strings.Fields(left)...)...)
	return err
}

// nodeLayer is what lies over Debian in the node image: kind's files and the binaries.
func (s *Store) nodeLayer(ctx context.Context, bin string) (layer, error) {
	kind, err := s.module(ctx, ".", "sigs.k8s.io/kind")
	if err != nil {
		return nil, err
	}
	l := layer{}
	files := filepath.Join(kind, "images/base/files")
	err = filepath.WalkDir(files, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		target := strings.TrimPrefix(path, files)
		mode := int64(0o644)
		if strings.HasPrefix(target, "/usr/local/bin/") || strings.HasPrefix(target, "/kind/bin/") {
			mode = 0o755
		}
		l[target] = file{from: path, mode: mode}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for target, names := range map[string][]string{
		"/usr/bin/":        {"kubelet", "kubeadm", "kubectl"},
		"/usr/local/bin/":  {"containerd", "ctr", "containerd-shim-runc-v2"},
		"/usr/local/sbin/": {"runc"},
		"/opt/cni/bin/":    {"ptp", "host-local", "loopback", "portmap"},
	} {
		for _, n := range names {
			l[target+n] = executable(filepath.Join(bin, n))
		}
	}
	recipe := filepath.Join(s.project, imagesModule, "node")
	l["/kind/bin/drop-empty-cgroups"] = executable(filepath.Join(recipe, "drop-empty-cgroups"))
	l["/etc/systemd/system/drop-empty-cgroups.service"] = file{from: filepath.Join(recipe, "drop-empty-cgroups.service"), mode: 0o644}
	l["/etc/systemd/system/containerd.service.d/10-bounded.conf"] = file{from: filepath.Join(recipe, "10-bounded.conf"), mode: 0o644}
	l["/kind/version"] = file{data: []byte(KubernetesVersion), mode: 0o644}
	spec, err := baseSpec(ctx, filepath.Join(bin, "ctr"))
	l["/etc/containerd/cri-base.json"] = file{data: spec, mode: 0o644}
	return l, err
}

// baseSpec is the runtime specification of kind's pods: containerd's default, with
// kind's hook that hides the host's product files, and without resource limits.
func baseSpec(ctx context.Context, ctr string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, ctr, "oci", "spec").Output()
	if err != nil {
		return nil, fmt.Errorf("ctr oci spec: %w", err)
	}
	var spec map[string]any
	if err := json.Unmarshal(out, &spec); err != nil {
		return nil, fmt.Errorf("ctr oci spec: %w", err)
	}
	spec["hooks"] = map[string]any{"createContainer": []any{map[string]any{"path": "/kind/bin/mount-product-files.sh"}}}
	if process, ok := spec["process"].(map[string]any); ok {
		delete(process, "rlimits")
	}
	return json.Marshal(spec)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
