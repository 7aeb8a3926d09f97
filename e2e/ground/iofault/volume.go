package iofault

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Source is the source of the layer's mount, and FSType its type, in mountinfo.
const (
	Source = "x0tta6bl4-iofault"
	FSType = "fuse.iofault"
)

// volume is a directory of a container over which a layer can be laid.
type volume struct {
	path string // absolute, without links
	bare uint64 // id of the mount that it is on
}

// openVolume checks that a layer can be laid over the directory at path.
func openVolume(path string) (volume, *os.File, error) {
	path, err := filepath.EvalSymlinks(path)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return volume{}, nil, err
	}
	if path == "/" {
		return volume{}, nil, errors.New("a layer over / would hide the process's own files: name a volume")
	}
	dir, err := os.OpenFile(path, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return volume{}, nil, err
	}
	v := volume{path: path}
	if v.bare, err = mountOf(dir); err == nil {
		err = v.leaf()
	}
	if err != nil {
		return volume{}, nil, errors.Join(err, dir.Close())
	}
	return v, dir, nil
}

// leaf checks that nothing is mounted below v: descriptors there would be hidden, not moved.
func (v volume) leaf() error {
	mounts, err := readMounts("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if strings.HasPrefix(m.path, v.path+"/") {
			return fmt.Errorf("%s is mounted below %s: name a volume without another in it", m.path, v.path)
		}
		if m.path == v.path && m.source == Source {
			return fmt.Errorf("a layer lies over %s already", v.path)
		}
	}
	return nil
}

// mount is a line of mountinfo(5).
type mount struct {
	id                   uint64
	path, fsType, source string
}

func readMounts(file string) ([]mount, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return parseMounts(string(b))
}

func parseMounts(text string) (mounts []mount, err error) {
	for line := range strings.Lines(text) {
		before, after, _ := strings.Cut(line, " - ")
		head, tail := strings.Fields(before), strings.Fields(after)
		if len(head) < 5 || len(tail) < 2 {
			return nil, fmt.Errorf("mountinfo: %q is cut short", line)
		}
		id, err := strconv.ParseUint(head[0], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("mountinfo: %w", err)
		}
		mounts = append(mounts, mount{id: id, path: unescape(head[4]), fsType: tail[0], source: tail[1]})
	}
	return mounts, nil
}

// unescape undoes the octal escapes of /proc, such as \040 for a space.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// mountOf returns the id of the mount that an open file is on. It asks the kernel only, not
// the file system: that may be dead, or ours.
func mountOf(f *os.File) (uint64, error) {
	info, err := readFDInfo(fmt.Sprintf("/proc/self/fdinfo/%d", f.Fd()))
	return info.mount, err
}

// mountOfPath is mountOf for a path or a link of /proc.
func mountOfPath(path string) (uint64, error) {
	f, err := os.OpenFile(path, unix.O_PATH, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return mountOf(f)
}

// prepareLayer makes the layer's mount on an open /dev/fuse. It is nowhere yet.
func prepareLayer(device *os.File) (*os.File, error) {
	context, err := unix.Fsopen("fuse", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("fsopen fuse: %w", err)
	}
	defer unix.Close(context)
	for key, value := range map[string]string{
		"source": Source, "subtype": strings.TrimPrefix(FSType, "fuse."), "fd": strconv.Itoa(int(device.Fd())),
		"rootmode": strconv.FormatUint(unix.S_IFDIR, 8), "user_id": "0", "group_id": "0", "max_read": strconv.Itoa(requestBytes),
	} {
		if err := unix.FsconfigSetString(context, key, value); err != nil {
			return nil, fmt.Errorf("mount option %s=%s: %w", key, value, err)
		}
	}
	for _, flag := range []string{"allow_other", "default_permissions"} {
		if err := unix.FsconfigSetFlag(context, flag); err != nil {
			return nil, fmt.Errorf("mount option %s: %w", flag, err)
		}
	}
	if err := unix.FsconfigCreate(context); err != nil {
		return nil, fmt.Errorf("make the FUSE mount: %w", err)
	}
	fd, err := unix.Fsmount(context, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("fsmount: %w", err)
	}
	return os.NewFile(uintptr(fd), "layer"), nil
}

// cover lays a prepared layer over v.
func (v volume) cover(layer *os.File) error {
	if err := unix.MoveMount(int(layer.Fd()), "", unix.AT_FDCWD, v.path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount on %s: %w", v.path, err)
	}
	return nil
}

// uncover takes the layer away; what is open on it stays usable as long as it is served.
func (v volume) uncover() error {
	if err := unix.Unmount(v.path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
		return fmt.Errorf("unmount %s: %w", v.path, err)
	}
	return nil
}

// layerOf returns the id of the layer's mount over v, 0 if there is none.
func (v volume) layerOf() (uint64, error) {
	mounts, err := readMounts("/proc/self/mountinfo")
	if err != nil {
		return 0, err
	}
	for _, m := range mounts {
		if m.path == v.path && m.source == Source {
			return m.id, nil
		}
	}
	return 0, nil
}
