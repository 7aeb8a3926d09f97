package iofault

import (
	"context"
	"slices"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// file is an open file of the volume. It does not embed go-fuse's: that can do things
// past the rules, such as to hand its descriptor to the kernel.
type file struct {
	loopback *fs.LoopbackFile
	node     *node
	fd       int    // of loopback, valid until Release
	sync     uint32 // O_SYNC or O_DSYNC, if the file was opened with it
}

func (n *node) file(h fs.FileHandle, flags uint32) *file {
	f := &file{loopback: h.(*fs.LoopbackFile), node: n, sync: flags & (unix.O_SYNC | unix.O_DSYNC)}
	f.fd, _ = f.loopback.PassthroughFd()
	return f
}

// cache are the flags of an opened file. The kernel's page cache stays in place between
// one opening and the next, and it alone serves mappings: direct I/O would not keep a
// mapping and write(2) coherent, as bbolt needs. Writes go through it to the layer at once.
func (f *file) cache() uint32 { return fuse.FOPEN_KEEP_CACHE }

func (f *file) Read(ctx context.Context, buf []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if errno := f.node.before(ctx, Read); errno != 0 {
		return nil, errno
	}
	rs := f.node.layer.rules.Load()
	if len(rs.list) == 0 {
		return f.loopback.Read(ctx, buf, off)
	}
	path := f.node.path()
	if rs.observed(Read, path) {
		defer f.node.layer.forget(f.node, off, int64(len(buf)))
	}
	if !rs.mistaken(Read, path) {
		return f.loopback.Read(ctx, buf, off)
	}
	n, err := unix.Pread(f.fd, buf, off)
	if err != nil {
		return nil, fs.ToErrno(err)
	}
	rs.spoil(Read, path, buf[:n])
	return fuse.ReadResultData(buf[:n]), 0
}

func (f *file) Write(ctx context.Context, data []byte, off int64) (written uint32, errno syscall.Errno) {
	defer func() {
		if errno != 0 {
			// The kernel has put the bytes into its cache before it asked. It does not read them again,
			// but a mapping shows them until they are thrown out.
			f.node.layer.forget(f.node, off, int64(len(data)))
		}
	}()
	if errno := f.node.before(ctx, Write); errno != 0 {
		return 0, errno
	}
	if rs := f.node.layer.rules.Load(); len(rs.list) > 0 {
		wrong := slices.Clone(data)
		if rs.spoil(Write, f.node.path(), wrong) {
			data = wrong
			// The kernel keeps what it was given, and would hide what we wrote.
			defer f.node.layer.forget(f.node, off, int64(len(data)))
		}
	}
	p := f.node.layer.power
	if p == nil {
		return f.loopback.Write(ctx, data, off)
	}
	errno = p.change(f.fd, off, int64(len(data)), func() (errno syscall.Errno) {
		written, errno = f.loopback.Write(ctx, data, off)
		return errno
	})
	if errno == 0 && f.sync != 0 {
		errno = p.harden(f.fd, off, int64(len(data)), func() syscall.Errno { return 0 })
	}
	return written, errno
}

func (f *file) Fsync(ctx context.Context, flags uint32) syscall.Errno {
	if errno := f.node.before(ctx, Fsync); errno != 0 {
		return errno
	}
	sync := func() syscall.Errno {
		if flags&1 != 0 { // FUSE_FSYNC_FDATASYNC
			return fs.ToErrno(unix.Fdatasync(f.fd))
		}
		return fs.ToErrno(unix.Fsync(f.fd))
	}
	if p := f.node.layer.power; p != nil {
		return p.harden(f.fd, 0, whole, sync)
	}
	return sync()
}

func (f *file) Allocate(ctx context.Context, off, size uint64, mode uint32) syscall.Errno {
	if errno := f.node.before(ctx, Write); errno != 0 {
		return errno
	}
	allocate := func() syscall.Errno { return f.loopback.Allocate(ctx, off, size, mode) }
	p := f.node.layer.power
	if p == nil {
		return allocate()
	}
	if mode&(unix.FALLOC_FL_COLLAPSE_RANGE|unix.FALLOC_FL_INSERT_RANGE) != 0 {
		size = whole - off // everything behind moves
	}
	return p.change(f.fd, int64(off), int64(size), allocate)
}

func (f *file) Getattr(ctx context.Context, out *fuse.AttrOut) syscall.Errno {
	return f.loopback.Getattr(ctx, out)
}

func (f *file) Setattr(ctx context.Context, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	return f.loopback.Setattr(ctx, in, out)
}

func (f *file) Lseek(ctx context.Context, off uint64, whence uint32) (uint64, syscall.Errno) {
	return f.loopback.Lseek(ctx, off, whence)
}

func (f *file) Flush(ctx context.Context) syscall.Errno {
	if errno := f.node.before(ctx, Flush); errno != 0 {
		return errno
	}
	return f.loopback.Flush(ctx)
}

func (f *file) Release(ctx context.Context) syscall.Errno {
	// Whatever it answers, nobody hears it, and the file must be closed.
	errno := f.node.before(ctx, Release)
	if err := f.loopback.Release(ctx); err != 0 {
		return err
	}
	return errno
}

// stream is what go-fuse's open directory can do.
type stream interface {
	fs.FileReaddirenter
	fs.FileSeekdirer
	fs.FileFsyncdirer
	fs.FileReleasedirer
}

// directory is an open directory of the volume.
type directory struct {
	stream
	node *node
	read bool // since it was opened or rewound
}

// Readdirent is asked for each entry; a rule acts on the first of them.
func (d *directory) Readdirent(ctx context.Context) (*fuse.DirEntry, syscall.Errno) {
	if !d.read {
		if errno := d.node.before(ctx, ReadDir); errno != 0 {
			return nil, errno
		}
		d.read = true
	}
	return d.stream.Readdirent(ctx)
}

func (d *directory) Seekdir(ctx context.Context, off uint64) syscall.Errno {
	d.read = d.read && off != 0
	return d.stream.Seekdir(ctx, off)
}

func (d *directory) Fsyncdir(ctx context.Context, flags uint32) syscall.Errno {
	if errno := d.node.before(ctx, FsyncDir); errno != 0 {
		return errno
	}
	return d.stream.Fsyncdir(ctx, flags)
}

func (d *directory) Releasedir(ctx context.Context, flags uint32) {
	_ = d.node.before(ctx, ReleaseDir) // nobody hears it
	d.stream.Releasedir(ctx, flags)
}
