package image

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	// builder is the container in which images are put into the node image's containerd.
	builder        = "x0tta6bl4-e2e-node-build"
	cleanupTimeout = 30 * time.Second
)

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
	if err := s.Clean(ctx); err != nil {
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
