package enclosure

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// private is where Init mounts what only the enclosure sees, below the run directory.
const private = "enclosure"

// privateVariable tells the proxy where that is.
const privateVariable = "ENCLOSURE_PRIVATE"

// layered are the directories that an engine and its helpers write to wherever their own are
// (dockerd its key to /etc/docker, containerd's shims their sockets to /run/containerd; kind's nodes mount
// /lib/modules, which dockerd makes where it is missing): what they write goes to a layer of the enclosure's own. /run is last: it hides the layers of the others.
var layered = []string{"/etc", "/lib", "/opt", "/run"}

// hidden are the directories of other engines below those: their configuration, and the sockets by which dockerd
// would use a containerd or plugins that it finds.
var hidden = []string{"/etc/docker", "/etc/containerd", "/run/containerd", "/run/docker"}

// step is one mount of the view.
type step struct {
	what string
	do   func() error
}

// view makes the file system of the enclosure: the machine's, read-only but for run and state.
func view(run, state string) error {
	own := filepath.Join(run, private)
	var keep [2]int // by descriptor, as is /sys/fs/cgroup: what is mounted next hides their paths
	for i, dir := range []string{run, state} {
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open %s: %w", dir, err)
		}
		defer unix.Close(fd)
		keep[i] = fd
	}
	groups, err := unix.Open("/sys/fs/cgroup", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("control groups: %w", err)
	}
	defer unix.Close(groups)
	if err := os.MkdirAll(own, 0o700); err != nil {
		return err
	}
	steps := []step{
		// The machine's later mounts and unmounts reach here, so that nothing in here holds a file
		// system that somebody wants to take away; nothing of here reaches the machine.
		{"stop mounts from leaving", func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, "") }},
		{"private files", func() error { return unix.Mount("tmpfs", own, "tmpfs", 0, "mode=0700") }},
		{"the machine's network", func() error {
			if err := os.WriteFile(hostNetwork(own), nil, 0o600); err != nil {
				return err
			}
			return unix.Mount(fdPath(networkFD), hostNetwork(own), "", unix.MS_BIND, "")
		}},
	}
	for _, dir := range layered {
		steps = append(steps, step{"layer over " + dir, func() error { return layer(dir, filepath.Join(own, dir)) }})
	}
	writable := append([]string{run, state, "/tmp", "/dev", "/sys", "/proc"}, layered...)
	steps = append(steps,
		step{"read-only machine", func() error {
			return unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
		}},
		step{"temporary files", func() error { return unix.Mount("tmpfs", "/tmp", "tmpfs", 0, "mode=1777") }},
		step{"bind " + run, func() error { return bind(keep[0], run) }},
		step{"bind " + state, func() error { return bind(keep[1], state) }},
		step{"sysfs of this network", func() error {
			if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
				return err
			}
			// No securityfs: dockerd loads no AppArmor profile, which would be the machine's.
			return unix.Mount(fdPath(groups), "/sys/fs/cgroup", "", unix.MS_BIND|unix.MS_REC, "")
		}},
		step{"writable directories", func() error {
			for _, dir := range writable {
				err := unix.MountSetattr(unix.AT_FDCWD, dir, unix.AT_RECURSIVE, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY})
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					return fmt.Errorf("%s: %w", dir, err)
				}
			}
			return nil
		}},
		step{"other engines", func() error {
			for _, dir := range hidden {
				if err := os.MkdirAll(dir, 0o711); err != nil {
					return err
				}
				if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0711"); err != nil {
					return fmt.Errorf("%s: %w", dir, err)
				}
			}
			return nil
		}},
		step{"processes", func() error { return unix.Mount("proc", "/proc", "proc", 0, "") }},
	)
	for _, s := range steps {
		if err := s.do(); err != nil {
			return fmt.Errorf("%s: %w", s.what, err)
		}
	}
	return os.Setenv(privateVariable, own)
}

// layer mounts over dir a layer that takes what is written to it. A directory that is not there needs none:
// below a read-only root nobody can make it.
func layer(dir, at string) error {
	dir, err := filepath.EvalSymlinks(dir) // /lib is /usr/lib
	if err != nil {
		return nil
	}
	upper, work := filepath.Join(at, "upper"), filepath.Join(at, "work")
	if err := errors.Join(os.MkdirAll(upper, 0o755), os.MkdirAll(work, 0o755)); err != nil {
		return err
	}
	return unix.Mount("overlay", dir, "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", dir, upper, work))
}

// bind puts what fd stands for, with what is mounted below it, at path, which a new mount may have hidden.
func bind(fd int, path string) error {
	if _, err := os.Stat(path); err != nil {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return err
		}
	}
	return unix.Mount(fdPath(fd), path, "", unix.MS_BIND|unix.MS_REC, "")
}

func fdPath(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }
