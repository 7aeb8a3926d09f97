package iofault

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLayerIsThereAndGone(t *testing.T) {
	c := start(t, "idle")
	if err := os.WriteFile(filepath.Join(c.volume, "before"), []byte("bare"), 0o640); err != nil {
		t.Fatal(err)
	}
	p := c.inject(t)
	p.mustUpdate(t)
	if !c.layered(t) {
		t.Fatal("no layer over the volume")
	}
	if b, err := os.ReadFile(c.path("before")); err != nil || string(b) != "bare" {
		t.Errorf("through the layer: %q, %v", b, err)
	}
	if err := os.WriteFile(c.path("through"), []byte("layer"), 0o600); err != nil {
		t.Error(err)
	}
	p.recover(t)
	if c.layered(t) {
		t.Error("the layer is left over the volume")
	}
	if b, err := os.ReadFile(filepath.Join(c.volume, "through")); err != nil || string(b) != "layer" {
		t.Errorf("on the bare volume: %q, %v", b, err)
	}
}

func TestFaultHitsItsMethodsAndPaths(t *testing.T) {
	c := start(t, "idle")
	p := c.inject(t)
	p.mustUpdate(t, Action{
		Type: "fault", Path: c.volume + "/**/*.db", Methods: []string{"write", "fsync"}, Percent: 100,
		Faults: []Fault{{Errno: uint32(syscall.ENOSPC), Weight: 1}},
	})
	for _, name := range []string{"a.db", "a.txt"} {
		f, err := os.Create(c.path(name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		want := syscall.Errno(0)
		if name == "a.db" {
			want = syscall.ENOSPC
		}
		if _, err := unix.Write(int(f.Fd()), []byte("x")); !is(err, want) {
			t.Errorf("write of %s: %v, want %v", name, err, want)
		}
		if err := unix.Fsync(int(f.Fd())); !is(err, want) {
			t.Errorf("fsync of %s: %v, want %v", name, err, want)
		}
		if err := unix.Fchmod(int(f.Fd()), 0o600); err != nil {
			t.Errorf("another method of %s: %v", name, err)
		}
	}
}

func is(err error, want syscall.Errno) bool {
	if want == 0 {
		return err == nil
	}
	return errors.Is(err, want)
}

func TestEachMethodCanFail(t *testing.T) {
	c := start(t, "idle")
	if err := errors.Join(
		os.WriteFile(filepath.Join(c.volume, "file"), []byte("content"), 0o600), os.Mkdir(filepath.Join(c.volume, "dir"), 0o700),
		os.Symlink("file", filepath.Join(c.volume, "symlink")), unix.Setxattr(filepath.Join(c.volume, "file"), "user.a", []byte("b"), 0),
	); err != nil {
		t.Fatal(err)
	}
	p := c.inject(t)
	at := func(name string) string { return c.path(name) }
	withFile := func(do func(fd int) error) func() error {
		return func() error {
			fd, err := unix.Open(at("file"), unix.O_RDWR, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			return do(fd)
		}
	}
	withDir := func(do func(fd int) error) func() error {
		return func() error {
			fd, err := unix.Open(at("dir"), unix.O_RDONLY|unix.O_DIRECTORY, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			return do(fd)
		}
	}
	var st unix.Stat_t
	calls := map[Method]func() error{
		Lookup:   func() error { return unix.Lstat(at("file"), &st) },
		GetAttr:  func() error { return unix.Lstat(at("file"), &st) },
		SetAttr:  func() error { return unix.Chmod(at("file"), 0o600) },
		ReadLink: func() error { _, err := os.Readlink(at("symlink")); return err },
		Mknod:    func() error { return unix.Mknod(at("new"), unix.S_IFREG|0o600, 0) },
		Mkdir:    func() error { return unix.Mkdir(at("new"), 0o700) },
		Unlink:   func() error { return unix.Unlink(at("file")) },
		Rmdir:    func() error { return unix.Rmdir(at("dir")) },
		Symlink:  func() error { return unix.Symlink("x", at("new")) },
		Rename:   func() error { return unix.Rename(at("file"), at("new")) },
		Link:     func() error { return unix.Link(at("file"), at("new")) },
		Open:     withFile(func(int) error { return nil }),
		Read: withFile(func(fd int) error {
			_, err := unix.Pread(fd, make([]byte, 3), 0)
			return err
		}),
		Write:       withFile(func(fd int) error { _, err := unix.Pwrite(fd, []byte("x"), 0); return err }),
		Fsync:       withFile(unix.Fsync),
		Flush:       func() error { fd, _ := unix.Open(at("file"), unix.O_RDWR, 0); return unix.Close(fd) },
		OpenDir:     withDir(func(int) error { return nil }),
		ReadDir:     withDir(func(fd int) error { _, err := unix.ReadDirent(fd, make([]byte, 4096)); return err }),
		FsyncDir:    withDir(unix.Fsync),
		StatFS:      func() error { var s unix.Statfs_t; return unix.Statfs(c.path(), &s) },
		SetXAttr:    func() error { return unix.Setxattr(at("file"), "user.a", []byte("c"), 0) },
		GetXAttr:    func() error { _, err := unix.Getxattr(at("file"), "user.a", make([]byte, 9)); return err },
		ListXAttr:   func() error { _, err := unix.Listxattr(at("file"), make([]byte, 99)); return err },
		RemoveXAttr: func() error { return unix.Removexattr(at("file"), "user.a") },
		Create: func() error {
			fd, err := unix.Open(at("new"), unix.O_CREAT|unix.O_WRONLY, 0o600)
			if err == nil {
				err = unix.Close(fd)
			}
			return err
		},
	}
	silent := map[Method]bool{Release: true, ReleaseDir: true} // they have no answer
	for _, m := range methods {
		call := calls[m]
		if call == nil {
			if !silent[m] {
				t.Errorf("%s: no call here", m)
			}
			continue
		}
		p.mustUpdate(t, Action{Type: "fault", Methods: []string{string(m)}, Percent: 100, Faults: []Fault{{Errno: uint32(syscall.EUCLEAN), Weight: 1}}})
		if err := call(); !errors.Is(err, syscall.EUCLEAN) {
			t.Errorf("%s: %v, want EUCLEAN", m, err)
		}
	}
	p.mustUpdate(t)
	for _, m := range []Method{Lookup, GetAttr, SetAttr, ReadLink, Open, Read, Write, Fsync, Flush, OpenDir, ReadDir, FsyncDir, StatFS, SetXAttr, GetXAttr, ListXAttr, RemoveXAttr, Create} {
		if err := calls[m](); err != nil {
			t.Errorf("%s without actions: %v", m, err)
		}
	}
}

func TestAttributesAreOverridden(t *testing.T) {
	c := start(t, "idle")
	name := filepath.Join(c.volume, "file")
	if err := os.WriteFile(name, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	ino, size, perm, uid, nlink := uint64(4711), uint64(1<<40), uint16(0o751), uint32(42), uint32(7)
	p := c.inject(t)
	p.mustUpdate(t, Action{
		Type: "attrOverride", Path: name, Percent: 100,
		Attr: Attr{Ino: &ino, Size: &size, Perm: &perm, UID: &uid, Nlink: &nlink, Mtime: &Timespec{Sec: 1000, Nsec: 5}},
	})
	var st unix.Stat_t
	if err := unix.Stat(c.path("file"), &st); err != nil {
		t.Fatal(err)
	}
	if st.Ino != ino || st.Size != int64(size) || st.Mode != unix.S_IFREG|uint32(perm) || st.Uid != uid || st.Nlink != uint64(nlink) || st.Mtim != (unix.Timespec{Sec: 1000, Nsec: 5}) {
		t.Errorf("stat says %+v", st)
	}
	if err := unix.Stat(name, &st); err != nil || st.Size != 7 || st.Uid == uid {
		t.Errorf("on the bare volume stat says %+v, %v", st, err)
	}
	// A file that becomes something else is a corrupt file system to the kernel.
	kind := "directory"
	p.mustUpdate(t, Action{Type: "attrOverride", Path: name, Percent: 100, Attr: Attr{Kind: &kind}})
	if err := unix.Stat(c.path("file"), &st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		t.Errorf("a file that is to be a directory: mode %o", st.Mode)
	}
}

func TestMistakesAreReadAndWritten(t *testing.T) {
	c := start(t, "idle")
	right := bytes.Repeat([]byte{0xff}, 10000)
	name := filepath.Join(c.volume, "file")
	if err := os.WriteFile(name, right, 0o600); err != nil {
		t.Fatal(err)
	}
	p := c.inject(t)
	mistake := &Mistake{Filling: "zero", MaxOccurrences: 3, MaxLength: 10}
	p.mustUpdate(t, Action{Type: "mistake", Methods: []string{"read"}, Percent: 100, Mistake: mistake})
	// Twice: what was read once must not come from a cache.
	for range 2 {
		eventually(t, "the file is asked for again", func() bool {
			b, err := os.ReadFile(c.path("file"))
			if err != nil {
				t.Fatal(err)
			}
			wrong := bytes.Count(b, []byte{0})
			if wrong > 3*10*2 { // it may take two requests to read it
				t.Errorf("%d bytes are wrong", wrong)
			}
			return wrong > 0
		})
	}
	p.mustUpdate(t, Action{Type: "mistake", Methods: []string{"write"}, Percent: 100, Mistake: mistake})
	if err := os.WriteFile(c.path("new"), right, 0o600); err != nil {
		t.Fatal(err)
	}
	bare, err := os.ReadFile(filepath.Join(c.volume, "new"))
	if err != nil || bytes.Equal(bare, right) || len(bare) != len(right) {
		t.Errorf("nothing wrong was written: %v", err)
	}
	eventually(t, "what was written is what is read", func() bool {
		b, err := os.ReadFile(c.path("new"))
		return err == nil && bytes.Equal(b, bare)
	})
}

func TestWaitersGoOnWhenTheActionIsOver(t *testing.T) {
	c := start(t, "syncer")
	p := c.inject(t)
	p.mustUpdate(t, Action{Type: "latency", Methods: []string{"fsync"}, Percent: 100, Latency: "1h"})
	if line := c.say(t, "sync"); line != "begin" {
		t.Fatal(line)
	}
	eventually(t, "fsync waits", func() bool { return c.inCall(t, unix.SYS_FSYNC) })
	p.recover(t)
	if line := c.line(t); line != "<nil>" {
		t.Errorf("fsync: %s", line)
	}
}
